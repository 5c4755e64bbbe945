package mirror

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const (
	apiVersion = "kubectl-infer.github.io/v1alpha1"
	// lookEvery is how often a comparison that goes on is worth a line.
	lookEvery = 5 * time.Second
)

// reporter writes one line per event to stderr.
type reporter struct {
	out     io.Writer
	now     func() time.Time
	last    time.Time // of the last progress line
	said    string    // last trouble, so that a long outage is one line
	arrived bool
}

func (r *reporter) line(word, text string) {
	fmt.Fprintf(r.out, "%s  %-9s %s\n", r.now().Format("15:04:05"), word, text)
}

func (r *reporter) opening(p prepared) {
	plan := p.record.Plan
	r.line("begin", fmt.Sprintf("%s in namespace %s: primary %s, shadow %s", plan.Target, plan.Namespace, plan.Primary, plan.Shadow))
	primary, shadow := p.both.Ready()
	r.line("preflight", fmt.Sprintf("ready endpoints: primary %d, shadow %d; metrics of %s", primary, shadow, p.record.Source))
	r.line("plan", fmt.Sprintf("copy %d%% for %v, at most %d tokens a second and at least %d copies a gate; α %g",
		plan.Percent, plan.Duration, plan.MaxTokensPerSecond, plan.MinRequests, plan.Alpha))
	for _, g := range plan.Gates {
		r.line("gate", g)
	}
	for _, note := range p.notes {
		r.line("note", note)
	}
	if a := p.record.Answers; a != nil {
		r.line("answers", answersText(*a))
	}
}

// Transition implements engine.Reporter.
func (r *reporter) Transition(record engine.Record, why string) {
	r.said, r.last = "", r.now()
	word := map[engine.Phase]string{engine.Mirroring: "mirror", engine.Removing: "remove", engine.Done: "restored"}[record.Phase]
	r.line(word, worded(why))
}

// Looked implements engine.Reporter.
func (r *reporter) Looked(s engine.State, sample rollout.Sample) {
	if !r.arrived && s.Result.Shadow.Started > 0 && s.Result.Primary.Started > 0 {
		r.arrived = true
		r.line("arrived", fmt.Sprintf("requests are counted on both sides: primary %d, shadow %d", s.Result.Primary.Started, s.Result.Shadow.Started))
	}
	now := r.now()
	if now.Sub(r.last) < lookEvery || s.Phase == engine.Ready && s.Watch.Lacking == "" {
		return
	}
	r.last = now
	if s.Phase == engine.Ready {
		r.line("calibrate", "the primary alone: "+worded(s.Watch.Lacking))
		return
	}
	text := fmt.Sprintf("%v of %v; primary %d, shadow %d requests, at most %.0f tokens a second", s.Result.Watched.Round(time.Second), s.Plan.Duration,
		s.Result.Primary.Started, s.Result.Shadow.Started, s.Result.TokensPerSecond)
	for _, g := range s.Watch.Judge.Results() {
		text += fmt.Sprintf(" · %s (%d/%d bad, e %.2g of %.3g)", g.Gate, g.Bad, g.Requests, g.EValue, g.Needed)
	}
	if sample.Canary.Blind != "" {
		text += " · blind: " + worded(sample.Canary.Blind)
	}
	r.line("compare", text)
}

// Trouble implements engine.Reporter.
func (r *reporter) Trouble(_ engine.Record, err error) { r.trouble("retrying", err.Error()) }

func (r *reporter) trouble(word, text string) {
	if text != r.said {
		r.said = text
		r.line(word, text)
	}
}

// worded calls the arms of package gate by their names in a mirror. No gate's
// text has the word canary.
func worded(text string) string { return strings.ReplaceAll(text, "canary", "shadow") }

// document is a mirror's report as -o json prints it.
type document struct {
	APIVersion         string          `json:"apiVersion"`
	Kind               string          `json:"kind"`
	Verdict            gate.Verdict    `json:"verdict"`
	ExitCode           int             `json:"exitCode"`
	Reason             string          `json:"reason"`
	Namespace          string          `json:"namespace"`
	Target             string          `json:"target"`
	Rule               string          `json:"rule,omitempty"`
	Primary            string          `json:"primary"`
	Shadow             string          `json:"shadow"`
	Percent            int             `json:"percent"`
	MaxTokensPerSecond int             `json:"maxTokensPerSecond"`
	Run                string          `json:"run"`
	Source             string          `json:"source"`
	Result             engine.Result   `json:"result"`
	Answers            *engine.Answers `json:"answers,omitempty"`
	Started            time.Time       `json:"started"`
	Mirrored           time.Time       `json:"mirrored,omitzero"`
	Removed            time.Time       `json:"removed,omitzero"`
}

func documentOf(r engine.Record) document {
	return document{
		APIVersion: apiVersion, Kind: "MirrorReport", Verdict: r.Verdict, ExitCode: int(codeOf(r.Verdict)), Reason: worded(r.Reason),
		Namespace: r.Plan.Namespace, Target: r.Plan.Target, Rule: r.Plan.Rule, Primary: r.Plan.Primary, Shadow: r.Plan.Shadow,
		Percent: r.Plan.Percent, MaxTokensPerSecond: r.Plan.MaxTokensPerSecond, Run: r.Run, Source: r.Source, Result: r.Result, Answers: r.Answers,
		Started: r.Started, Mirrored: r.Mirrored, Removed: r.Removed,
	}
}

// statusDocument is what `status -o json` prints.
type statusDocument struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Phase      engine.Phase `json:"phase"`
	Report     document     `json:"report"`
	Live       standing     `json:"live"`
}

