package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// lookEvery is how often a bake that goes on is worth a line.
const lookEvery = 5 * time.Second

// reporter writes one line per event to stderr.
type reporter struct {
	out    io.Writer
	now    func() time.Time
	last   time.Time // of the last progress line
	phase  rollout.Phase
	step   time.Time       // the step whose gates were shown: when it was accepted
	warned map[string]bool // what was warned of, once a run
	said   string          // last trouble, so that a long outage is one line
}

func newReporter(streams genericiooptions.IOStreams, now func() time.Time) *reporter {
	return &reporter{out: streams.ErrOut, now: now}
}

func (r *reporter) line(word, text string) {
	fmt.Fprintf(r.out, "%s  %-9s %s\n", r.now().Format("15:04:05"), word, text)
}

func (r *reporter) opening(p prepared) {
	plan := p.record.Plan
	verb := "begin"
	if p.resumed {
		verb = "resume"
	}
	r.line(verb, fmt.Sprintf("%s in namespace %s: stable %s, canary %s", plan.Target, plan.Namespace, plan.Stable, plan.Canary))
	if p.resumed {
		r.line("", fmt.Sprintf("run %s was left %s at %s", p.record.Run, p.record.Phase, p.record.Goal))
	}
	if p.evidence != nil {
		stable, canary := p.evidence.Ready()
		r.line("preflight", fmt.Sprintf("ready endpoints: stable %d, canary %d; metrics of %s, %s", stable, canary, p.evidence.Source(), p.evidence.Via()))
	}
	r.line("plan", fmt.Sprintf("steps %s; bake %v, settle %v, at least %d canary requests a gate; α %g",
		steps(plan.Steps), plan.Bake, plan.Settle, plan.MinRequests, plan.Alpha))
	for _, g := range plan.Gates {
		r.line("gate", g)
	}
	for _, note := range p.notes {
		r.line("note", note)
	}
}

func steps(list []int) string {
	text := make([]string, len(list))
	for i, s := range list {
		text[i] = fmt.Sprintf("%d%%", s)
	}
	return strings.Join(text, " → ")
}

// Transition implements rollout.Reporter.
func (r *reporter) Transition(record rollout.Record, why string) {
	r.said, r.last = "", r.now()
	same := r.phase == record.Phase && record.Phase != rollout.Raising
	r.phase = record.Phase
	if same {
		r.line("request", why)
		return
	}
	switch record.Phase {
	case rollout.Raising:
		r.line("raise", fmt.Sprintf("to %s (%s)", record.Goal, why))
	case rollout.Settling:
		r.line("settle", why)
	case rollout.Baking:
		r.line("bake", why+"; gates are looking")
	case rollout.Waiting:
		r.line("waiting", fmt.Sprintf("%s: kubectl infer canary promote %s -n %s", why, record.Plan.Target, record.Plan.Namespace))
	case rollout.RollingBack:
		r.line("ROLLBACK", why)
	case rollout.RolledBack:
		r.line("restored", fmt.Sprintf("%s, %s after the decision", why, since(record.Decided, record.Restored)))
	case rollout.Promoted:
		r.line("promoted", why)
	}
}

func since(from, to time.Time) string { return to.Sub(from).Round(time.Millisecond).String() }

// unnumbered is what a warning says whatever its figures are by now.
func unnumbered(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return -1
		}
		return r
	}, text)
}

