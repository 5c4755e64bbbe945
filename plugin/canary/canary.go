// Package canary is `kubectl infer canary`: it moves the weights of an
// HTTPRoute from one InferencePool to another in gated steps. Start at run.go;
// options.go turns what the user typed into a rollout.Plan, preflight.go
// refuses what cannot work, render.go tells what happens.
package canary

import (
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// New is the command group.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "Move traffic to a new model in stages, each gated on measured latency and errors",
		Example: `  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 \
    --steps 5,25,50,100 --gate 'errors < 1%' --gate 'ttft p95 < 800ms'
  kubectl infer canary status httproute/chat
  kubectl infer canary undo httproute/chat`,
	}
	cmd.PersistentFlags().AddFlagSet(option.Kube(flags))
	cmd.AddCommand(newRun(flags, streams), newStatus(flags, streams), newAbort(flags, streams),
		newAsk(flags, streams, rollout.WishPause, "Watch on, but raise no further until resumed"),
		newAsk(flags, streams, rollout.WishResume, "Let a paused rollout go on"),
		newPlan(flags, streams), newPromote(flags, streams), newUndo(flags, streams), newFinish(flags, streams), newHistory(flags, streams), newExplain(flags, streams), newReplay(streams), newGC(flags, streams))
	return cmd
}
