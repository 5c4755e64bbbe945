package scaffold

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// The limits of an HTTPRoute. Source: Gateway API v1 HTTPRouteSpec, maxItems of
// rules and matches and the rule "total number of matches must be at most 128".
const (
	maxRules        = 16
	maxRuleMatches  = 64
	maxRouteMatches = 128
	maxModelName    = 253 // bytes; the body router passes no longer name
)

// Model is one base model: its name, the InferencePool that serves it and the
// LoRA adapters that pool has.
type Model struct {
	Name     string
	Pool     string
	Canary   string // a second pool, at weight 0 until a rollout raises it; may be empty
	Group    string // of the pools' API
	Adapters []string
}

// names are all by which clients ask for the model's pool.
func (m Model) names() []string { return append([]string{m.Name}, m.Adapters...) }

// ParseModel reads NAME=POOL[,adapter…].
func ParseModel(text string) (Model, error) {
	const example = "--model qwen=qwen-pool,travel-helper-v1,travel-helper-v2"
	name, rest, ok := strings.Cut(text, "=")
	parts := strings.Split(rest, ",")
	if !ok || name == "" || parts[0] == "" {
		return Model{}, hint.Errorf(example, "--model %q is not NAME=POOL[,adapter…]", text)
	}
	m := Model{Name: name, Pool: parts[0], Adapters: parts[1:]}
	for _, n := range m.names() {
		if n == "" || len(n) > maxModelName || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return Model{}, hint.Errorf(example, "--model %q: name %q is not 1 to %d visible ASCII characters, so the body router would refuse it", text, n, maxModelName)
		}
	}
	return m, nil
}

// AddCanary reads MODEL=POOL and gives the model of that name a second pool.
func AddCanary(models []Model, text string) error {
	name, pool, ok := strings.Cut(text, "=")
	if !ok || name == "" || pool == "" {
		return hint.Errorf("--canary qwen=qwen-v2", "--canary %q is not MODEL=POOL", text)
	}
	for i := range models {
		switch {
		case models[i].Name != name:
		case models[i].Canary != "" || models[i].Pool == pool:
			return hint.Errorf("--canary "+name+"=POOL, once, with another pool than the model's", "--canary %q: model %s has pool %s already", text, name, pool)
		default:
			models[i].Canary = pool
			return nil
		}
	}
	return hint.Errorf("--model "+name+"=POOL", "--canary %q: no --model is called %s", text, name)
}

// CheckModels refuses a name that two models or adapters share: only one pool
// could have its requests.
func CheckModels(models []Model) error {
	owner := map[string]Model{}
	for _, m := range models {
		for _, name := range m.names() {
			first, taken := owner[name]
			switch {
			case taken && first.Pool == m.Pool:
				return hint.Errorf("name it once", "model or adapter %q is given twice for pool %s", name, m.Pool)
			case taken:
				return hint.Errorf("give one of them another name (--served-model-name, --lora-modules), or leave it out of one --model",
					"model or adapter %q is given for pools %s and %s: a request for it could go to only one", name, first.Pool, m.Pool)
			}
			owner[name] = m
		}
	}
	return nil
}

// RouteOptions are what create route was asked for.
type RouteOptions struct {
	About
	Models           []Model
	Gateway          string
	GatewayNamespace string        // empty is Namespace
	Section          string        // a listener; empty is all of them
	Timeout          time.Duration // of a whole request; 0 leaves it to the gateway
}

// Routes are the HTTPRoutes: for every name one exact match of the header that
// the body router sets, for every model a rule of its own (so that a rollout, a
// mirror or a policy can be about one model), and as many routes as the API's
// limits need: NAME, NAME-2, NAME-3 and so on. A rule goes to the first route
// with room, so a model that is added last moves no other.
func Routes(o RouteOptions) ([]*gwv1.HTTPRoute, error) {
	if err := CheckModels(o.Models); err != nil {
		return nil, err
	}
	var routes []*gwv1.HTTPRoute
	used := labelSet{}
	for _, m := range o.Models {
		names := m.names()
		for len(names) > 0 {
			n := min(len(names), maxRuleMatches)
			rule := o.rule(m, names[:n], used)
			names = names[n:]
			routes = o.place(routes, rule)
		}
	}
	return routes, nil
}

