package create

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const routeExample = "kubectl infer create route chat --model qwen=qwen-pool,travel-helper-v1"

// route is the command line of create route.
type route struct {
	base
	models, canaries []string
	gateway, section string
	poolGroup        string
	timeout          time.Duration
	adapterMap       bool
}

func newRoute(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	r := &route{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "route NAME --model MODEL=POOL[,adapter…]…",
		Short: "Send each model's name to its InferencePool",
		Long: `Send each model's name to its InferencePool.

Makes HTTPRoutes that match the header X-Gateway-Model-Name, which the body router
sets from "model" in a request's body: one exact match for each model and LoRA
adapter, a rule for each model. Where the API's limits are reached (64 matches in
a rule, 128 in a route, 16 rules) there are several: NAME, NAME-2, NAME-3 …

For models with adapters it also makes the ConfigMaps from which the body router
knows each adapter's base model. Repeating it with other models changes what was
made. It says which existing routes of the Gateway take these models' requests
first, or lose them.`,
		Example: `  # two base models, one with two LoRA adapters
  kubectl infer create route chat --model qwen=qwen-pool,travel-helper-v1,travel-helper-v2 \
    --model deepseek-r1=deepseek-pool --gateway inference-gateway --timeout 300s

  # to read first, or to keep in Git; asks no cluster
  kubectl infer create route chat --model qwen=qwen-pool --gateway inference-gateway --dry-run=client -o yaml`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args) },
	}
	set := cmd.Flags()
	set.StringArrayVar(&r.models, "model", nil, "MODEL=POOL[,adapter…]: who serves the model and its LoRA adapters; repeat it")
	set.StringArrayVar(&r.canaries, "canary", nil, "MODEL=POOL: a second pool for the model, at weight 0 until a rollout raises it; repeat it")
	set.StringVar(&r.gateway, "gateway", "", "Gateway, or NAMESPACE/NAME; default is the only one of the namespace")
	set.StringVar(&r.section, "section", "", "listener of the Gateway; default is all of them")
	set.StringVar(&r.poolGroup, "pool-group", "", "API group of the pools; default is the one they are found in, else "+kube.InferencePools().Group)
	set.DurationVar(&r.timeout, "timeout", 0, "time for a whole request; 0 leaves it to the gateway")
	set.BoolVar(&r.adapterMap, "adapter-map", true, "make the ConfigMaps of base models; the body router must follow this namespace")
	r.addProvider(set)
	r.apply.Add(set)
	return cmd
}

// options reads the flags.
func (r *route) options(namespace string) (scaffold.RouteOptions, error) {
	o := scaffold.RouteOptions{About: r.about("create-route", namespace), Gateway: r.gateway, Section: r.section, Timeout: r.timeout}
	if len(r.models) == 0 {
		return o, hint.Errorf(routeExample, "no --model is given")
	}
	for _, text := range r.models {
		m, err := scaffold.ParseModel(text)
		if err != nil {
			return o, err
		}
		o.Models = append(o.Models, m)
	}
	for _, text := range r.canaries {
		if err := scaffold.AddCanary(o.Models, text); err != nil {
			return o, err
		}
	}
	if ns, name, ok := strings.Cut(r.gateway, "/"); ok {
		o.GatewayNamespace, o.Gateway = ns, name
	}
	if r.poolGroup != "" && r.poolGroup != kube.InferencePools().Group && r.poolGroup != kube.AlphaInferencePools().Group {
		return o, hint.Errorf("--pool-group "+kube.InferencePools().Group, "--pool-group %q is not a group of InferencePools", r.poolGroup)
	}
	if r.apply.Offline() && r.gateway == "" {
		return o, hint.Errorf("--gateway inference-gateway", "--dry-run=client asks no cluster, so it needs --gateway")
	}
	if err := scaffold.CheckDuration("--timeout", r.timeout); err != nil {
		return o, err
	}
	return o, scaffold.CheckModels(o.Models)
}