// Looked implements rollout.Reporter.
func (r *reporter) Looked(s rollout.State, sample rollout.Sample) {
	for _, arm := range []struct{ name, blind string }{{"canary", sample.Canary.Blind}, {"stable", sample.Stable.Blind}} {
		if arm.blind != "" {
			r.trouble("blind", arm.name+": "+arm.blind)
			return
		}
	}
	for _, w := range sample.Warnings {
		if what := unnumbered(w); !r.warned[what] {
			if r.warned == nil {
				r.warned = map[string]bool{}
			}
			r.warned[what] = true
			r.line("warning", w)
		}
	}
	now, baking := r.now(), s.Phase == rollout.Baking || s.Phase == rollout.Waiting
	if baking && r.step != s.Watch.StepSince {
		r.step = s.Watch.StepSince
		for _, g := range s.Watch.Judge.Results() {
			r.line("gate", g.Gate+": "+judgedBy(g))
		}
	}
	if s.Phase == rollout.Settling || s.Phase == rollout.Ready && s.Watch.Lacking == "" || now.Sub(r.last) < lookEvery {
		return
	}
	r.last = now
	if s.Phase == rollout.Ready {
		r.line("calibrate", "stable alone: "+s.Watch.Lacking)
		return
	}
	if s.Watch.Found.Blind != "" {
		r.trouble("blind", s.Watch.Found.Blind)
		return
	}
	row := s.Watch.Step
	text := fmt.Sprintf("%v of %v; canary got %d of %d requests (%.1f%%)", s.Watch.Baked.Round(time.Second), s.Plan.Bake,
		row.CanaryStarted, row.CanaryStarted+row.StableStarted, row.Seen)
	for _, g := range s.Watch.Judge.Results() {
		text += " · " + gateText(g)
	}
	if missing := s.Watch.Found.Missing; missing != "" && s.Watch.Baked >= s.Plan.Bake {
		text += " · waiting: " + missing
	}
	r.line("bake", text)
}

// judgedBy says what a step holds against a gate, once it is fixed.
func judgedBy(g rollout.GateResult) string {
	text := "bad is what failed"
	if g.Edge > 0 {
		text = fmt.Sprintf("bad is above %s", seconds(g.Edge))
	}
	if g.Stable > 0 {
		text += fmt.Sprintf(", %.2f times the %s that stable had", g.Edge/g.Stable, seconds(g.Stable))
	}
	if g.Allowed > 0 {
		text += fmt.Sprintf("; allowed %.3g%%", 100*g.Allowed)
	}
	return text + fmt.Sprintf("; φ %.2g", g.Phi)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond).String()
}

// gateText is one gate in a progress line: what was seen, and how far the
// evidence for harm has come.
func gateText(g rollout.GateResult) string {
	metric, _, _ := strings.Cut(g.Gate, " <")
	return fmt.Sprintf("%s %s (%d/%d bad, e %.2g of %.3g)", metric, g.Value, g.Bad, g.Requests, g.EValue, g.Needed)
}

// Trouble implements rollout.Reporter.
func (r *reporter) Trouble(record rollout.Record, err error) {
	word := "holding"
	if record.Phase == rollout.RollingBack {
		word = "retrying"
	}
	r.trouble(word, err.Error())
}

func (r *reporter) trouble(word, text string) {
	if text != r.said {
		r.said = text
		r.line(word, text)
	}
}

// document is the result as -o json prints it.
type document struct {
	APIVersion      string          `json:"apiVersion"`
	Kind            string          `json:"kind"`
	Outcome         rollout.Outcome `json:"outcome"`
	ExitCode        int             `json:"exitCode"`
	Reason          string          `json:"reason,omitempty"`
	Namespace       string          `json:"namespace"`
	Target          string          `json:"target"`
	Stable          string          `json:"stable"`
	Canary          string          `json:"canary"`
	Run             string          `json:"run"`
	Phase           rollout.Phase   `json:"phase"`
	Ceiling         int             `json:"ceiling"`
	Steps           []stepView      `json:"steps"`
	RollbackSeconds float64         `json:"rollbackSeconds,omitempty"`
	Started         time.Time       `json:"started"`
	Finished        time.Time       `json:"finished"`
}

