// Package create is `kubectl infer create` and `kubectl infer init`: it makes the
// objects of package scaffold and says what the cluster already has that will get
// in their way. A file for each verb; cluster.go is what they read, package apply
// all that they write.
package create

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
	"github.com/kubectl-infer/kubectl-infer/plugin/discover"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// New is the command group.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make Gateways, model servers, pools, models, routes and limits",
		Long: `Make Gateways, model servers, pools, models, routes and limits.

What is made, and what is refused, goes by the gateway's provider, which is found
in the cluster or named with --provider:
` + provider.Help(),
		Example: `  kubectl infer create model-server qwen-v1 --model example/qwen-7b --served-name qwen
  kubectl infer create pool qwen-v1 --selector app=qwen-v1
  kubectl infer create route chat --model qwen=qwen-pool,travel-helper-v1 --model deepseek-r1=deepseek-pool
  kubectl infer create policy chat --route chat --max-concurrent 64 --max-pending 16`,
	}
	set := pflag.NewFlagSet("kube", pflag.ContinueOnError)
	flags.AddFlags(set)
	cmd.PersistentFlags().AddFlagSet(set)
	cmd.AddCommand(newGateway(flags, streams), newModelServer(flags, streams), newPool(flags, streams), newModel(flags, streams),
		newRoute(flags, streams), newPolicy(flags, streams))
	return cmd
}

// base is what the verbs of create share.
type base struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
	apply   apply.Options
	name    string

	provider string // as it is named
}

// addProvider registers --provider.
func (b *base) addProvider(set *pflag.FlagSet) {
	set.StringVar(&b.provider, "provider", "", "the gateway's provider, one of "+strings.Join(provider.Names(), ", ")+"; default is what the cluster shows")
}

// about is of the object that verb is making.
func (b *base) about(verb, namespace string) scaffold.About {
	return scaffold.About{Name: b.name, Namespace: namespace, Verb: verb}
}

// settle is the provider: the one that is named, else the one that the cluster
// shows. class is the GatewayClass in question, if it is known.
func (b *base) settle(ctx context.Context, clients *kube.Clients, class string) (provider.Provider, error) {
	p, why, err := discover.Settle(ctx, clients, b.provider, class, b.apply.Offline())
	if why != "" {
		b.note("provider %s: %s", p.Name, why)
	}
	return p, err
}

// send applies or prints what was made.
func (b *base) send(ctx context.Context, clients *kube.Clients, objects []runtime.Object) error {
	return b.apply.Run(ctx, clients.Dynamic, b.streams.Out, apply.All(objects...))
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