func (r *route) run(ctx context.Context, args []string) error {
	clients, err := r.begin(args, routeExample)
	if err != nil {
		return err
	}
	o, err := r.options(clients.Namespace)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	class, err := r.fill(ctx, clients, &o)
	if err != nil {
		return err
	}
	if err := r.able(ctx, clients, class, o); err != nil {
		return err
	}
	routes, err := scaffold.Routes(o)
	if err != nil {
		return err
	}
	if !r.apply.Offline() {
		if err := r.compare(ctx, clients, routes); err != nil {
			return err
		}
	}
	objects := apply.All(routes...)
	if r.adapterMap {
		maps, err := scaffold.AdapterMaps(o.About, o.Models)
		if err != nil {
			return err
		}
		objects = append(objects, apply.All(maps...)...)
	}
	return r.apply.Run(ctx, clients.Dynamic, r.streams.Out, objects)
}

// able refuses what the Gateway's provider cannot do. Only that needs to know it.
func (r *route) able(ctx context.Context, clients *kube.Clients, class string, o scaffold.RouteOptions) error {
	if len(r.canaries) == 0 && r.provider == "" {
		return nil
	}
	p, err := r.settle(ctx, clients, class)
	if err != nil {
		return err
	}
	if len(r.canaries) > 0 {
		warning, err := scaffold.CheckWeighted(p)
		if err != nil {
			return exit.With(exit.PreflightRefused, err)
		}
		if warning != "" {
			r.note("%s", warning)
		}
	}
	if o.Timeout > 0 && p.Name == "gke" {
		return exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer create policy NAME --pool "+o.Models[0].Pool+" --timeout "+o.Timeout.String()+" --provider gke",
			"%s reads no timeout of an HTTPRoute", p.Title))
	}
	return nil
}

// fill sets what the cluster knows: the Gateway, whose class it returns, and the
// group of each pool.
func (r *route) fill(ctx context.Context, clients *kube.Clients, o *scaffold.RouteOptions) (class string, err error) {
	if !r.apply.Offline() {
		namespace := o.GatewayNamespace
		if namespace == "" {
			namespace = o.Namespace
		}
		gateway, err := findGateway(ctx, clients, namespace, o.Gateway)
		if err != nil {
			return "", err
		}
		if err := checkListener(gateway, o.Section); err != nil {
			return "", err
		}
		o.Gateway, class = gateway.Name, string(gateway.Spec.GatewayClassName)
	}
	for i, m := range o.Models {
		group := r.poolGroup
		if !r.apply.Offline() {
			found, err := poolGroup(ctx, clients, o.Namespace, m.Pool, r.poolGroup)
			if err != nil {
				return "", err
			}
			if found == "" {
				r.note("inferencepool %s is not there yet: until it is, requests for %s get 500", m.Pool, m.Name)
			} else {
				group = found
			}
		}
		if group == "" {
			group = kube.InferencePools().Group
		}
		o.Models[i].Group = group
	}
	return class, nil
}

// compare says what the routes that exist mean for the planned ones, and
// refuses to write a route that a rollout is moving.
func (r *route) compare(ctx context.Context, clients *kube.Clients, planned []*gwv1.HTTPRoute) error {
	existing, err := r.listRoutes(ctx, clients)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, p := range planned {
		names[p.Name] = true
	}
	for _, e := range existing {
		if e.Namespace != clients.Namespace {
			continue
		}
		if names[e.Name] && e.Annotations[target.StampAnnotation] != "" {
			return exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer canary status httproute/"+e.Name,
				"httproute %s: a rollout is moving its weights, so it is not written", e.Name))
		}
		if !names[e.Name] && e.Labels[scaffold.CreatedBy] != "" && isPart(r.name, e.Name) {
			r.note("httproute %s was part of %s before and is not any more: kubectl delete httproute %s -n %s", e.Name, r.name, e.Name, e.Namespace)
		}
	}
	for _, overlap := range scaffold.Overlaps(planned, existing) {
		r.note("%s", overlap)
	}
	return nil
}

// isPart says whether route is called as a further route of name.
func isPart(name, route string) bool {
	tail, ok := strings.CutPrefix(route, name+"-")
	var n int
	_, err := fmt.Sscanf(tail, "%d", &n)
	return ok && err == nil && scaffold.RouteName(name, n) == route
}
