package create

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const modelServerExample = "kubectl infer create model-server qwen-v1 --model example/qwen-7b --served-name qwen"

// modelServer is the command line of create model-server.
type modelServer struct {
	base
	server server
}

// server are the flags of a model server, which init has too.
type server struct {
	adapters []string
	options  scaffold.ModelServerOptions
}

func (s *server) add(set *pflag.FlagSet) {
	o := &s.options
	set.StringVar(&o.Model, "model", "", "what is loaded: a repository of the models' hub, or a folder in the container")
	set.StringVar(&o.Served, "served-name", "", "name that clients ask for; default is the model")
	set.StringArrayVar(&s.adapters, "adapter", nil, "NAME=PATH: a LoRA adapter; repeat it")
	set.IntVar(&o.MaxLoRAs, "max-loras", 0, "adapters in one batch; 0 is all of them")
	set.StringVar(&o.Image, "image", "", "image; default is "+scaffold.VLLMImage+", or the simulator")
	set.IntVar(&o.Replicas, "replicas", 2, "Pods")
	set.IntVar(&o.GPUs, "gpus", 1, "GPUs of each Pod; over 1 the model is split over them")
	set.StringVar(&o.Secret, "token-secret", "", "Secret whose key token lets the model be downloaded")
	set.BoolVar(&o.Simulated, "simulated", false, "the simulator in place of vLLM, for clusters without GPUs")
	set.StringArrayVar(&o.Flags, "flag", nil, "a further flag of the model server, such as --flag=--max-model-len=8192; repeat it")
}

// read makes options of the flags.
func (s *server) read() (scaffold.ModelServerOptions, error) {
	o := s.options
	for _, text := range s.adapters {
		a, err := scaffold.ParseAdapter(text)
		if err != nil {
			return o, err
		}
		o.Adapters = append(o.Adapters, a)
	}
	return o, nil
}

func newModelServer(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	m := &modelServer{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "model-server NAME --model MODEL",
		Short: "Make a Deployment of vLLM, or of the simulator",
		Long: `Make a Deployment of vLLM, or of the simulator where there are no GPUs.

Its Pods have the label app=NAME, by which create pool selects them. They are ready
once the model is loaded, for which they have half an hour.`,
		Example: `  ` + modelServerExample + `

  # with two LoRA adapters
  kubectl infer create model-server qwen-v1 --model example/qwen-7b --served-name qwen \
    --adapter travel-helper-v1=example/travel-v1 --adapter travel-helper-v2=example/travel-v2

  # without GPUs, to rehearse
  kubectl infer create model-server qwen-v1 --model qwen --simulated`,
		RunE: func(cmd *cobra.Command, args []string) error { return m.run(cmd.Context(), args) },
	}
	set := cmd.Flags()
	m.server.add(set)
	set.IntVar(&m.server.options.Port, "port", 8000, "port of the API")
	m.apply.Add(set)
	return cmd
}

func (m *modelServer) run(ctx context.Context, args []string) error {
	clients, err := m.begin(args, modelServerExample)
	if err != nil {
		return err
	}
	o, err := m.server.read()
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	o.About = m.about("create-model-server", clients.Namespace)
	deployment, err := scaffold.ModelServer(o)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	return m.send(ctx, clients, []runtime.Object{deployment})
}
