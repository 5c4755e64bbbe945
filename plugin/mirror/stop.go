package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

type stopOptions struct {
	lock        drive.Lock
	takeOver    bool
	removeLimit time.Duration

	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
}

func newStop(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &stopOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "stop httproute/NAME",
		Short: "End a mirror, running or abandoned, and take away what it made",
		Long: `End a mirror, running or abandoned, and take away what it made.

A process that is alive, here or on another machine, is asked through the journal:
it takes the filter away itself and exits with 11. When nobody renews the lease any
more, or at once with --take-over, stop does it itself. Exit code 0 once the route
was read back without the filter, 15 if it could not be taken away.`,
		Example: "  kubectl infer mirror stop httproute/chat",
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	o.lock.Add(cmd)
	cmd.Flags().BoolVar(&o.takeOver, "take-over", false, "do not ask a process that is alive: take the lease from it")
	cmd.Flags().DurationVar(&o.removeLimit, "remove-limit", engine.DefaultRemoveLimit, "how long taking the filter away is tried before exit code 15")
	return cmd
}

func (o *stopOptions) run(ctx context.Context, args []string) error {
	name, err := parseRoute(args)
	if err != nil {
		return err
	}
	if err := o.lock.Check(); err != nil {
		return err
	}
	clients, err := kube.New(o.flags)
	if err != nil {
		return err
	}
	book := journal.NewMirrors(clients.Core, clients.Namespace, kind, name)
	record, err := load(ctx, book, name, clients.Namespace)
	if err != nil {
		return err
	}
	report := &reporter{out: o.streams.ErrOut, now: time.Now}
	if record.Phase != engine.Done && !o.takeOver {
		q, err := book.Ask(ctx, record, rollout.Request{Wish: rollout.WishAbort, User: drive.Person(), At: time.Now()})
		if err != nil {
			return err
		}
		report.line("stop", fmt.Sprintf("%s: requested by %s", record.Plan.Target, q.User))
	}
	lease := o.lock.Lease(clients, kind, name)
	if err := drive.Seize(ctx, lease, record.Plan.Target, o.takeOver, report.line, report.trouble); err != nil {
		return err
	}
	defer drive.Release(ctx, lease, report.line)
	return o.end(ctx, clients, book, name, lease, report)
}

// end takes away what is left, under the lease.
func (o *stopOptions) end(ctx context.Context, clients *kube.Clients, book *journal.Mirrors, name string, lease *journal.Lease, report *reporter) error {
	ctx = context.WithoutCancel(ctx) // a signal is no reason to leave something behind
	record, err := load(ctx, book, name, clients.Namespace)
	if err != nil {
		return err
	}
	left, err := resume(clients, record)
	if err != nil {
		return err
	}
	made := services{clients: clients, namespace: clients.Namespace, name: record.Made}
	if record.Phase == engine.Done {
		left.Adopt(record.Stamp())
		if err := left.Release(ctx); err != nil && !errors.Is(err, rollout.ErrDrift) {
			return err
		}
		fmt.Fprintf(o.streams.Out, "%s: the mirror is over: %s\n", record.Plan.Target, record.Reason)
		return nil
	}
	report.line("stop", fmt.Sprintf("%s: taking over from %s and taking the filter away", record.Plan.Target, record.Holder))
	why := "stopped by " + drive.Person()
	for {
		record = record.TakeOver(time.Now(), drive.Holder(), why)
		if err = book.Save(ctx, record); err == nil {
			break
		}
		if !errors.Is(err, rollout.ErrSuperseded) {
			return err
		}
		if record, err = load(ctx, book, name, clients.Namespace); err != nil { // its process wrote once more
			return err
		}
	}
	end := engine.Run(ctx, engine.Begin(record, nil), engine.Deps{
		Target: left, Shadow: made, Journal: book, Clock: drive.Clock{}, Reporter: report, Lock: lease, RemoveLimit: o.removeLimit,
	})
	if end.Outcome == engine.Judged {
		fmt.Fprintf(o.streams.Out, "%s: the filter is off, the route is as it was\n", record.Plan.Target)
		return nil
	}
	return ending(end, exit.For(rollout.TakenOver), left)
}