// conclude prints the result and turns it into the command's error.
func conclude(ctx context.Context, streams genericiooptions.IOStreams, output string, result rollout.Result, list targets) error {
	code := exit.For(result.Outcome)
	rec := result.Record
	rows := rec.Steps
	if result.Row != nil {
		rows = append(append([]rollout.StepResult(nil), rows...), *result.Row)
	}
	doc := document{
		APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "CanaryResult", Outcome: result.Outcome, ExitCode: int(code),
		Reason: result.Why, Namespace: rec.Plan.Namespace, Target: rec.Plan.Target, Stable: rec.Plan.Stable, Canary: rec.Plan.Canary,
		Run: rec.Run, Phase: rec.Phase, Ceiling: rec.Ceiling, Steps: stepViews(rows), Started: rec.Started, Finished: rec.Updated,
	}
	if !rec.Restored.IsZero() {
		doc.RollbackSeconds = rec.Restored.Sub(rec.Decided).Seconds()
	}
	if output == "json" {
		encoder := json.NewEncoder(streams.Out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(doc); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
	} else {
		printResult(streams.Out, doc, rows)
	}
	return ending(ctx, result, code, list)
}

// ending is the error that carries the exit code and the next thing to type.
func ending(ctx context.Context, result rollout.Result, code exit.Code, list targets) error {
	plan := result.Record.Plan
	at := plan.Target + " -n " + plan.Namespace
	if code == exit.Waiting {
		return exit.With(code, hint.Errorf("kubectl infer canary promote "+at+"   # and repeat the command to go on", "%s: %s", plan.Target, result.Why))
	}
	again := "repeat the command to go on, or: kubectl infer canary abort " + at
	switch code {
	case exit.OK:
		return nil
	case exit.RolledBack, exit.Returned:
		return &exit.Error{Code: code, Err: fmt.Errorf("back at the baseline: %s", result.Why), Quiet: true}
	case exit.RollbackIncomplete:
		return exit.With(code, hint.Errorf("act now: kubectl infer canary abort "+at+"   # or, with nothing but kubectl:\n"+list.manualRestore(),
			"rollback of %s is incomplete: %s", plan.Target, result.Why))
	case exit.Drift:
		next := "put the weights back and repeat the command, or: kubectl infer canary abort " + at
		if suspend := list.suspend(ctx); suspend != "" {
			next = suspend + "\nthen " + next
		}
		return exit.With(code, hint.Errorf(next, "%s: %s", plan.Target, result.Why))
	default:
		return exit.With(code, hint.Errorf(again, "%s: %s", plan.Target, result.Why))
	}
}

// printResult is the table on stdout.
func printResult(out io.Writer, d document, rows []rollout.StepResult) {
	fmt.Fprintf(out, "%s  %s/%s  %s → %s", strings.ToUpper(string(d.Outcome)), d.Namespace, d.Target, d.Stable, d.Canary)
	if d.Reason != "" {
		fmt.Fprintf(out, "\n%s", d.Reason)
	}
	fmt.Fprintln(out)
	printSteps(out, rows)
	if d.RollbackSeconds > 0 {
		fmt.Fprintf(out, "from the deciding scrape to the restored route: %.0f ms\n", 1000*d.RollbackSeconds)
	}
}

func printSteps(out io.Writer, rows []rollout.StepResult) {
	if len(rows) == 0 {
		return
	}
	table := [][]string{{"ASKED", "SEEN", "CANARY REQUESTS", "GATE", "VALUE", "BAD", "E-VALUE", "LIMIT", "UNSEEN", "VERDICT", "TOOK"}}
	for _, row := range rows {
		lead := []string{
			fmt.Sprintf("%d%%", row.Asked), fmt.Sprintf("%.1f%%", row.Seen),
			fmt.Sprintf("%d of %d", row.CanaryStarted, row.CanaryStarted+row.StableStarted),
		}
		tail := []string{row.Verdict, row.Took.Round(100 * time.Millisecond).String()}
		if len(row.Gates) == 0 {
			table = append(table, append(append(lead, "", "", "", "", "", ""), tail...))
		}
		for i, g := range row.Gates {
			if i > 0 {
				lead, tail = []string{"", "", ""}, []string{"", ""}
			}
			cells := []string{g.Gate, g.Value, fmt.Sprintf("%d/%d", g.Bad, g.Requests), fmt.Sprintf("%.2g", g.EValue), fmt.Sprintf("%.3g", g.Needed), unseen(row, g)}
			table = append(table, append(append(append([]string(nil), lead...), cells...), tail...))
		}
	}
	drive.Table(out, table)
	for _, row := range rows {
		for _, w := range row.Warnings {
			fmt.Fprintf(out, "warning: at %d%%: %s\n", row.Asked, w)
		}
	}
	if slices.ContainsFunc(rows, func(r rollout.StepResult) bool { return r.Verdict == "Pass" && len(r.Gates) > 0 }) {
		fmt.Fprintln(out, "UNSEEN: a canary with a smaller part of bad requests than this could have passed too (in more than 10 % of runs)")
	}
}

// unseen is what a step that passed could have missed.
func unseen(row rollout.StepResult, g rollout.GateResult) string {
	switch {
	case row.Verdict != "Pass":
		return ""
	case g.Missed >= 1:
		return "any"
	default:
		return fmt.Sprintf("< %.2g%%", 100*g.Missed)
	}
}
