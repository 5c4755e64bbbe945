package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

func newStatus(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status httproute/NAME",
		Short: "Show how far a rollout came, from its journal and the live route",
		Example: `  kubectl infer canary status httproute/chat
  kubectl infer canary status httproute/chat -o json | jq .record.phase`,
		RunE: func(cmd *cobra.Command, args []string) error {
			object, err := parseObject(args)
			if err != nil {
				return err
			}
			if err := checkChoice("--output", output, "", "json"); err != nil {
				return err
			}
			return status(cmd.Context(), flags, streams, object, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or empty for a table")
	return cmd
}

// statusDocument is what `status -o json` prints.
type statusDocument struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Record     rollout.Record `json:"record"`
	Live       liveRoute      `json:"live"`
}

// liveRoute is where the route stands now.
type liveRoute struct {
	Share    float64 `json:"share"`
	AtGoal   bool    `json:"atGoal"`
	Accepted bool    `json:"accepted"`
	Waiting  string  `json:"waiting,omitempty"`
	Problem  string  `json:"problem,omitempty"`
}

func status(ctx context.Context, flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, object object, output string) error {
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
	live := liveRoute{}
	route, err := target.ResumeHTTPRoute(clients.Dynamic, clients.Namespace, object.name, selection(record.Plan), record.Baseline)
	if err == nil {
		var at rollout.Standing
		at, err = route.Read(ctx, record.Goal)
		live = liveRoute{Share: at.Share, AtGoal: at.AtGoal, Accepted: at.Accepted, Waiting: at.Waiting}
	}
	if err != nil {
		live.Problem = err.Error()
	}
	if output == "json" {
		encoder := json.NewEncoder(streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(statusDocument{
			APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "CanaryStatus", Record: record, Live: live,
		})
	}
	printStatus(streams.Out, record, live, time.Now())
	return nil
}

func printStatus(out io.Writer, r rollout.Record, live liveRoute, now time.Time) {
	fmt.Fprintf(out, "%s/%s  %s → %s\n", r.Plan.Namespace, r.Plan.Target, r.Plan.Stable, r.Plan.Canary)
	fmt.Fprintf(out, "phase    %s, goal %s, ceiling %d%%\n", r.Phase, r.Goal, r.Ceiling)
	if r.Reason != "" {
		fmt.Fprintf(out, "reason   %s\n", r.Reason)
	}
	switch {
	case live.Problem != "":
		fmt.Fprintf(out, "route    %s\n", live.Problem)
	case !live.AtGoal:
		fmt.Fprintf(out, "route    canary share is %.4g%%, not at the goal\n", live.Share)
	case !live.Accepted:
		fmt.Fprintf(out, "route    canary share is %.4g%%, not accepted: %s\n", live.Share, live.Waiting)
	default:
		fmt.Fprintf(out, "route    canary share is %.4g%%, accepted\n", live.Share)
	}
	fmt.Fprintf(out, "run      %s by %s, last write %s ago\n", r.Run, r.Holder, now.Sub(r.Updated).Round(time.Second))
	printSteps(out, r.Steps)
	if n := len(r.Decisions); n > 0 {
		fmt.Fprintln(out, "last decisions:")
		for _, d := range r.Decisions[max(0, n-5):] {
			fmt.Fprintf(out, "  %s  %-11s %-8s %s\n", d.At.Local().Format("15:04:05"), d.Phase, d.Goal, d.Why)
		}
	}
}
