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

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
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
	if g.Unbounded {
		return fmt.Sprintf("no error bound: goes back at %d of %d answers in a row", gate.StreakBad, gate.StreakOf)
	}
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
	if g.Unbounded {
		return fmt.Sprintf("%s is %s (%d of the latest %d over, no error bound)", short(g.Gate), g.Value, g.Over, min(g.Requests, gate.StreakOf))
	}
	metric, _, _ := strings.Cut(g.Gate, " <")
	return fmt.Sprintf("%s %s (%d/%d bad, e %.2g of %.3g)", metric, g.Value, g.Bad, g.Requests, g.EValue, g.Needed)
}

// longest is how much of a gate's text fits in a line.
const longest = 60

// short is a gate's text for a line or a cell; queries may be long.
func short(text string) string {
	runes := []rune(text)
	if len(runes) <= longest {
		return text
	}
	return string(runes[:longest/2]) + " … " + string(runes[len(runes)-longest/2:])
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

// printResult writes the result as a document, or as a table.
func printResult(out io.Writer, output string, result report.Result) error {
	if output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(result); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
		return nil
	}
	printTable(out, result)
	return nil
}

// ending is the error that carries the exit code and the next thing to type.
func ending(ctx context.Context, result rollout.Result, list targets) error {
	code, plan := exit.For(result.Outcome), result.Record.Plan
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

// printTable is the result for people.
func printTable(out io.Writer, r report.Result) {
	fmt.Fprintf(out, "%s  %s/%s  %s → %s", r.Word(), r.Namespace, r.Target, r.Stable, r.Canary)
	if r.Reason != "" {
		fmt.Fprintf(out, "\n%s", r.Reason)
	}
	fmt.Fprintln(out)
	rows := make([]rollout.StepResult, len(r.Steps))
	for i, step := range r.Steps {
		rows[i] = step.StepResult
	}
	printSteps(out, rows)
	if r.RollbackSeconds > 0 {
		fmt.Fprintf(out, "from the deciding scrape to the restored route: %.0f ms\n", 1000*r.RollbackSeconds)
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
			table = append(table, append(append(append([]string(nil), lead...), cells(row, g)...), tail...))
		}
	}
	drive.Table(out, table)
	for _, row := range rows {
		if text := overflows(row); text != "" {
			fmt.Fprintf(out, "breaker: at %d%%: %s\n", row.Asked, text)
		}
		for _, w := range row.Warnings {
			fmt.Fprintf(out, "warning: at %d%%: %s\n", row.Asked, w)
		}
	}
	if slices.ContainsFunc(rows, func(r rollout.StepResult) bool { return r.Verdict == "Pass" && len(r.Gates) > 0 }) {
		fmt.Fprintln(out, "UNSEEN: a canary with a smaller part of bad requests than this could have passed too (in more than 10 % of runs)")
	}
}

// overflows tells errors of a limit from those of a model; "" if there are none.
func overflows(row rollout.StepResult) string {
	if row.CanaryOverflows+row.StableOverflows == 0 {
		return ""
	}
	return fmt.Sprintf("%d requests of the canary and %d of stable met the gateway's circuit breaker: errors of a limit (maxParallelRequests, maxPendingRequests), not of a model",
		row.CanaryOverflows, row.StableOverflows)
}

// cells are one gate in one step.
func cells(row rollout.StepResult, g rollout.GateResult) []string {
	bad := fmt.Sprintf("%d/%d", g.Bad, g.Requests)
	if g.Unbounded {
		return []string{short(g.Gate), g.Value, bad, "no bound", fmt.Sprintf("%d of %d", gate.StreakBad, gate.StreakOf), unseen(row, g)}
	}
	return []string{g.Gate, g.Value, bad, fmt.Sprintf("%.2g", g.EValue), fmt.Sprintf("%.3g", g.Needed), unseen(row, g)}
}

// unseen is what a step that passed could have missed.
func unseen(row rollout.StepResult, g rollout.GateResult) string {
	switch {
	case row.Verdict != "Pass":
		return ""
	case g.Unbounded:
		return "not known"
	case g.Missed >= 1:
		return "any"
	default:
		return fmt.Sprintf("< %.2g%%", 100*g.Missed)
	}
}
