package canary

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// newAsk is a verb that only asks: the run that is alive obeys at its next
// look, or the next run of the plan does.
func newAsk(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, wish rollout.Wish, short string) *cobra.Command {
	return &cobra.Command{
		Use:     string(wish) + " TYPE/NAME",
		Short:   short,
		Example: "  kubectl infer canary " + string(wish) + " httproute/chat",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), flags, streams, args, wish)
		},
	}
}

func newPromote(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var full bool
	cmd := newAsk(flags, streams, rollout.WishPromote, "Approve the step that waits, or go to the last step")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wish := rollout.WishPromote
		if full {
			wish = rollout.WishFull
		}
		return ask(cmd.Context(), flags, streams, args, wish)
	}
	cmd.Flags().BoolVar(&full, "full", false, "skip the steps between: raise to the last one now, gates still looking")
	return cmd
}

func ask(ctx context.Context, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, args []string, wish rollout.Wish) error {
	o, err := parseObject(args)
	if err != nil {
		return err
	}
	clients, err := connect(flags)
	if err != nil {
		return err
	}
	store := journal.New(clients.Core, clients.Namespace, o.Name, o.name)
	record, err := load(ctx, clients, store, o, clients.Namespace)
	if err != nil {
		return err
	}
	if why := pointless(record, wish); why != "" {
		return exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer canary status "+o.String()+" -n "+clients.Namespace, "%s: %s", o, why))
	}
	q, err := store.Ask(ctx, record, rollout.Request{Wish: wish, User: drive.Person(), At: time.Now()})
	if err != nil {
		return err
	}
	report := newReporter(streams, time.Now)
	report.line("request", fmt.Sprintf("%s: %s requested", o, wish))
	lock := drive.Lock{Period: journal.DefaultLeasePeriod}
	lease := lock.Lease(clients, o.Name, o.name)
	for {
		verdict, holder, err := lease.Look(ctx)
		if err != nil {
			return err
		}
		if record, err = load(ctx, clients, store, o, clients.Namespace); err != nil {
			return err
		}
		switch {
		case record.Run == q.Run && record.Obeyed >= q.Seq:
			fmt.Fprintf(streams.Out, "%s: %s obeyed by %s\n", o, wish, record.Holder)
			return nil
		case record.Run != q.Run || record.Phase.Finished() || record.Phase == rollout.RollingBack:
			return fmt.Errorf("%s: the rollout is %s, %s comes too late", o, record.Phase, wish)
		case verdict == rollout.LeaseFree:
			fmt.Fprintf(streams.Out, "%s: %s recorded; nobody drives this rollout now, the next run of its plan obeys\n", o, wish)
			return nil
		}
		report.trouble("request", "waiting for "+holder)
		if drive.Pause(ctx); ctx.Err() != nil {
			return exit.With(exit.Interrupted, fmt.Errorf("%s: %s stays requested", o, wish))
		}
	}
}

// pointless says why a request would change nothing; "" when it may.
func pointless(r rollout.Record, wish rollout.Wish) string {
	switch {
	case r.Phase.Finished():
		return fmt.Sprintf("the last rollout is %s, there is nothing to %s", r.Phase, wish)
	case r.Phase == rollout.RollingBack:
		return "the rollout is going back to its baseline"
	case wish == rollout.WishPromote && (r.Step < 0 || !slices.Contains(r.Plan.Approve, r.Plan.Steps[r.Step])):
		return "no step waits for approval; promote --full goes to the last step"
	}
	return ""
}
