package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// watchEvery is the time between two looks of status --watch.
const watchEvery = time.Second

// statusOptions is the command line of canary status.
type statusOptions struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	output  string
	watch   bool
}

func newStatus(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &statusOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "status TYPE/NAME",
		Short: "Show how far a rollout came, from its journal and the live route",
		Long: `Show how far a rollout came, from its journal and the live route.

With --watch it is shown again whenever it changes, until the rollout is over;
then the exit code is the rollout's: 0 promoted, 10 rolled back by a gate, 19
returned to the baseline by request.`,
		Example: `  kubectl infer canary status httproute/chat
  kubectl infer canary status httproute/chat --watch
  kubectl infer canary status httproute/chat -o json | jq .record.phase`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "json, or empty for a table")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "show every change until the rollout is over, and end with its exit code")
	return cmd
}

// statusDocument is what `status -o json` prints.
type statusDocument struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Record     recordView `json:"record"`
	Live       []standing `json:"live"`
}

// standing is where one target stands now.
type standing struct {
	Target   string  `json:"target"`
	Share    float64 `json:"share"`
	AtGoal   bool    `json:"atGoal"`
	Accepted bool    `json:"accepted"`
	Waiting  string  `json:"waiting,omitempty"`
	Problem  string  `json:"problem,omitempty"`
}

func (o *statusOptions) run(ctx context.Context, args []string) error {
	object, err := parseObject(args)
	if err != nil {
		return err
	}
	if err := option.Choice("--output", o.output, "", "json"); err != nil {
		return err
	}
	clients, err := connect(o.flags)
	if err != nil {
		return err
	}
	store := journal.New(clients.Core, clients.Namespace, object.Name, object.name)
	said := ""
	for {
		record, err := load(ctx, clients, store, object, clients.Namespace)
		if err != nil {
			return err
		}
		if at, ok := journal.Mirrored(store); ok && said == "" {
			fmt.Fprintf(o.streams.ErrOut, "note: %s has a mirror that is not over (%s): kubectl infer mirror status %s\n", object, at.Phase, object)
		}
		live, err := standings(ctx, clients, record)
		if err != nil {
			return err
		}
		if now := fmt.Sprint(record.Run, record.Epoch, record.Write, live); now != said {
			if said != "" && o.output == "" {
				fmt.Fprintln(o.streams.Out)
			}
			said = now
			if err := o.show(record, live); err != nil {
				return err
			}
		}
		if !o.watch {
			return nil
		}
		if record.Phase.Finished() {
			if code := exit.For(record.Outcome()); code != exit.OK {
				return &exit.Error{Code: code, Err: fmt.Errorf("%s: %s", object, record.Reason), Quiet: true}
			}
			return nil
		}
		if (drive.Clock{}).Wait(ctx, watchEvery); ctx.Err() != nil {
			return exit.With(exit.Interrupted, fmt.Errorf("%s: the rollout goes on, only the watching ended", object))
		}
	}
}

func (o *statusOptions) show(record rollout.Record, live []standing) error {
	if o.output == "" {
		printStatus(o.streams.Out, record, live, time.Now())
		return nil
	}
	encoder := json.NewEncoder(o.streams.Out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(statusDocument{
		APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "CanaryStatus", Record: viewOf(record), Live: live,
	})
}

// standings reads every target beside the record.
func standings(ctx context.Context, clients *kube.Clients, record rollout.Record) ([]standing, error) {
	list, err := resumeTargets(clients, record)
	if err != nil {
		return nil, err
	}
	var live []standing
	for _, o := range list {
		at, err := o.Read(ctx, record.Goal)
		s := standing{Target: o.Name(), Share: at.Share, AtGoal: at.AtGoal, Accepted: at.Accepted, Waiting: at.Waiting}
		if err != nil {
			s.Problem = err.Error()
		}
		live = append(live, s)
	}
	return live, nil
}

func (s standing) String() string {
	switch {
	case s.Problem != "":
		return s.Problem
	case !s.AtGoal:
		return fmt.Sprintf("canary share is %.4g%%, not at the goal", s.Share)
	case !s.Accepted:
		return fmt.Sprintf("canary share is %.4g%%, not accepted: %s", s.Share, s.Waiting)
	}
	return fmt.Sprintf("canary share is %.4g%%, accepted", s.Share)
}

func printStatus(out io.Writer, r rollout.Record, live []standing, now time.Time) {
	fmt.Fprintf(out, "%s/%s  %s → %s\n", r.Plan.Namespace, strings.Join(r.Plan.Targets(), ", "), r.Plan.Stable, r.Plan.Canary)
	fmt.Fprintf(out, "phase    %s, goal %s, ceiling %d%%\n", r.Phase, r.Goal, r.Ceiling)
	if r.Reason != "" {
		fmt.Fprintf(out, "reason   %s\n", r.Reason)
	}
	for _, at := range live {
		fmt.Fprintf(out, "target   %s: %s\n", at.Target, at)
	}
	if r.Loaded != nil {
		fmt.Fprintf(out, "adapter  %s, loaded on %d pods by this rollout\n", r.Loaded.Name, len(r.Loaded.Pods))
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "warning  %s\n", w)
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
