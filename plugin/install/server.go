package install

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

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
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// server is the command line that install body-router and install
// endpoint-picker share.
type server struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams

	name, program   string
	image, registry string
	replicas        int
	autoscale       string
	monitor         string
	provider        string
	wait            bool
	timeout         time.Duration
	apply           apply.Options
}

func (s *server) add(set *pflag.FlagSet, replicas int) {
	set.StringVar(&s.image, "image", "", "image, with a tag or a digest; default is kubectl-infer/"+s.program)
	set.StringVar(&s.registry, "registry", "", "registry or repository before the default image's name")
	set.IntVar(&s.replicas, "replicas", replicas, "Pods")
	set.StringVar(&s.autoscale, "autoscale", "", "MIN-MAX: a HorizontalPodAutoscaler by CPU in place of --replicas")
	set.StringVar(&s.monitor, "monitor", string(scaffold.NoMonitor), "none; service or pod: a ServiceMonitor or PodMonitor of the Prometheus operator")
	set.StringVar(&s.provider, "provider", "", "the gateway's provider, one of "+strings.Join(provider.Names(), ", ")+"; default is what the cluster shows")
	set.BoolVar(&s.wait, "wait", true, "wait until it is ready")
	set.DurationVar(&s.timeout, "timeout", 2*time.Minute, "how long to wait")
	s.apply.Add(set)
}

// begin checks the flags that both have, and connects unless the cluster is not
// to be asked: then only the namespace of clients is set.
func (s *server) begin() (*kube.Clients, error) {
	if problems := validation.IsDNS1123Label(s.name); len(problems) > 0 {
		return nil, exit.With(exit.Usage, hint.Errorf("--name "+s.program, "name %q: %s", s.name, problems[0]))
	}
	if err := s.apply.Check(); err != nil {
		return nil, err
	}
	if err := option.Choice("--monitor", s.monitor, string(scaffold.NoMonitor), string(scaffold.ServiceMonitor), string(scaffold.PodMonitor)); err != nil {
		return nil, err
	}
	if !s.apply.Offline() {
		return kube.New(s.flags)
	}
	namespace, _, err := s.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("read namespace from kubeconfig: %w", err)
	}
	return &kube.Clients{Namespace: namespace}, nil
}

// options are what both programs can be asked for.
func (s *server) options(namespace string) (scaffold.ServerOptions, error) {
	o := scaffold.ServerOptions{
		About: scaffold.About{Name: s.name, Namespace: namespace, Verb: "install-" + s.program, Part: s.name},
		Image: s.image, Replicas: s.replicas, Monitor: scaffold.Monitor(s.monitor),
	}
	if o.Image != "" && s.registry != "" {
		return o, exit.With(exit.Usage, hint.Errorf("--image "+s.registry+"/"+s.image, "--image and --registry are both given"))
	}
	if o.Image == "" {
		o.Image = scaffold.Image(s.registry, s.program)
	}
	if s.autoscale != "" {
		least, most, ok := strings.Cut(s.autoscale, "-")
		var errs [2]error
		o.MinReplicas, errs[0] = strconv.Atoi(least)
		o.MaxReplicas, errs[1] = strconv.Atoi(most)
		if !ok || errs[0] != nil || errs[1] != nil || o.MaxReplicas == 0 {
			return o, exit.With(exit.Usage, hint.Errorf("--autoscale 2-6", "--autoscale %q is not MIN-MAX", s.autoscale))
		}
	}
	return o, exit.With(exit.Usage, o.Check())
}

// settle is the provider: the one that is named, else the one that the cluster
// shows for a GatewayClass, or for all where class is empty.
func (s *server) settle(ctx context.Context, clients *kube.Clients, class string) (provider.Provider, error) {
	p, why, err := discover.Settle(ctx, clients, s.provider, class, s.apply.Offline())
	if why != "" {
		s.note("provider %s: %s", p.Name, why)
	}
	return p, err
}

// send applies the objects, and waits for the Deployment among them.
func (s *server) send(ctx context.Context, clients *kube.Clients, objects []runtime.Object) error {
	if err := s.apply.Run(ctx, clients.Dynamic, s.streams.Out, apply.All(objects...)); err != nil {
		return err
	}
	if !s.wait || s.apply.DryRun != "none" {
		return nil
	}
	return s.await(ctx, clients, s.name)
}

// note tells the reader something on stderr; stdout is the answer.
func (s *server) note(format string, args ...any) {
	fmt.Fprintf(s.streams.ErrOut, "note: "+format+"\n", args...)
}

// newRemove is the command line of uninstall body-router and uninstall
// endpoint-picker.
func (s *server) newRemove(use, short, example string, run func(cmd *cobra.Command) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd) },
	}
	cmd.Flags().DurationVar(&s.timeout, "timeout", 2*time.Minute, "how long to wait until its Pods are gone")
	return cmd
}