// standing is what the route copies now, in percent.
type standing struct {
	Percent    float64 `json:"percent"`
	AsRecorded bool    `json:"asRecorded"`
	Accepted   bool    `json:"accepted"`
	Waiting    string  `json:"waiting,omitempty"`
	Problem    string  `json:"problem,omitempty"`
}

// codeOf is a verdict's exit code.
func codeOf(v gate.Verdict) exit.Code {
	switch v {
	case gate.Pass:
		return exit.OK
	case gate.Fail:
		return exit.CheckFailed
	default:
		return exit.Held
	}
}

func show(streams genericiooptions.IOStreams, output string, record engine.Record) error {
	if output != "json" {
		printReport(streams.Out, record)
		return nil
	}
	encoder := json.NewEncoder(streams.Out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(documentOf(record))
}

// conclude prints the report and turns the end into the command's error.
func conclude(streams genericiooptions.IOStreams, output string, end engine.End, left route) error {
	if err := show(streams, output, end.Record); err != nil {
		return err
	}
	if end.Outcome == engine.Judged {
		return judged(end.Record)
	}
	return ending(end, exit.LockHeld, left)
}

// ending is the error of a mirror that was not ours to the end, with the code
// of one that another process has.
func ending(end engine.End, other exit.Code, left route) error {
	plan := end.Record.Plan
	at := plan.Target + " -n " + plan.Namespace
	if end.Outcome == engine.Incomplete {
		return exit.With(exit.RollbackIncomplete, hint.Errorf("act now: kubectl infer mirror stop "+at+"   # or, with nothing but kubectl:\n"+left.ManualRestore(),
			"the mirror of %s could not be taken away: %s", plan.Target, end.Why))
	}
	return exit.With(other, hint.Errorf("kubectl infer mirror status "+at, "%s: %s", plan.Target, end.Why))
}

func headline(r engine.Record) string {
	switch {
	case r.Phase != engine.Done:
		return strings.ToUpper(string(r.Phase))
	case r.Verdict == gate.Pass:
		return "NO HARM SEEN"
	case r.Verdict == gate.Fail:
		return "WORSE"
	default:
		return "UNDECIDED"
	}
}

func printReport(out io.Writer, r engine.Record) {
	fmt.Fprintf(out, "%s  %s/%s  %s ⇢ %s, %d%%\n", headline(r), r.Plan.Namespace, r.Plan.Target, r.Plan.Primary, r.Plan.Shadow, r.Plan.Percent)
	if r.Reason != "" {
		fmt.Fprintln(out, worded(r.Reason))
	}
	table := [][]string{{"SIDE", "READY", "STARTED", "FINISHED", "PROMPT TOKENS", "ANSWER TOKENS"}}
	for _, side := range []struct {
		name string
		engine.Side
	}{{"primary", r.Result.Primary}, {"shadow", r.Result.Shadow}} {
		prompt, answer := side.Means()
		table = append(table, []string{
			side.name, fmt.Sprint(side.Ready), fmt.Sprint(side.Started), fmt.Sprint(side.Finished),
			fmt.Sprintf("%d (%.3g each)", side.PromptTokens, prompt), fmt.Sprintf("%d (%.3g each)", side.AnswerTokens, answer),
		})
	}
	drive.Table(out, table)
	printGates(out, r.Result.Gates)
	fmt.Fprintf(out, "compared for %v; the shadow spent at most %.0f tokens a second, of %d\n", r.Result.Watched.Round(time.Second), r.Result.TokensPerSecond, r.Plan.MaxTokensPerSecond)
	if r.Answers != nil {
		fmt.Fprintln(out, answersText(*r.Answers))
	}
	for _, w := range r.Result.Warnings {
		fmt.Fprintln(out, "warning: "+worded(w))
	}
}

func printGates(out io.Writer, gates []rollout.GateResult) {
	if len(gates) == 0 {
		return
	}
	table := [][]string{{"GATE", "SHADOW", "BAD", "PRIMARY BAD", "E-VALUE", "LIMIT"}}
	for _, g := range gates {
		table = append(table, []string{
			g.Gate, g.Value, fmt.Sprintf("%d/%d", g.Bad, g.Requests), fmt.Sprintf("%d/%d", g.StableBad, g.StableRequests),
			fmt.Sprintf("%.2g", g.EValue), fmt.Sprintf("%.3g", g.Needed),
		})
	}
	drive.Table(out, table)
}

func answersText(a engine.Answers) string {
	return fmt.Sprintf("answers at temperature 0: %d of %d the same, similarity %.2f on average, %.2f at least", a.Same, a.Asked, a.Similarity, a.Lowest)
}

func printStatus(out io.Writer, r engine.Record, live standing, now time.Time) {
	printReport(out, r)
	text := fmt.Sprintf("the route copies %.4g%%", live.Percent)
	switch {
	case live.Problem != "":
		text = live.Problem
	case !live.AsRecorded:
		text += fmt.Sprintf(", not the recorded %s", r.Goal())
	case !live.Accepted:
		text += ", not accepted: " + live.Waiting
	}
	fmt.Fprintf(out, "phase    %s; %s\n", r.Phase, text)
	fmt.Fprintf(out, "run      %s by %s, last write %s ago\n", r.Run, r.Holder, now.Sub(r.Updated).Round(time.Second))
	for _, d := range r.Decisions[max(0, len(r.Decisions)-5):] {
		fmt.Fprintf(out, "  %s  %-9s %s\n", d.At.Local().Format("15:04:05"), d.Phase, worded(d.Why))
	}
}
