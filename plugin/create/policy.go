package create

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const policyExample = "kubectl infer create policy chat --route chat --max-concurrent 64 --max-pending 16"

// policy is the command line of create policy.
type policy struct {
	base
	route, gateway string
	rule           string
	options        scaffold.PolicyOptions
}

func newPolicy(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	p := &policy{base: base{flags: flags, streams: streams}}
	cmd := &cobra.Command{
		Use:   "policy NAME (--route NAME | --gateway NAME | --pool NAME) [limits]",
		Short: "Limit what a route or a Gateway passes on",
		Long: `Limit what a route or a Gateway passes on.

On Envoy Gateway, ACK and the sandbox: a BackendTrafficPolicy (concurrent and
waiting requests, timeout, retries) and a ClientTrafficPolicy (buffer, of the whole
Gateway). On Istio: a DestinationRule for a pool (concurrent and waiting requests).
On agentgateway: an AgentgatewayPolicy (timeout, retries, buffer). On GKE: a
GCPBackendPolicy for a pool (timeout). On NGINX Gateway Fabric: a
ClientSettingsPolicy (buffer). What a gateway lacks is refused, with what to do there.

A limit counts for each backend of a route: while a rollout splits a model over
two pools, each has its own. What is over a limit gets 503 at once; it is not a
model's error and is not sent elsewhere. Retries are only of requests that no
model server has begun to answer.`,
		Example: `  # at most 64 requests of this route at once, 16 more waiting
  kubectl infer create policy chat --route chat --max-concurrent 64 --max-pending 16

  # only the requests for one of its models
  kubectl infer create policy chat-qwen --route chat --rule qwen --max-concurrent 64

  # large prompts and long generations through the whole Gateway
  kubectl infer create policy generations --gateway inference-gateway --buffer 20Mi --timeout 24h`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args) },
	}
	set := cmd.Flags()
	set.StringVar(&p.route, "route", "", "HTTPRoute that is limited")
	set.StringVar(&p.rule, "rule", "", "name of the route's rule that is limited, such as the one create route made for a model; default is all of them")
	set.StringVar(&p.gateway, "gateway", "", "Gateway that is limited; its routes' own policies go before it")
	set.StringVar(&p.options.Pool, "pool", "", "InferencePool that is limited, on Istio and GKE")
	set.IntVar(&p.options.MaxConcurrent, "max-concurrent", 0, "requests at once to each backend; 0 leaves it to the gateway (Envoy Gateway: 1024)")
	set.IntVar(&p.options.MaxPending, "max-pending", 0, "requests that wait for a connection; 0 leaves it to the gateway (1024)")
	set.StringVar(&p.options.Buffer, "buffer", "", "longest body the Gateway keeps, such as 20Mi; empty leaves it to the gateway (32Ki)")
	set.DurationVar(&p.options.Timeout, "timeout", 0, "time for a whole request; 0 leaves it to the gateway (15s)")
	set.IntVar(&p.options.Retries, "retry", 0, "how often a request whose connection is refused is sent again; 0 is never")
	p.addProvider(set)
	p.apply.Add(set)
	return cmd
}

// check reads the flags.
func (p *policy) check() error {
	o := p.options
	if err := scaffold.CheckDuration("--timeout", o.Timeout); err != nil {
		return err
	}
	if o.Buffer != "" {
		if q, err := resource.ParseQuantity(o.Buffer); err != nil || q.Sign() <= 0 {
			return hint.Errorf("--buffer 20Mi", "--buffer %q is not a number of bytes above 0", o.Buffer)
		}
	}
	switch {
	case p.route != "" && p.gateway != "", p.route == "" && p.gateway == "" && o.Pool == "":
		return hint.Errorf(policyExample, "name one of --route, --gateway and --pool")
	case p.rule != "" && p.route == "":
		return hint.Errorf("--route NAME --rule "+p.rule, "--rule %s is of a route, and no --route is given", p.rule)
	case o.MaxConcurrent < 0 || o.MaxPending < 0 || o.Retries < 0:
		return hint.Errorf(policyExample, "a limit is negative")
	case o.MaxConcurrent == 0 && o.MaxPending == 0 && o.Buffer == "" && o.Timeout == 0 && o.Retries == 0:
		return hint.Errorf(policyExample, "no limit is given")
	case p.apply.Offline() && p.route != "" && o.Buffer != "":
		return hint.Errorf("make it on its own with --gateway NAME --buffer "+o.Buffer, "a buffer is of the route's Gateway, which --dry-run=client does not ask for")
	}
	return nil
}

func (p *policy) run(ctx context.Context, args []string) error {
	clients, err := p.begin(args, policyExample)
	if err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return exit.With(exit.Usage, err)
	}
	o := p.options
	o.Name, o.Namespace, o.Verb, o.Route, o.Gateway = p.name, clients.Namespace, "create-policy", p.route, p.gateway
	o.Rule = p.rule
	if err := p.fill(ctx, clients, &o); err != nil {
		return err
	}
	list, err := scaffold.Policies(o)
	if err != nil {
		return exit.With(exit.PreflightRefused, err)
	}
	if !p.apply.Offline() {
		for _, planned := range list {
			if err := p.sayOlder(ctx, clients, planned); err != nil {
				return err
			}
		}
	}
	return p.send(ctx, clients, list)
}

