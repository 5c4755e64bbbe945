package create

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const poolExample = "kubectl infer create pool qwen-v1 --selector app=qwen-v1"

// pool is the command line of create pool.
type pool struct {
	base
	options scaffold.PoolOptions
}

func newPool(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	p := &pool{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "pool NAME --selector LABEL=VALUE[,…]",
		Short: "Make an InferencePool",
		Long: `Make an InferencePool of the Pods that a selector names.

While the pool's endpoint picker is away, FailOpen lets the gateway choose an
endpoint and FailClose answers 503. On GKE a HealthCheckPolicy is made too. Where
the provider makes no pickers itself, kubectl infer install endpoint-picker is next.`,
		Example: `  ` + poolExample + `

  # as ACK before v1.4.0-apsara.4 reads it
  kubectl infer create pool qwen-v1 --selector app=qwen-v1 --provider ack --pool-api ` + provider.PoolV1alpha2,
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args) },
	}
	set := cmd.Flags()
	set.StringToStringVar(&p.options.Selector, "selector", nil, "labels of the model servers' Pods")
	set.IntSliceVar(&p.options.Ports, "port", []int{8000}, "port of the model servers; up to 8")
	set.StringVar(&p.options.API, "pool-api", "", provider.PoolV1+" or "+provider.PoolV1alpha2+"; default is the provider's newest")
	set.StringVar(&p.options.Picker, "picker", "", "Service of the endpoint picker; default is NAME-picker")
	set.IntVar(&p.options.PickerPort, "picker-port", scaffold.PickerPort, "its port")
	set.StringVar(&p.options.FailureMode, "failure-mode", "", "FailOpen or FailClose; default is FailOpen where the provider honours it")
	p.addProvider(set)
	p.apply.Add(set)
	return cmd
}

func (p *pool) run(ctx context.Context, args []string) error {
	clients, err := p.begin(args, poolExample)
	if err != nil {
		return err
	}
	o := p.options
	o.About = p.about("create-pool", clients.Namespace)
	if o.Provider, err = p.settle(ctx, clients, ""); err != nil {
		return err
	}
	objects, err := scaffold.Pool(o)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	if err := p.send(ctx, clients, objects); err != nil {
		return err
	}
	if !o.Provider.PickersMade {
		p.note("the pool needs its endpoint picker: kubectl infer install endpoint-picker --pool %s --provider %s -n %s", p.name, o.Provider.Name, clients.Namespace)
	}
	return nil
}
