// Package create is `kubectl infer create`: it makes the objects of package
// scaffold and says what the cluster already has that will get in their way.
// Start at route.go; cluster.go is all that it reads, package apply all that it
// writes.
package create

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// New is the command group.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make routes and limits for models behind a Gateway",
		Example: `  kubectl infer create route chat --model qwen=qwen-pool,travel-helper-v1 --model deepseek-r1=deepseek-pool
  kubectl infer create policy chat --route chat --max-concurrent 64 --max-pending 16`,
	}
	set := pflag.NewFlagSet("kube", pflag.ContinueOnError)
	flags.AddFlags(set)
	cmd.PersistentFlags().AddFlagSet(set)
	cmd.AddCommand(newRoute(flags, streams), newPolicy(flags, streams))
	return cmd
}

// base is what the verbs of create share.
type base struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	apply   apply.Options
	name    string
}

// begin checks the arguments that every verb has, and connects unless the
// cluster is not to be asked: then only the namespace of clients is set.
func (b *base) begin(args []string, example string) (*kube.Clients, error) {
	if len(args) != 1 {
		return nil, exit.With(exit.Usage, hint.Errorf(example, "one NAME is wanted, got %d", len(args)))
	}
	b.name = args[0]
	if problems := validation.IsDNS1123Subdomain(b.name); len(problems) > 0 {
		return nil, exit.With(exit.Usage, hint.Errorf(example, "name %q: %s", b.name, problems[0]))
	}
	if err := b.apply.Check(); err != nil {
		return nil, err
	}
	if !b.apply.Offline() {
		return kube.New(b.flags)
	}
	namespace, _, err := b.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("read namespace from kubeconfig: %w", err)
	}
	return &kube.Clients{Namespace: namespace}, nil
}

// note tells the reader something on stderr; stdout is the answer.
func (b *base) note(format string, args ...any) {
	fmt.Fprintf(b.streams.ErrOut, "note: "+format+"\n", args...)
}
