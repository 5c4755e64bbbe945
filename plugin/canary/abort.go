package canary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

// back is what the verbs that restore a baseline have in common.
type back struct {
	flags    *genericclioptions.ConfigFlags
	streams  genericiooptions.IOStreams
	lock     drive.Lock
	limit    time.Duration
	output   string
	takeOver bool
	ifStale  bool

	object  object
	clients *kube.Clients
	store   *journal.Store
	report  *reporter
}

func (b *back) add(cmd *cobra.Command) {
	b.lock.Add(cmd)
	cmd.Flags().DurationVar(&b.limit, "rollback-limit", rollout.DefaultRollbackLimit, "how long a rollback that meets errors is tried before exit code 15")
	cmd.Flags().StringVarP(&b.output, "output", "o", "", "json, or empty for a table")
}

// open reads the arguments and the journal.
func (b *back) open(ctx context.Context, args []string) (rollout.Record, error) {
	var err error
	if b.object, err = parseObject(args); err != nil {
		return rollout.Record{}, err
	}
	if err := option.Choice("--output", b.output, "", "json"); err != nil {
		return rollout.Record{}, err
	}
	if err := b.lock.Check(); err != nil {
		return rollout.Record{}, err
	}
	if b.clients, err = connect(b.flags); err != nil {
		return rollout.Record{}, err
	}
	b.report = newReporter(b.streams, time.Now)
	b.store = journal.New(b.clients.Core, b.clients.Namespace, b.object.Name, b.object.name)
	return load(ctx, b.clients, b.store, b.object, b.clients.Namespace)
}

// load reads a record that must exist.
func load(ctx context.Context, clients *kube.Clients, store *journal.Store, o object, namespace string) (rollout.Record, error) {
	record, err := store.Load(ctx)
	if errors.Is(err, journal.ErrNone) {
		if _, ok := journal.Mirrored(store); ok {
			return record, hint.Errorf("kubectl infer mirror status "+o.String()+" -n "+namespace, "%s in namespace %s has no rollout, but a mirror", o, namespace)
		}
		if first := leader(ctx, clients, o, namespace); first != "" {
			return record, hint.Errorf("kubectl infer canary status "+first, "%s moves with %s, whose journal has the rollout", o, first)
		}
		return record, hint.Errorf("kubectl infer canary run "+o.String()+" …", "%s in namespace %s: %w", o, namespace, err)
	}
	return record, err
}

func newAbort(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	b := &back{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "abort TYPE/NAME",
		Short: "End a running or abandoned rollout and restore its baseline",
		Long: `End a running or abandoned rollout and restore its baseline.

A run that is alive, here or on another machine, is asked through the journal:
it restores the baseline itself and exits with 19. When nobody renews the lease
any more, or at once with --take-over, abort does it itself. Exit code 0 once
the baseline was read back, 15 if it could not be.`,
		Example: `  kubectl infer canary abort httproute/chat

  # the last step of a pipeline, run whatever happened: cleans up only behind a runner that died
  kubectl infer canary abort httproute/chat --if-stale`,
		RunE: func(cmd *cobra.Command, args []string) error { return b.abort(cmd.Context(), args) },
	}
	b.add(cmd)
	cmd.Flags().BoolVar(&b.takeOver, "take-over", false, "do not ask a run that is alive: take the lease from it")
	cmd.Flags().BoolVar(&b.ifStale, "if-stale", false, "do nothing, with exit code 0, unless the process of an unfinished run died; one that holds or waits for an approval is left alone")
	cmd.MarkFlagsMutuallyExclusive("take-over", "if-stale")
	return cmd
}

