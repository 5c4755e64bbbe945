package install

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// picker is the command line of install endpoint-picker.
type picker struct {
	server
	pool string
}

func newPicker(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	p := &picker{server: server{flags: flags, streams: streams, program: "endpoint-picker"}}
	cmd := &cobra.Command{
		Use:   "endpoint-picker --pool NAME",
		Short: "Run the endpoint picker of an InferencePool",
		Long: `Run the endpoint picker of an InferencePool, under the name and port that the pool
says, so that the gateway finds it.

Makes what manifests/endpoint-picker has: a ServiceAccount that may only read, and
only in its namespace, a Deployment of Pod Security level restricted, a Service, a
NetworkPolicy and a PodDisruptionBudget; on Istio also the DestinationRule by which it
is called over TLS. Each of several replicas scores by what it sent itself. Where
the gateway makes the pickers of its pools it is refused.`,
		Example: `  kubectl infer install endpoint-picker --pool qwen-v1

  # to read first, or to keep in Git; asks no cluster
  kubectl infer install endpoint-picker --pool qwen-v1 --provider istio --dry-run=client -o yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.install(cmd.Context()) },
	}
	set := cmd.Flags()
	set.StringVar(&p.pool, "pool", "", "InferencePool of this namespace")
	set.StringVar(&p.name, "name", "", "name of all that is made; default is the one that the pool says")
	p.add(set, 1)
	return cmd
}

func (p *picker) install(ctx context.Context) error {
	if p.pool == "" {
		return exit.With(exit.Usage, hint.Errorf("--pool qwen-v1", "no InferencePool is named"))
	}
	named := p.name != ""
	if !named {
		p.name = scaffold.PickerName(p.pool)
	}
	clients, err := p.begin()
	if err != nil {
		return err
	}
	o := scaffold.PickerOptions{Pool: p.pool, Group: kube.InferencePools().Group, Port: scaffold.PickerPort}
	if !p.apply.Offline() {
		ref, err := findPool(ctx, clients, p.pool)
		if err != nil {
			return err
		}
		o.Group, o.Port = ref.group, ref.port
		switch {
		case !named:
			p.name = ref.service
		case p.name != ref.service:
			p.note("inferencepool %s asks the Service %s, so nobody will ask %s", p.pool, ref.service, p.name)
		}
	}
	if o.ServerOptions, err = p.options(clients.Namespace); err != nil {
		return err
	}
	found, err := p.settle(ctx, clients, "")
	if err != nil {
		return err
	}
	if found.PickersMade {
		return exit.With(exit.PreflightRefused, hint.Errorf("install nothing; to run pickers of your own set SELF_HOST_EPP=true on its controller and name --provider none",
			"%s makes the pickers of its pools itself", found.Title))
	}
	o.ServerOptions = scaffold.ForPicker(found, o.ServerOptions)
	return p.send(ctx, clients, append(scaffold.Picker(o), scaffold.PickerWiring(found, o.About, o.Secure)...))
}

// reference is what a pool says of its picker.
type reference struct {
	group, service string
	port           int
}

// findPool reads the pool, v1 or v1alpha2, and what it says of its picker.
func findPool(ctx context.Context, clients *kube.Clients, name string) (reference, error) {
	for _, at := range []schema.GroupVersionResource{kube.InferencePools(), kube.AlphaInferencePools()} {
		pool, err := clients.Dynamic.Resource(at).Namespace(clients.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return reference{}, fmt.Errorf("get inferencepool %s in namespace %s: %w", name, clients.Namespace, err)
		}
		ref := reference{group: at.Group, port: scaffold.PickerPort}
		field, port := []string{"spec", "endpointPickerRef"}, []string{"port", "number"}
		if at == kube.AlphaInferencePools() {
			field, port = []string{"spec", "extensionRef"}, []string{"portNumber"}
		}
		said, _, _ := unstructured.NestedMap(pool.Object, field...)
		ref.service, _, _ = unstructured.NestedString(said, "name")
		if number, ok, _ := unstructured.NestedInt64(said, port...); ok {
			ref.port = int(number)
		}
		if ref.service == "" {
			return ref, exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer create pool "+name+" --selector …, which names one", "inferencepool %s names no endpoint picker", name))
		}
		return ref, nil
	}
	return reference{}, hint.Errorf("kubectl get inferencepools -n "+clients.Namespace+"; kubectl infer create pool "+name, "inferencepool %s is not in namespace %s", name, clients.Namespace)
}

func newRemovePicker(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	s := &server{flags: flags, streams: streams, program: "endpoint-picker"}
	var pool string
	cmd := s.newRemove("endpoint-picker (--pool NAME | --name NAME)", "Take away the endpoint picker of a pool", "  kubectl infer uninstall endpoint-picker --pool qwen-v1", func(cmd *cobra.Command) error {
		clients, err := kube.New(flags)
		if err != nil {
			return err
		}
		switch {
		case (s.name == "") == (pool == ""):
			return exit.With(exit.Usage, hint.Errorf("--pool qwen-v1", "name one of --pool and --name"))
		case pool != "":
			s.name = scaffold.PickerName(pool) // as install calls it, should the pool be gone
			if ref, err := findPool(cmd.Context(), clients, pool); err == nil {
				s.name = ref.service
			}
		}
		return s.uninstall(cmd.Context(), clients)
	})
	cmd.Flags().StringVar(&pool, "pool", "", "InferencePool whose picker it is")
	cmd.Flags().StringVar(&s.name, "name", "", "name it was installed under")
	return cmd
}
