package create

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/discover"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const modelExample = "kubectl infer create model travel-helper --pool qwen-v1 --target travel-helper-v1=100"

// model is the command line of create model.
type model struct {
	base
	targets  []string
	api      string
	priority int
	ranked   bool
	options  scaffold.ModelOptions
}

func newModel(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	m := &model{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "model NAME --pool POOL --target NAME[=WEIGHT]…",
		Short: "Split a model's requests over targets of one pool",
		Long: `Split a model's requests over targets of one pool, such as LoRA adapters.

Makes an InferenceModelRewrite (llm-d.ai or inference.networking.x-k8s.io), or an
InferenceModel where only that is served. With --priority also an
InferenceObjective, which requests name by header; an InferenceModel has a
criticality instead. The endpoint picker carries it out.`,
		Example: `  ` + modelExample + `

  # as the canary guides have it
  kubectl infer create model travel-helper --pool qwen-v1 --target travel-helper-v1=90 --target travel-helper-v2=10`,
		RunE: func(cmd *cobra.Command, args []string) error {
			m.ranked = cmd.Flags().Changed("priority")
			return m.run(cmd.Context(), args)
		},
	}
	set := cmd.Flags()
	set.StringVar(&m.options.Model, "model-name", "", "name that clients ask for; default is NAME")
	set.StringVar(&m.options.Pool, "pool", "", "InferencePool that serves it")
	set.StringVar(&m.options.PoolGroup, "pool-group", "", "API group of the pool; default is the one it is found in")
	set.StringArrayVar(&m.targets, "target", nil, "NAME or NAME=WEIGHT: a model that the pool's servers answer to; repeat it")
	set.IntVar(&m.priority, "priority", 0, "higher is served first, below 0 is shed first")
	set.StringVar(&m.api, "api", "", "kind to make: "+strings.Join(modelAPIs(), ", ")+"; default is what the cluster serves")
	m.apply.Add(set)
	return cmd
}

func modelAPIs() []string {
	var names []string
	for _, api := range scaffold.ModelAPIs() {
		names = append(names, string(api))
	}
	return names
}

func (m *model) run(ctx context.Context, args []string) error {
	clients, err := m.begin(args, modelExample)
	if err != nil {
		return err
	}
	o := m.options
	o.About = m.about("create-model", clients.Namespace)
	for _, text := range m.targets {
		target, err := scaffold.ParseTarget(text)
		if err != nil {
			return exit.With(exit.Usage, err)
		}
		o.Targets = append(o.Targets, target)
	}
	if m.ranked {
		o.Priority = &m.priority
	}
	if o.API, err = m.kind(clients); err != nil {
		return err
	}
	if err := m.findPool(ctx, clients, &o); err != nil {
		return err
	}
	objects, err := scaffold.ModelObjects(o)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	return m.send(ctx, clients, objects)
}

// kind is the one that is named, else the newest that is served.
func (m *model) kind(clients *kube.Clients) (scaffold.ModelAPI, error) {
	switch {
	case m.api != "" && !slices.Contains(modelAPIs(), m.api):
		return "", exit.With(exit.Usage, hint.Errorf("--api "+modelAPIs()[0], "--api %q is none of %s", m.api, strings.Join(modelAPIs(), ", ")))
	case m.api != "":
		return scaffold.ModelAPI(m.api), nil
	case m.apply.Offline():
		return "", exit.With(exit.Usage, hint.Errorf("--api "+modelAPIs()[0], "--dry-run=client asks no cluster, so it needs --api: one of %s", strings.Join(modelAPIs(), ", ")))
	}
	if served, err := discover.Serves(clients, kube.LLMDModelRewrites()); err != nil || served {
		return scaffold.LLMDRewrite, err
	}
	if served, err := discover.Serves(clients, kube.ModelRewrites()); err != nil || served {
		if err != nil {
			return "", err
		}
		split, err := discover.HasSplit(clients)
		if split {
			return scaffold.RewriteSplit, err
		}
		return scaffold.RewriteTargets, err
	}
	served, err := discover.Serves(clients, kube.InferenceModels())
	if err == nil && !served {
		err = exit.With(exit.PreflightRefused, hint.Errorf("install the definition of InferenceModelRewrite; or give each model a pool and a route: kubectl infer create route",
			"the cluster serves neither InferenceModelRewrite nor InferenceModel"))
	}
	return scaffold.InferenceModel, err
}

// findPool sets the pool's group.
func (m *model) findPool(ctx context.Context, clients *kube.Clients, o *scaffold.ModelOptions) error {
	if !m.apply.Offline() && o.Pool != "" {
		found, err := poolGroup(ctx, clients, o.Namespace, o.Pool, o.PoolGroup)
		if err != nil {
			return err
		}
		if found == "" {
			m.note("inferencepool %s is not there yet: until it is, nothing reads this", o.Pool)
		} else {
			o.PoolGroup = found
		}
	}
	if o.PoolGroup == "" {
		o.PoolGroup = kube.InferencePools().Group
	}
	return nil
}
