package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// The verbs for a rollout that has ended: undo, finish, history, gc.

func newUndo(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	b := &back{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:     "undo TYPE/NAME",
		Short:   "Return a promoted rollout to the baseline its journal keeps",
		Example: "  kubectl infer canary undo httproute/chat",
		RunE:    func(cmd *cobra.Command, args []string) error { return b.undo(cmd.Context(), args) },
	}
	b.add(cmd)
	return cmd
}

func (b *back) undo(ctx context.Context, args []string) error {
	if _, err := b.ended(ctx, args); err != nil {
		return err
	}
	lease, record, err := b.alone(ctx)
	if err != nil {
		return err
	}
	defer drive.Release(ctx, lease, b.report.line)
	if record.Unwanted() {
		return takeAway(ctx, b.clients, evidence.Auto, b.store, &record, b.report)
	}
	if record.Phase == rollout.RolledBack {
		fmt.Fprintf(b.streams.Out, "%s: already at the baseline of run %s\n", b.object, record.Run)
		return nil
	}
	if record.StableRemoved {
		return exit.With(exit.PreflightRefused, hint.Errorf("canary run "+b.object.String()+" with the pools exchanged and --add-backend",
			"%s: canary finish took the backend %s away, so the baseline cannot be restored", b.object, record.Plan.Stable))
	}
	if record.Phase == rollout.Promoted {
		list, err := resumeTargets(b.clients, record)
		if err != nil {
			return err
		}
		at, err := list.group().Read(ctx, record.Goal)
		if err != nil && !errors.Is(err, rollout.ErrDrift) {
			return err
		}
		if err != nil || !at.AtGoal {
			return exit.With(exit.Drift, hint.Errorf("kubectl infer canary status "+b.object.String(),
				"%s: the weights were changed since the promotion, so they are left alone", b.object))
		}
	}
	b.report.line("undo", fmt.Sprintf("%s: restoring the baseline of run %s", b.object, record.Run))
	result, list, err := b.restore(ctx, lease, record, "undo requested by "+drive.Person())
	if err != nil {
		return err
	}
	result.Record.Steps = nil // those of the run that was undone: history and status tell them
	if err := b.conclude(ctx, result, list); exit.CodeOf(err) != exit.Returned {
		return err
	}
	return b.undone(list, record)
}

// undone says which weights undo wrote over those of the promoted record.
func (b *back) undone(list targets, record rollout.Record) error {
	if b.output == "json" || record.Goal == rollout.Baseline {
		return nil
	}
	for _, o := range list {
		stable, canary, err := o.Preview(record.Goal, rollout.Baseline)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.streams.Out, "  %s\n", o.Name())
		diff(b.streams.Out, record.Plan.Stable, stable)
		diff(b.streams.Out, record.Plan.Canary, canary)
	}
	return nil
}

// ended opens a journal whose rollout is over, or was being undone.
func (b *back) ended(ctx context.Context, args []string) (rollout.Record, error) {
	record, err := b.open(ctx, args)
	if err != nil {
		return record, err
	}
	if !record.Phase.Finished() && record.Phase != rollout.RollingBack {
		return record, exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer canary abort "+b.object.String(),
			"%s: the rollout is not over, it is %s at %s", b.object, record.Phase, record.Goal))
	}
	return record, nil
}

// alone takes the lease for a short piece of work and reads the record again.
func (b *back) alone(ctx context.Context) (*journal.Lease, rollout.Record, error) {
	lease := b.lock.Lease(b.clients, b.object.Name, b.object.name)
	if err := drive.Acquire(ctx, lease, b.object.String(), b.report.line); err != nil {
		return nil, rollout.Record{}, err
	}
	lease.Keep(ctx)
	record, err := load(ctx, b.clients, b.store, b.object, b.clients.Namespace)
	if err != nil {
		drive.Release(ctx, lease, b.report.line)
	}
	return lease, record, err
}

func newFinish(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	b := &back{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:     "finish TYPE/NAME",
		Short:   "After promotion to 100%, take stable's backendRef out of the rule",
		Example: "  kubectl infer canary finish httproute/chat",
		RunE:    func(cmd *cobra.Command, args []string) error { return b.finish(cmd.Context(), args) },
	}
	b.lock.Add(cmd)
	return cmd
}

