package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

func newExplain(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "explain httproute/NAME",
		Short: "Say in plain words why each step of a rollout was decided as it was",
		Long: `Say in plain words why each step of a rollout was decided as it was.

Everything comes from the rollout's journal: for each step and gate the value
that was seen, the limit and the margin to it, the requests it rests on, the
evidence for harm and how much of it rolls back, the bucket edge that stands for
a limit, and which regression a step that passed could have missed.`,
		Example: `  kubectl infer canary explain httproute/chat
  kubectl infer canary explain httproute/chat -o json | jq '.steps[].gates[] | {gate, missed}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			object, err := parseObject(args)
			if err != nil {
				return err
			}
			if err := option.Choice("--output", output, "", "json"); err != nil {
				return err
			}
			return explain(cmd.Context(), flags, streams, object, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or empty for text")
	return cmd
}

// explanation is what `explain -o json` prints.
type explanation struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Namespace  string             `json:"namespace"`
	Target     string             `json:"target"`
	Run        string             `json:"run"`
	Phase      rollout.Phase      `json:"phase"`
	Reason     string             `json:"reason,omitempty"`
	Source     string             `json:"source,omitempty"`
	Warnings   []string           `json:"warnings,omitempty"` // of the present step
	Steps      []explainedStep    `json:"steps"`
	Decisions  []rollout.Decision `json:"decisions"`
}

type explainedStep struct {
	rollout.StepResult
	Gates []explainedGate `json:"gates"`
}

// explainedGate is a gate's result and the same in words.
type explainedGate struct {
	rollout.GateResult
	// Margin is the allowed fraction of bad requests less the one that was
	// seen; negative when more were bad.
	Margin float64 `json:"margin"`
	// Said are sentences.
	Said []string `json:"said"`
}

func explain(ctx context.Context, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, object object, output string) error {
	clients, err := connect(flags)
	if err != nil {
		return err
	}
	record, err := load(ctx, clients, journal.New(clients.Core, clients.Namespace, object.Name, object.name), object, clients.Namespace)
	if err != nil {
		return err
	}
	doc := explanationOf(record)
	if output == "json" {
		encoder := json.NewEncoder(streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(doc)
	}
	printExplanation(streams.Out, record, doc)
	return nil
}

func explanationOf(r rollout.Record) explanation {
	doc := explanation{
		APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "CanaryExplanation", Namespace: r.Plan.Namespace, Target: r.Plan.Target,
		Run: r.Run, Phase: r.Phase, Reason: r.Reason, Source: r.Source, Warnings: r.Warnings, Decisions: r.Decisions,
	}
	for _, step := range r.Steps {
		s := explainedStep{StepResult: step}
		for _, g := range step.Gates {
			s.Gates = append(s.Gates, explainGate(g, step.Verdict))
		}
		s.StepResult.Gates = nil
		doc.Steps = append(doc.Steps, s)
	}
	return doc
}

// explainGate puts one gate's result into sentences.
func explainGate(g rollout.GateResult, verdict string) explainedGate {
	e, err := gate.Parse(g.Gate)
	out := explainedGate{GateResult: g}
	if g.Unbounded {
		out.Said = saidOfQuery(g)
		return out
	}
	if err != nil || g.Requests == 0 {
		out.Said = []string{"no canary request was counted for it"}
		return out
	}
	seen := float64(g.Bad) / float64(g.Requests)
	allowed := g.Allowed
	what := "failed"
	if e.Metric != gate.Errors {
		what = "were slower than " + e.Amount(g.Edge)
		out.Said = append(out.Said, fmt.Sprintf("the canary's p%.4g is %s, the limit %s", 100*e.Quantile, g.Value, limitOf(e, g)))
	}
	if allowed == 0 && g.StableRequests > 0 {
		allowed = max(e.Ratio*float64(g.StableBad)/float64(g.StableRequests), e.Floor)
	}
	out.Margin = allowed - seen
	text := fmt.Sprintf("%d of %d canary requests (%s) %s; allowed are %s", g.Bad, g.Requests, share(seen), what, share(allowed))
	if e.Comparison() {
		text += fmt.Sprintf("; on stable it was %d of %d", g.StableBad, g.StableRequests)
	}
	out.Said = append(out.Said, text, evidenceOf(g, seen > allowed))
	if verdict == "Pass" {
		out.Said = append(out.Said, missedBy(g, allowed))
	}
	return out
}

// saidOfQuery is what there is to say of a promql gate.
func saidOfQuery(g rollout.GateResult) []string {
	return []string{
		fmt.Sprintf("the latest answer is %s; %d of %d answers in this step were not below the limit, and %d of the latest %d", g.Value, g.Bad, g.Requests, g.Over, min(g.Requests, gate.StreakOf)),
		fmt.Sprintf("it has no error bound: it takes the canary back at %d of %d in a row, a healthy one too, and passes no step alone", gate.StreakBad, gate.StreakOf),
	}
}

// limitOf says the limit, and which edge stands for it.
func limitOf(e gate.Expr, g rollout.GateResult) string {
	switch {
	case e.Comparison():
		return fmt.Sprintf("%.4g times stable's %s, judged at the bucket edge %s", e.Ratio, e.Amount(threeDigits(g.Stable)), e.Amount(g.Edge))
	case g.Edge != e.Limit:
		return fmt.Sprintf("%s, judged at the bucket edge above it, %s", e.Amount(e.Limit), e.Amount(g.Edge))
	default:
		return e.Amount(e.Limit)
	}
}

func evidenceOf(g rollout.GateResult, over bool) string {
	text := fmt.Sprintf("evidence for harm: e-value %.3g, rolled back at %.3g", g.EValue, g.Needed)
	switch {
	case g.EValue >= g.Needed:
		text += ": shown to be harmful"
	case over && g.EValue > 1:
		text += ": more than allowed, but chance can do that"
	case over:
		text += ": more than allowed, and no evidence yet"
	default:
		text += ": nothing speaks against it"
	}
	if g.Phi > 1 {
		text += fmt.Sprintf(" (requests that fail together count as 1/%.3g)", g.Phi)
	}
	return text
}

// missedBy says what a pass is worth.
func missedBy(g rollout.GateResult, allowed float64) string {
	switch {
	case g.Missed >= 1:
		return "a pass here means little: so few requests would not have shown any regression"
	case g.Missed <= 0:
		return "how large a regression could have been missed is not known"
	case allowed > 0:
		return fmt.Sprintf("a regression to %s bad requests (%.2g times what is allowed) or more would have been seen with 90%%; a smaller one could have been missed", share(g.Missed), g.Missed/allowed)
	default:
		return fmt.Sprintf("a regression to %s bad requests or more would have been seen with 90%%; a smaller one could have been missed", share(g.Missed))
	}
}

func threeDigits(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil {
		return v
	}
	return r
}

func share(fraction float64) string { return fmt.Sprintf("%.3g%%", 100*fraction) }

func printExplanation(out io.Writer, r rollout.Record, doc explanation) {
	fmt.Fprintf(out, "%s/%s  %s → %s\n%s", doc.Namespace, doc.Target, r.Plan.Stable, r.Plan.Canary, doc.Phase)
	if doc.Reason != "" {
		fmt.Fprintf(out, ": %s", doc.Reason)
	}
	fmt.Fprintf(out, "\nrun %s by %s\n", doc.Run, r.Holder)
	if doc.Source != "" {
		fmt.Fprintf(out, "counts from %s\n", doc.Source)
	}
	for i, step := range doc.Steps {
		fmt.Fprintf(out, "\nstep %d: %d%% asked, %.1f%% seen (%d of %d requests), %s after %v\n", i+1, step.Asked, step.Seen,
			step.CanaryStarted, step.CanaryStarted+step.StableStarted, step.Verdict, step.Took.Round(100*time.Millisecond))
		if text := overflows(step.StepResult); text != "" {
			fmt.Fprintf(out, "  breaker: %s\n", text)
		}
		for _, w := range step.Warnings {
			fmt.Fprintf(out, "  warning: %s\n", w)
		}
		for _, g := range step.Gates {
			fmt.Fprintf(out, "  %s\n", g.Gate)
			for _, sentence := range g.Said {
				fmt.Fprintf(out, "    %s\n", sentence)
			}
		}
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "\nwarning, in the present step: %s\n", w)
	}
	if !r.Phase.Finished() {
		fmt.Fprintf(out, "\nthe present step is not decided: kubectl infer canary status %s -n %s\n", doc.Target, doc.Namespace)
	}
	fmt.Fprintln(out, "\ndecisions:")
	for _, d := range doc.Decisions {
		fmt.Fprintf(out, "  %s  %-11s %-8s %s\n", d.At.Local().Format("15:04:05"), d.Phase, d.Goal, d.Why)
	}
}
