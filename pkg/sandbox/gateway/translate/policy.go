package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The Envoy Gateway policies of which a subset is served.
const (
	PolicyGroup          = "gateway.envoyproxy.io"
	ClientTrafficPolicy  = "ClientTrafficPolicy"
	BackendTrafficPolicy = "BackendTrafficPolicy"
)

// conditionUnsupported is True on a policy of which only a part is served.
const conditionUnsupported = "UnsupportedFields"

// PolicyKey names one policy.
type PolicyKey struct {
	Kind string
	types.NamespacedName
}

// PolicyAncestor is what a policy's status says for one Gateway.
type PolicyAncestor struct {
	Gateway    types.NamespacedName
	Controller gwv1.GatewayController
	Conditions []metav1.Condition
}

// target is what a policy may be attached to.
type target struct {
	kind string
	types.NamespacedName
	rule string // of an HTTPRoute, by its name; "" is all of it
}

// policy is one policy as understood.
type policy struct {
	key         PolicyKey
	generation  int64
	created     time.Time
	targets     []target
	unsupported []string // fields
	invalid     error
	client      clientPolicy
	backend     backendPolicy
	conflicts   []string // targets that an older policy has
}

// policies are those in force, by target.
type policies struct {
	all     []*policy
	client  map[target]*policy
	backend map[target]*policy
}

func newPolicies(objects []*unstructured.Unstructured) policies {
	p := policies{client: map[target]*policy{}, backend: map[target]*policy{}}
	for _, o := range objects {
		p.all = append(p.all, readPolicy(o))
	}
	slices.SortFunc(p.all, func(a, b *policy) int {
		return cmp.Or(a.created.Compare(b.created), compareNames(a.key.NamespacedName, b.key.NamespacedName), cmp.Compare(a.key.Kind, b.key.Kind))
	})
	for _, one := range p.all {
		byTarget := p.client
		if one.key.Kind == BackendTrafficPolicy {
			byTarget = p.backend
		}
		for _, t := range one.targets {
			if _, taken := byTarget[t]; taken {
				one.conflicts = append(one.conflicts, strings.TrimSuffix(t.kind+" "+t.Name+" rule "+t.rule, " rule "))
			} else if one.invalid == nil {
				byTarget[t] = one
			}
		}
	}
	return p
}

// readPolicy never fails: what cannot be read makes the policy invalid.
func readPolicy(o *unstructured.Unstructured) *policy {
	p := &policy{
		key:        PolicyKey{o.GetKind(), types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}},
		generation: o.GetGeneration(), created: o.GetCreationTimestamp().Time,
	}
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	known, kinds := clientFields(), []string{"Gateway"}
	if p.key.Kind == BackendTrafficPolicy {
		known, kinds = backendFields(), []string{"Gateway", "HTTPRoute"}
	}
	p.unsupported = unknownFields("spec", spec, known)
	refs, _, _ := unstructured.NestedSlice(spec, "targetRefs")
	if one, found, _ := unstructured.NestedMap(spec, "targetRef"); found {
		refs = append(refs, one)
	}
	for i, ref := range refs {
		fields, _ := ref.(map[string]any)
		kind, _, _ := unstructured.NestedString(fields, "kind")
		name, _, _ := unstructured.NestedString(fields, "name")
		section, _, _ := unstructured.NestedString(fields, "sectionName")
		switch {
		case section != "" && kind != "HTTPRoute":
			p.unsupported = append(p.unsupported, fmt.Sprintf("spec.targetRefs[%d].sectionName", i))
		case slices.Contains(kinds, kind):
			p.targets = append(p.targets, target{kind, types.NamespacedName{Namespace: o.GetNamespace(), Name: name}, section})
		default:
			p.invalid = fmt.Errorf("targetRefs[%d]: kind %q is not supported", i, kind)
		}
	}
	var err error
	if p.key.Kind == BackendTrafficPolicy {
		p.backend, err = readBackendPolicy(spec)
	} else {
		p.client, err = readClientPolicy(spec)
	}
	p.invalid = cmp.Or(p.invalid, err)
	return p
}

// fields is a tree of known field names; an empty one takes anything below it.
type fields map[string]fields

// unknownFields names what a spec says beyond the known fields, sorted.
func unknownFields(path string, spec map[string]any, known fields) []string {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(spec)) {
		below, ok := known[name]
		object, isObject := spec[name].(map[string]any)
		switch {
		case !ok:
			unknown = append(unknown, path+"."+name)
		case isObject && len(below) > 0:
			unknown = append(unknown, unknownFields(path+"."+name, object, below)...)
		}
	}
	return unknown
}

// backendPolicyOf is the one in force for a rule of a route of a Gateway: the
// rule's own, else the route's, else the Gateway's. A rule without a name has none.
func (p policies) backendPolicyOf(route types.NamespacedName, rule string, gateway types.NamespacedName) *policy {
	return cmp.Or(p.backend[target{"HTTPRoute", route, rule}], p.backend[target{"HTTPRoute", route, ""}], p.backend[target{"Gateway", gateway, ""}])
}

func (p policies) clientPolicyOf(gateway types.NamespacedName) clientPolicy {
	if one := p.client[target{"Gateway", gateway, ""}]; one != nil {
		return one.client
	}
	return clientPolicy{}
}

// policyStatuses says, for each of our Gateways that a policy reaches, what has
// become of it there.
func (t *translation) policyStatuses(routes []*gwv1.HTTPRoute, gateways map[types.NamespacedName]*gateway) {
	parents := map[types.NamespacedName][]types.NamespacedName{} // route → Gateways
	for _, route := range routes {
		for _, ref := range route.Spec.ParentRefs {
			if isGateway(ref) {
				parents[nameOf(route)] = append(parents[nameOf(route)], parentName(route, ref))
			}
		}
	}
	for _, p := range t.policies.all {
		var reached []types.NamespacedName
		for _, one := range p.targets {
			if one.kind == "Gateway" {
				reached = append(reached, one.NamespacedName)
			} else {
				reached = append(reached, parents[one.NamespacedName]...)
			}
		}
		slices.SortFunc(reached, compareNames)
		for _, name := range slices.Compact(reached) {
			if gw := gateways[name]; gw != nil {
				t.statuses.Policies[p.key] = append(t.statuses.Policies[p.key], PolicyAncestor{
					Gateway: name, Controller: gw.controller, Conditions: p.conditions(),
				})
			}
		}
	}
}

func (p *policy) conditions() []metav1.Condition {
	accepted := condition(p.generation, "Accepted", true, "Accepted", "")
	switch {
	case p.invalid != nil:
		accepted = condition(p.generation, "Accepted", false, "Invalid", p.invalid.Error())
	case len(p.conflicts) > 0:
		accepted = condition(p.generation, "Accepted", false, "Conflicted",
			"an older policy is attached to "+strings.Join(p.conflicts, ", "))
	}
	conditions := []metav1.Condition{accepted}
	if len(p.unsupported) > 0 {
		conditions = append(conditions, condition(p.generation, conditionUnsupported, true, "NotSimulated",
			"the sandbox ignores "+strings.Join(p.unsupported, ", ")))
	}
	return conditions
}