func (b *back) finish(ctx context.Context, args []string) error {
	if _, err := b.ended(ctx, args); err != nil {
		return err
	}
	lease, record, err := b.alone(ctx)
	if err != nil {
		return err
	}
	defer drive.Release(ctx, lease, b.report.line)
	if record.Phase != rollout.Promoted || record.Goal != 100 {
		return exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer canary status "+b.object.String(),
			"%s: the last rollout is %s at %s, not promoted to 100%%", b.object, record.Phase, record.Goal))
	}
	if b.object.Sparse {
		fmt.Fprintf(b.streams.Out, "%s: nothing to do, %s left the list when %s got all of the traffic\n", b.object, record.Plan.Stable, record.Plan.Canary)
		return nil
	}
	list, err := resumeTargets(b.clients, record)
	if err != nil {
		return err
	}
	// The record first: if we die between, undo is refused too early, never too late.
	record.StableRemoved = true
	record.Write++
	if err := b.store.Save(ctx, record); err != nil {
		return err
	}
	for _, o := range list {
		removed, err := o.RemoveStable(ctx, record.Stamp())
		switch {
		case errors.Is(err, rollout.ErrDrift):
			return exit.With(exit.Drift, err)
		case err != nil:
			return err
		case !removed:
			fmt.Fprintf(b.streams.Out, "%s: backend %s is not listed any more\n", o.Name(), record.Plan.Stable)
		default:
			fmt.Fprintf(b.streams.Out, "%s: backend %s removed, %s has all traffic\n", o.Name(), record.Plan.Stable, record.Plan.Canary)
		}
	}
	return nil
}

func newHistory(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	b := &back{flags: flags, streams: streams, lock: drive.Lock{Period: journal.DefaultLeasePeriod}}
	cmd := &cobra.Command{
		Use:     "history TYPE/NAME",
		Short:   "List this rollout and the ones before it",
		Example: "  kubectl infer canary history httproute/chat",
		RunE: func(cmd *cobra.Command, args []string) error {
			record, err := b.open(cmd.Context(), args)
			if err != nil {
				return err
			}
			return b.history(record)
		},
	}
	cmd.Flags().StringVarP(&b.output, "output", "o", "", "json, or empty for a table")
	return cmd
}

func (b *back) history(record rollout.Record) error {
	runs := record.Summarise()
	if b.output == "json" {
		encoder := json.NewEncoder(b.streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			APIVersion string            `json:"apiVersion"`
			Kind       string            `json:"kind"`
			Runs       []rollout.Summary `json:"runs"`
		}{"kubectl-infer.github.io/v1alpha1", "CanaryHistory", runs})
	}
	table := [][]string{{"RUN", "CANARY", "PHASE", "LAST WRITE", "REASON"}}
	for _, run := range runs {
		table = append(table, []string{run.Run, run.Canary, string(run.Phase), run.Finished.UTC().Format(time.RFC3339), run.Reason})
	}
	drive.Table(b.streams.Out, table)
	return nil
}

func newGC(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	b := &back{flags: flags, streams: streams}
	var keep time.Duration
	cmd := &cobra.Command{
		Use:   "gc TYPE/NAME",
		Short: "Empty the journal of a rollout that ended, and take leftovers off the route",
		Long: `Empty the journal of a rollout that ended, and take leftovers off the route.

The ConfigMap stays and remembers the epoch, so that a process that slept through
all of it can never write again. undo is not possible afterwards.`,
		Example: "  kubectl infer canary gc httproute/chat --keep 168h",
		RunE:    func(cmd *cobra.Command, args []string) error { return b.gc(cmd.Context(), args, keep) },
	}
	b.lock.Add(cmd)
	cmd.Flags().DurationVar(&keep, "keep", 7*24*time.Hour, "leave rollouts alone that ended less than this ago")
	return cmd
}

func (b *back) gc(ctx context.Context, args []string, keep time.Duration) error {
	record, err := b.ended(ctx, args)
	if errors.Is(err, journal.ErrNone) {
		fmt.Fprintf(b.streams.Out, "%s: nothing is recorded\n", b.object)
		return nil
	}
	if err != nil {
		return err
	}
	if age := time.Since(record.Updated); age < keep || !record.Phase.Finished() {
		fmt.Fprintf(b.streams.Out, "%s: kept, %s %s ago\n", b.object, record.Phase, age.Round(time.Second))
		return nil
	}
	lease, record, err := b.alone(ctx)
	if err != nil {
		return err
	}
	defer drive.Release(ctx, lease, b.report.line)
	if !record.Phase.Finished() {
		return fmt.Errorf("%s: a rollout began meanwhile, it is %s", b.object, record.Phase)
	}
	if err := b.sweep(ctx, record); err != nil {
		return err
	}
	if record.Unwanted() {
		if err := takeAway(ctx, b.clients, evidence.Auto, b.store, &record, b.report); err != nil {
			return err
		}
	}
	if err := b.store.Empty(ctx, record); err != nil {
		return err
	}
	fmt.Fprintf(b.streams.Out, "%s: journal of run %s emptied\n", b.object, record.Run)
	return nil
}

// sweep takes a finished run's stamp off its targets, where they are still there.
func (b *back) sweep(ctx context.Context, record rollout.Record) error {
	list, err := resumeTargets(b.clients, record)
	if err != nil {
		return err
	}
	list.adopt(record.Stamp())
	for _, o := range list {
		if err := o.Release(ctx); err != nil && !errors.Is(err, rollout.ErrDrift) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