// place puts rule into the first route with room, a new one if there is none.
func (o RouteOptions) place(routes []*gwv1.HTTPRoute, rule gwv1.HTTPRouteRule) []*gwv1.HTTPRoute {
	for _, r := range routes {
		matches := len(rule.Matches)
		for _, other := range r.Spec.Rules {
			matches += len(other.Matches)
		}
		if len(r.Spec.Rules) < maxRules && matches <= maxRouteMatches {
			r.Spec.Rules = append(r.Spec.Rules, rule)
			return routes
		}
	}
	route := o.route(len(routes) + 1)
	route.Spec.Rules = []gwv1.HTTPRouteRule{rule}
	return append(routes, route)
}

// RouteName is what the nth route of NAME is called, from 1.
func RouteName(name string, nth int) string {
	if nth == 1 {
		return name
	}
	return name + "-" + strconv.Itoa(nth)
}

func (o RouteOptions) route(nth int) *gwv1.HTTPRoute {
	parent := gwv1.ParentReference{Name: gwv1.ObjectName(o.Gateway)}
	if o.GatewayNamespace != "" && o.GatewayNamespace != o.Namespace {
		parent.Namespace = pointer(gwv1.Namespace(o.GatewayNamespace))
	}
	if o.Section != "" {
		parent.SectionName = pointer(gwv1.SectionName(o.Section))
	}
	return &gwv1.HTTPRoute{
		TypeMeta:   typed(gwv1.GroupVersion.String(), "HTTPRoute"),
		ObjectMeta: o.called(RouteName(o.Name, nth)).meta(),
		Spec:       gwv1.HTTPRouteSpec{CommonRouteSpec: gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{parent}}},
	}
}

// rule sends names to m's pool.
func (o RouteOptions) rule(m Model, names []string, used labelSet) gwv1.HTTPRouteRule {
	rule := gwv1.HTTPRouteRule{
		Name:        pointer(gwv1.SectionName(used.take(m.Name))),
		BackendRefs: []gwv1.HTTPBackendRef{poolRef(m.Group, m.Pool, 100)},
	}
	if m.Canary != "" {
		rule.BackendRefs = append(rule.BackendRefs, poolRef(m.Group, m.Canary, 0))
	}
	for _, name := range names {
		rule.Matches = append(rule.Matches, gwv1.HTTPRouteMatch{Headers: []gwv1.HTTPHeaderMatch{{
			Type: pointer(gwv1.HeaderMatchExact), Name: header.ModelName, Value: name,
		}}})
	}
	if o.Timeout > 0 {
		rule.Timeouts = &gwv1.HTTPRouteTimeouts{Request: pointer(gwv1.Duration(duration(o.Timeout)))}
	}
	return rule
}

func poolRef(group, pool string, weight int32) gwv1.HTTPBackendRef {
	return gwv1.HTTPBackendRef{BackendRef: gwv1.BackendRef{
		BackendObjectReference: gwv1.BackendObjectReference{Group: pointer(gwv1.Group(group)), Kind: pointer(gwv1.Kind("InferencePool")), Name: gwv1.ObjectName(pool)},
		Weight:                 &weight,
	}}
}

// duration writes d as the Gateway API does: at most four of h, m, s and ms,
// each without a fraction (GEP-2257).
func duration(d time.Duration) string {
	var b strings.Builder
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d -= n * unit.size
		}
	}
	return b.String()
}

// CheckDuration refuses what duration cannot write.
func CheckDuration(flag string, d time.Duration) error {
	if d < 0 || d%time.Millisecond != 0 || d >= 100_000*time.Hour {
		return hint.Errorf(flag+" 300s", "%s %s is not a number of milliseconds from 0 to 99999h", flag, d)
	}
	return nil
}

func pointer[T any](v T) *T { return &v }
