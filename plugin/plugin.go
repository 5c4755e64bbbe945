// Package plugin is the command line of kubectl-infer: one folder per verb
// group, each file a verb. Commands turn flags into typed plans, ask pkg for
// everything else, and return errors; Main alone decides the exit code.
package plugin

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // exec and OIDC logins of the user's kubeconfig

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/plugin/canary"
	"github.com/kubectl-infer/kubectl-infer/plugin/complete"
	"github.com/kubectl-infer/kubectl-infer/plugin/create"
	"github.com/kubectl-infer/kubectl-infer/plugin/doctor"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/get"
	"github.com/kubectl-infer/kubectl-infer/plugin/install"
	"github.com/kubectl-infer/kubectl-infer/plugin/leftovers"
	"github.com/kubectl-infer/kubectl-infer/plugin/mirror"
	"github.com/kubectl-infer/kubectl-infer/plugin/sandbox"
	"github.com/kubectl-infer/kubectl-infer/plugin/top"
	"github.com/kubectl-infer/kubectl-infer/plugin/verify"
)

// Main runs the command line in args (args[0] is the program) and returns the
// exit code.
func Main(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	args = completing(args)
	root := New(displayName(args[0]), streams)
	root.SetArgs(args[1:])
	return conclude(streams.ErrOut, root.ExecuteContext(ctx))
}

// displayName is how help calls us: as kubectl runs plugins.
func displayName(arg0 string) string {
	if strings.HasPrefix(filepath.Base(arg0), "kubectl-") {
		return "kubectl infer"
	}
	return filepath.Base(arg0)
}

// New is the root command.
func New(name string, streams genericiooptions.IOStreams) *cobra.Command {
	flags := genericclioptions.NewConfigFlags(true)
	root := &cobra.Command{
		Use:   "kubectl-infer",
		Short: "Roll out LLM base models and LoRA adapters under live traffic",
		Long: `Roll out LLM base models and LoRA adapters under live traffic, in stages,
each gated on measured latency and errors.

If it dies, traffic stays at a share the last gate approved, or lower.`,
		Example: `  # a whole inference gateway on this machine, to rehearse on
  kubectl infer sandbox up --detach

  # move traffic from pool qwen-v1 to qwen-v2, back at once if it gets worse
  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 \
    --steps 5,25,50,100 --gate 'errors < 1%' --gate 'ttft p95 < 800ms'`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(mistypedFlag)
	root.AddGroup(&cobra.Group{ID: "rollout", Title: "Rollouts:"}, &cobra.Group{ID: "local", Title: "On this machine:"})
	canaryCmd := canary.New(flags, streams)
	canaryCmd.GroupID = "rollout"
	installCmd, uninstallCmd := install.New(flags, streams)
	installCmd.GroupID, uninstallCmd.GroupID = "rollout", "rollout"
	leftoversCmd, deleteCmd := leftovers.New(flags, streams)
	getCmd := get.New(flags, streams, leftoversCmd)
	topCmd, doctorCmd := top.New(flags, streams), doctor.New(flags, streams)
	for _, cmd := range []*cobra.Command{getCmd, deleteCmd, topCmd, doctorCmd} {
		cmd.GroupID = "rollout"
	}
	root.AddCommand(topCmd, doctorCmd, newCompletion(streams))
	root.CompletionOptions.DisableDefaultCmd = true
	createCmd := create.New(flags, streams)
	createCmd.GroupID = "rollout"
	initCmd := create.NewInit(flags, streams)
	initCmd.GroupID = "rollout"
	mirrorCmd := mirror.New(flags, streams)
	mirrorCmd.GroupID = "rollout"
	gateCmd := canary.NewGate(flags, streams)
	gateCmd.GroupID = "rollout"
	verifyCmd := verify.New(flags, streams)
	verifyCmd.GroupID = "rollout"
	sandboxCmd := sandbox.New(streams)
	sandboxCmd.GroupID = "local"
	root.AddCommand(canaryCmd, gateCmd, createCmd, initCmd, getCmd, deleteCmd, installCmd, uninstallCmd, mirrorCmd, verifyCmd, sandboxCmd, newVersion(streams))
	refuseUnknown(root)
	complete.Attach(root, flags)
	return root
}

// refuseUnknown makes a command group answer an unknown verb with a usage
// error instead of its help text and a success, and makes wrong arguments one.
func refuseUnknown(cmd *cobra.Command) {
	for _, child := range cmd.Commands() {
		refuseUnknown(child)
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return misused(cmd, check(cmd, args)) }
	}
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.Run == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return exit.With(exit.Usage, hint.Errorf(cmd.CommandPath()+" --help", "unknown command %q for %q%s",
				args[0], cmd.CommandPath(), suggestion(cmd, args[0])))
		}
	}
}
