// Package install is `kubectl infer install` and `uninstall`: what a cluster
// needs before a rollout, part by part. bodyrouter.go and picker.go run our two
// servers, server.go is what they share, wait.go waits for them and remove.go
// takes them away. rbac.go is the least role of a rollout; role.go makes its
// objects and is pure.
package install

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// New are the two command groups, install and uninstall.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) (install, uninstall *cobra.Command) {
	install = &cobra.Command{
		Use:     "install",
		Short:   "Put into the cluster what a rollout needs",
		Long:    "Put into the cluster what a rollout needs. How a gateway calls our servers goes by its provider:\n" + provider.Help(),
		Example: "  kubectl infer install body-router --gateway inference-gateway\n  kubectl infer install endpoint-picker --pool qwen-v1\n  kubectl infer install rbac --for httproute/chat --service-account ci",
	}
	install.PersistentFlags().AddFlagSet(option.Kube(flags))
	install.AddCommand(newBodyRouter(flags, streams), newPicker(flags, streams), newRBAC(flags, streams))
	uninstall = &cobra.Command{
		Use:     "uninstall",
		Short:   "Take away what install put there",
		Example: "  kubectl infer uninstall rbac --for httproute/chat",
	}
	uninstall.PersistentFlags().AddFlagSet(option.Kube(flags))
	uninstall.AddCommand(newRemoveBodyRouter(flags, streams), newRemovePicker(flags, streams), newRemoveRBAC(flags, streams))
	return install, uninstall
}
