package canary

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

func newPlan(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &runOptions{flags: flags, streams: streams, probe: probing{mode: probeNone}}
	cmd := &cobra.Command{
		Use:   "plan TYPE/NAME --stable NAME --canary NAME [--gate GATE]",
		Short: "Show what every step of a run would change, and write nothing",
		Long: `Show what every step of a run would change, and write nothing.

The whole preflight of canary run is done, so exit code 16 means that the run
would be refused too. Then stable is watched for a while, to say how many
requests, and how long, each step would take to see a worse canary.`,
		Example: `  kubectl infer canary plan httproute/chat --stable qwen-v1 --canary qwen-v2 --steps 5,25,50,100 --gate 'errors < 1%'
  kubectl infer canary plan -f plan.yaml
  kubectl infer canary plan --schema > canary-plan.schema.json`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.plan(cmd.Context(), args) },
	}
	o.planFlags.add(cmd)
	cmd.Flags().DurationVar(&o.watch, "watch", defaultWatch, "how long stable's traffic is watched for the forecast; 0 leaves it out")
	cmd.Flags().BoolVar(&o.showSchema, "schema", false, "print the JSON schema of plan files, and nothing else")
	cmd.Flags().StringVar(&o.gitops, "gitops", "", "as for canary run: suspended, or ignored")
	return cmd
}

func (o *runOptions) plan(ctx context.Context, args []string) error {
	if o.showSchema {
		return o.schema(o.streams.Out)
	}
	list, err := o.targets(args, o.streams.In)
	if err != nil {
		return err
	}
	if err := option.Choice("--gitops", o.gitops, "", "suspended", "ignored"); err != nil {
		return err
	}
	clients, err := connect(o.flags)
	if err != nil {
		return err
	}
	plan, err := o.complete(list, clients.Namespace)
	if err != nil {
		return err
	}
	p, err := o.prepare(ctx, clients, list[0], plan)
	if err != nil {
		return exit.With(refusal(err), err)
	}
	defer p.close()
	var seen []rollout.GateForecast
	if o.watch > 0 && p.evidence != nil {
		if seen, err = o.forecast(ctx, p); err != nil {
			return err
		}
	}
	if err := o.preview(p); err != nil || len(seen) == 0 {
		return err
	}
	printForecast(o.streams.Out, plan, seen, o.watch)
	return nil
}

// preview prints a diff of the weights for every step.
func (o *runOptions) preview(p prepared) error {
	plan := p.record.Plan
	fmt.Fprintf(o.streams.Out, "%s/%s  %s → %s\n", plan.Namespace, strings.Join(plan.Targets(), ", "), plan.Stable, plan.Canary)
	from := rollout.Baseline
	for i, share := range plan.Steps {
		fmt.Fprintf(o.streams.Out, "step %d of %d: %s → %d%%, then watched for at least %v\n", i+1, len(plan.Steps), from, share, plan.Settle+plan.Bake)
		for _, t := range p.targets {
			stable, canary, err := t.Preview(from, rollout.Goal(share))
			if err != nil {
				return err
			}
			fmt.Fprintf(o.streams.Out, "  %s\n", t.Name())
			diff(o.streams.Out, plan.Stable, stable)
			diff(o.streams.Out, plan.Canary, canary)
		}
		from = rollout.Goal(share)
	}
	for _, note := range p.notes {
		fmt.Fprintf(o.streams.Out, "note: %s\n", note)
	}
	return nil
}

// diff is one weight before and after, as a unified diff shows lines.
func diff(out io.Writer, name string, c target.Change) {
	if c.Before >= 0 {
		fmt.Fprintf(out, "-   %s weight %d\n", name, c.Before)
	}
	if c.After >= 0 {
		fmt.Fprintf(out, "+   %s weight %d\n", name, c.After)
	}
}
