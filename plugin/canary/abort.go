package canary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

func newAbort(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var output string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "abort httproute/NAME",
		Short: "Take a running or abandoned rollout over and restore its baseline",
		Long: `Take a running or abandoned rollout over and restore its baseline.

The journal gets a new epoch and the goal "baseline" before the first weight
falls, so a run that is still alive elsewhere stops at its next write and exits
with 19. Exit code 0 once the baseline was read back, 15 if it could not be.`,
		Example: "  kubectl infer canary abort httproute/chat",
		RunE: func(cmd *cobra.Command, args []string) error {
			object, err := parseObject(args)
			if err != nil {
				return err
			}
			if err := checkChoice("--output", output, "", "json"); err != nil {
				return err
			}
			return abort(cmd.Context(), flags, streams, object, output, limit)
		},
	}
	cmd.Flags().DurationVar(&limit, "rollback-limit", rollout.DefaultRollbackLimit, "how long a rollback that meets errors is tried before exit code 15")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or empty for a table")
	return cmd
}

func abort(ctx context.Context, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, object object, output string, limit time.Duration) error {
	clients, err := connect(flags)
	if err != nil {
		return err
	}
	store := journal.New(clients.Core, clients.Namespace, object.kind, object.name)
	record, err := store.Load(ctx)
	if errors.Is(err, journal.ErrNone) {
		return hint.Errorf("kubectl infer canary run "+object.String()+" …", "%s in namespace %s: %w", object, clients.Namespace, err)
	}
	if err != nil {
		return err
	}
	route, err := target.ResumeHTTPRoute(clients.Dynamic, clients.Namespace, object.name, selection(record.Plan), record.Baseline)
	if err != nil {
		return err
	}
	if record.Phase.Finished() {
		route.Adopt(record.Stamp())
		if err := route.Release(ctx); err != nil {
			return err
		}
		return hint.Errorf("kubectl infer canary status "+object.String(), "%s: nothing to abort, the last rollout is %s", object, record.Phase)
	}
	record = resume(record)
	record.Phase, record.Goal, record.Cause = rollout.RollingBack, rollout.Baseline, rollout.ByRequest
	record.Reason, record.Decided = "abort requested", time.Now()
	report := newReporter(streams, time.Now)
	report.line("abort", fmt.Sprintf("%s: taking over and restoring the baseline", object))
	result := rollout.Run(context.WithoutCancel(ctx), rollout.Begin(record, nil), rollout.Deps{
		Target: route, Journal: store, Clock: systemClock{}, Reporter: report, RollbackLimit: limit,
	})
	err = conclude(streams, output, result, route)
	if exit.CodeOf(err) == exit.Returned {
		return nil
	}
	return err
}