// fill sets what the cluster knows: the Gateway, the route's one with --route; its
// provider; and the group of the pool.
func (p *policy) fill(ctx context.Context, clients *kube.Clients, o *scaffold.PolicyOptions) error {
	class := ""
	if !p.apply.Offline() && (p.route != "" || p.gateway != "") {
		names := []string{p.gateway}
		if p.route != "" {
			var err error
			if names, err = p.parents(ctx, clients); err != nil {
				return err
			}
		}
		gateway, err := findGateway(ctx, clients, clients.Namespace, names[0])
		if err != nil {
			return err
		}
		o.Gateway, class = names[0], string(gateway.Spec.GatewayClassName)
		if o.Buffer != "" && p.route != "" {
			p.note("--buffer is of the whole Gateway %s: no gateway has it for one route", names[0])
		}
	}
	var err error
	if o.Provider, err = p.settle(ctx, clients, class); err != nil {
		return err
	}
	o.PoolGroup = kube.InferencePools().Group
	if o.Pool != "" && !p.apply.Offline() {
		group, err := poolGroup(ctx, clients, clients.Namespace, o.Pool, "")
		if err != nil {
			return err
		}
		if group != "" {
			o.PoolGroup = group
		}
	}
	if o.Route == "" && o.Gateway == "" && o.Provider.Name != "istio" && o.Provider.Name != "gke" {
		return exit.With(exit.Usage, hint.Errorf(policyExample, "%s limits a route or a Gateway, and only --pool is named", o.Provider.Title))
	}
	return nil
}

// parents are the Gateways of --route, which must be in the policy's namespace.
func (p *policy) parents(ctx context.Context, clients *kube.Clients) ([]string, error) {
	found, err := clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(clients.Namespace).Get(ctx, p.route, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, hint.Wrap(fmt.Errorf("get httproute %s in namespace %s: %w", p.route, clients.Namespace, err), "kubectl get httproutes -A")
	}
	if err != nil {
		return nil, fmt.Errorf("get httproute %s in namespace %s: %w", p.route, clients.Namespace, err)
	}
	route := &gwv1.HTTPRoute{}
	if err := decode(found, route); err != nil {
		return nil, err
	}
	if err := p.checkRule(route); err != nil {
		return nil, err
	}
	var names []string
	for _, ref := range route.Spec.ParentRefs {
		switch {
		case ref.Kind != nil && *ref.Kind != "Gateway":
		case ref.Namespace != nil && string(*ref.Namespace) != clients.Namespace:
			return nil, hint.Errorf("make the policy for the Gateway, with --gateway "+string(ref.Name)+" -n "+string(*ref.Namespace),
				"httproute %s belongs to Gateway %s of namespace %s", p.route, ref.Name, *ref.Namespace)
		default:
			names = append(names, string(ref.Name))
		}
	}
	if len(names) == 0 {
		return nil, hint.Errorf("kubectl get httproute "+p.route+" -o yaml", "httproute %s belongs to no Gateway", p.route)
	}
	return names, nil
}

// checkRule refuses a rule that the route does not have by that name.
func (p *policy) checkRule(route *gwv1.HTTPRoute) error {
	var names []string
	for _, rule := range route.Spec.Rules {
		if rule.Name != nil && (p.rule == "" || p.rule == string(*rule.Name)) {
			return nil
		}
		if rule.Name != nil {
			names = append(names, string(*rule.Name))
		}
	}
	if p.rule == "" {
		return nil
	}
	return exit.With(exit.PreflightRefused, hint.Errorf("rules with names: "+strings.Join(names, ", "), "httproute %s has no rule called %s", p.route, p.rule))
}

// sayOlder tells of a policy of the same kind that is attached already: the
// older one wins, whole.
func (p *policy) sayOlder(ctx context.Context, clients *kube.Clients, object runtime.Object) error {
	planned, err := scaffold.Plain(object)
	if err != nil {
		return err
	}
	at, _ := apply.Resource(planned.GroupVersionKind().GroupKind())
	list, err := clients.Dynamic.Resource(at).Namespace(clients.Namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil // no such kind: apply says so
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", at.Resource, err)
	}
	kind, name, rule := attached(planned)
	if name == "" {
		return nil
	}
	for i := range list.Items {
		other := &list.Items[i]
		if k, n, r := attached(other); k == kind && n == name && r == rule && other.GetName() != p.name {
			p.note("%s %s is attached to %s %s already, and the older of two wins whole", strings.ToLower(planned.GetKind()), other.GetName(), strings.ToLower(kind), name)
		}
	}
	return nil
}

// attached is the first object a policy is attached to, and the part of it.
func attached(policy *unstructured.Unstructured) (kind, name, section string) {
	ref, _, _ := unstructured.NestedMap(policy.Object, "spec", "targetRef")
	if refs, _, _ := unstructured.NestedSlice(policy.Object, "spec", "targetRefs"); len(refs) > 0 {
		ref, _ = refs[0].(map[string]any)
	}
	kind, _ = ref["kind"].(string)
	name, _ = ref["name"].(string)
	section, _ = ref["sectionName"].(string)
	return kind, name, section
}
