package install

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/discover"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// bodyRouter is the command line of install body-router.
type bodyRouter struct {
	server
	gateway string
}

func newBodyRouter(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	b := &bodyRouter{server: server{flags: flags, streams: streams, program: "body-router"}}
	cmd := &cobra.Command{
		Use:   "body-router --gateway NAME",
		Short: "Run the body router, and have the Gateway call it",
		Long: `Run the body router, and have the Gateway call it.

Makes what manifests/body-router has: a ServiceAccount that may list the ConfigMaps
of its namespace, a Deployment of Pod Security level restricted, a Service, a
NetworkPolicy and a PodDisruptionBudget. By the provider also how the Gateway comes
to call it: an EnvoyFilter and a DestinationRule (Istio), an EnvoyExtensionPolicy and
a route that catches what no other does (Envoy Gateway), a GCPRoutingExtension and
a HealthCheckPolicy (GKE). Where the gateway reads the model's name itself it is
refused. Repeating it changes what was made.`,
		Example: `  kubectl infer install body-router --gateway inference-gateway

  # by digest, from a registry of your own, scaled by load
  kubectl infer install body-router --gateway inference-gateway --provider istio \
    --image example/body-router@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae \
    --autoscale 2-6 --monitor pod`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.install(cmd.Context()) },
	}
	set := cmd.Flags()
	set.StringVar(&b.name, "name", "body-router", "name of all that is made")
	set.StringVar(&b.gateway, "gateway", "", "Gateway of this namespace that is to call it")
	b.add(set, 2)
	return cmd
}

func (b *bodyRouter) install(ctx context.Context) error {
	clients, err := b.begin()
	if err != nil {
		return err
	}
	if b.gateway == "" {
		return exit.With(exit.Usage, hint.Errorf("--gateway inference-gateway", "no Gateway is named"))
	}
	o, err := b.options(clients.Namespace)
	if err != nil {
		return err
	}
	class := ""
	if !b.apply.Offline() {
		if class, err = discover.ClassOf(ctx, clients, b.gateway); err != nil {
			return err
		}
	}
	p, err := b.settle(ctx, clients, class)
	if err != nil {
		return err
	}
	wiring, err := scaffold.Wiring(p, o.About, b.gateway)
	if err != nil {
		return exit.With(exit.PreflightRefused, err)
	}
	if len(wiring) == 0 {
		b.note("how Gateway %s comes to call it is left to you: %s", b.gateway, p.RoutingNote)
	}
	return b.send(ctx, clients, append(scaffold.BodyRouter(scaffold.ForBodyRouter(p, o)), wiring...))
}

func newRemoveBodyRouter(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	s := &server{flags: flags, streams: streams, program: "body-router"}
	cmd := s.newRemove("body-router", "Take away a body router and its wiring", "  kubectl infer uninstall body-router", func(cmd *cobra.Command) error {
		clients, err := kube.New(flags)
		if err != nil {
			return err
		}
		return s.uninstall(cmd.Context(), clients)
	})
	cmd.Flags().StringVar(&s.name, "name", "body-router", "name it was installed under")
	return cmd
}
