package create

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const gatewayExample = "kubectl infer create gateway inference-gateway --provider istio"

// gateway is the command line of create gateway.
type gateway struct {
	base
	options scaffold.GatewayOptions
}

func newGateway(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	g := &gateway{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "gateway NAME",
		Short: "Make a Gateway for inference",
		Long: `Make a Gateway for inference.

Makes a Gateway with one HTTP listener, a GatewayClass where the provider comes
with none, the policy that lets long prompts pass (--buffer), and where the provider
reads the model's name itself by a policy, that policy. Where a body router is
needed, kubectl infer install body-router is next.`,
		Example: `  ` + gatewayExample + `

  # to read first, or to keep in Git; asks no cluster
  kubectl infer create gateway inference-gateway --provider envoy-gateway --buffer 20Mi --dry-run=client -o yaml`,
		RunE: func(cmd *cobra.Command, args []string) error { return g.run(cmd.Context(), args) },
	}
	set := cmd.Flags()
	set.StringVar(&g.options.Class, "gateway-class", "", "GatewayClass that exists; default is the provider's own")
	set.IntVar(&g.options.Port, "port", 80, "port of the listener")
	set.StringVar(&g.options.Buffer, "buffer", "", "longest body the Gateway keeps, such as 20Mi; empty leaves it to the gateway")
	g.addProvider(set)
	g.apply.Add(set)
	return cmd
}

func (g *gateway) run(ctx context.Context, args []string) error {
	clients, err := g.begin(args, gatewayExample)
	if err != nil {
		return err
	}
	o := g.options
	o.About = g.about("create-gateway", clients.Namespace)
	if o.Provider, err = g.settle(ctx, clients, o.Class); err != nil {
		return err
	}
	objects, err := scaffold.Gateway(o)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	if err := g.send(ctx, clients, objects); err != nil {
		return err
	}
	if o.Provider.Routing.UsesBodyRouter() {
		g.note("routes by model need the body router: kubectl infer install body-router --gateway %s --provider %s -n %s", g.name, o.Provider.Name, clients.Namespace)
	}
	return nil
}