func (b *back) abort(ctx context.Context, args []string) error {
	record, err := b.open(ctx, args)
	if b.ifStale {
		over := errors.Is(err, journal.ErrNone) || err == nil && record.Phase.Finished()
		why, err := b.leftAlone(ctx, over)
		if why != "" {
			b.report.line("abort", b.object.String()+": "+why)
		}
		if why != "" || err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if !record.Phase.Finished() && !b.takeOver && !b.ifStale {
		q, err := b.store.Ask(ctx, record, rollout.Request{Wish: rollout.WishAbort, User: drive.Person(), At: time.Now()})
		if err != nil {
			return err
		}
		b.report.line("abort", fmt.Sprintf("%s: requested by %s", b.object, q.User))
	}
	lease, err := b.seize(ctx)
	if err != nil {
		return err
	}
	defer drive.Release(ctx, lease, b.report.line)
	if record, err = load(ctx, b.clients, b.store, b.object, b.clients.Namespace); err != nil {
		return err
	}
	if record.Phase.Finished() {
		return b.over(ctx, record)
	}
	b.report.line("abort", fmt.Sprintf("%s: taking over from %s and restoring the baseline", b.object, record.Holder))
	result, list, err := b.restore(ctx, lease, record, "abort requested by "+drive.Person())
	if err != nil {
		return err
	}
	return settled(b.conclude(ctx, result, list))
}

// leftAlone says why an abort that is only for what a dead process left has nothing
// to do: no unfinished rollout (over), a process that is alive, or one that ended by
// itself, holding or waiting, and let the lease go. One that died still has its name
// on the lease, and does not renew it.
func (b *back) leftAlone(ctx context.Context, over bool) (string, error) {
	if over {
		return "no unfinished rollout", nil
	}
	for lease := b.lock.Lease(b.clients, b.object.Name, b.object.name); ; {
		verdict, holder, err := lease.Look(ctx)
		switch {
		case err != nil:
			return "", err
		case holder == "":
			return "left alone, since its process ended in order and the run can go on", nil
		case verdict == rollout.LeaseHeld:
			return "left alone, since its process is alive: " + holder, nil
		case verdict == rollout.LeaseFree:
			return "", nil
		case ctx.Err() != nil:
			return "", exit.With(exit.Interrupted, fmt.Errorf("%s: interrupted while watching the lease of %s", b.object, holder))
		}
		drive.Pause(ctx)
	}
}

// seize waits until the lease is ours.
func (b *back) seize(ctx context.Context) (*journal.Lease, error) {
	lease := b.lock.Lease(b.clients, b.object.Name, b.object.name)
	return lease, drive.Seize(ctx, lease, b.object.String(), b.takeOver, b.report.line, b.report.trouble)
}

// over tells of a rollout that has ended, and takes away what its process may
// have left on its targets.
func (b *back) over(ctx context.Context, record rollout.Record) error {
	list, err := resumeTargets(b.clients, record)
	if err != nil {
		return err
	}
	list.adopt(record.Stamp())
	if err := list.group().Release(ctx); err != nil {
		return err
	}
	if record.Unwanted() {
		return takeAway(ctx, b.clients, evidence.Auto, b.store, &record, b.report)
	}
	if record.Phase == rollout.RolledBack && record.Cause == rollout.ByRequest {
		outcome := rollout.Result{Outcome: rollout.Returned, Why: record.Reason, Record: record}
		return settled(b.conclude(ctx, outcome, list))
	}
	return hint.Errorf("kubectl infer canary status "+b.object.String(), "%s: nothing to abort, the last rollout is %s", b.object, record.Phase)
}

// restore brings record's baseline back. The first write is repeated against a
// process that still writes, since ours carries the higher epoch.
func (b *back) restore(ctx context.Context, lease *journal.Lease, record rollout.Record, why string) (rollout.Result, targets, error) {
	ctx = context.WithoutCancel(ctx)
	for {
		record = resume(record)
		record.Phase, record.Goal, record.Cause = rollout.RollingBack, rollout.Baseline, rollout.ByRequest
		record.Reason, record.Decided, record.Restored = why, time.Now(), time.Time{}
		err := b.store.Save(ctx, record)
		if err == nil {
			break
		}
		if !errors.Is(err, rollout.ErrSuperseded) {
			return rollout.Result{}, nil, err
		}
		if record, err = load(ctx, b.clients, b.store, b.object, b.clients.Namespace); err != nil {
			return rollout.Result{}, nil, err
		}
	}
	list, err := resumeTargets(b.clients, record)
	if err != nil {
		return rollout.Result{}, nil, err
	}
	result := rollout.Run(ctx, rollout.Begin(record, nil), rollout.Deps{
		Targets: list.group(), Journal: b.store, Clock: drive.Clock{}, Reporter: b.report, RollbackLimit: b.limit, Lock: lease,
	})
	unwanted(ctx, b.clients, evidence.Auto, b.store, &result.Record, b.report)
	return result, list, nil
}

// conclude prints how a run ended, and turns it into the verb's error.
func (b *back) conclude(ctx context.Context, result rollout.Result, list targets) error {
	if err := printResult(b.streams.Out, b.output, report.Of(result)); err != nil {
		return err
	}
	return ending(ctx, result, list)
}

// settled turns the code of a run that was returned by request into success:
// that is what was asked for.
func settled(err error) error {
	if exit.CodeOf(err) == exit.Returned {
		return nil
	}
	return err
}
