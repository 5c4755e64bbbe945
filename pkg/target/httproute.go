package target

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// httpRoute is the layout of an HTTPRoute: two backendRefs of one rule. A
// canary that is not listed is added at weight 0 in a move of its own.
type httpRoute struct {
	selection Selection
	baseline  routeBaseline
	was       place // in the baseline rule
}

// routeBaseline is what a rollout returns to: the rule exactly as it was found.
type routeBaseline struct {
	UID       types.UID      `json:"uid"`
	Rule      map[string]any `json:"rule"`
	RuleIndex int            `json:"ruleIndex"`
}

func (r *httpRoute) take(route *unstructured.Unstructured) error {
	p, err := locate(route, r.selection)
	if err != nil {
		return err
	}
	rule, _ := rulesOf(route)[p.rule].(map[string]any)
	r.baseline = routeBaseline{UID: route.GetUID(), Rule: rule, RuleIndex: p.rule}
	r.was = p
	return nil
}

func (r *httpRoute) record() any { return r.baseline }

func (r *httpRoute) recall(raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &r.baseline); err != nil {
		return err
	}
	r.baseline.Rule, _ = integers(r.baseline.Rule).(map[string]any)
	r.was = place{
		rule: r.baseline.RuleIndex, stable: indexOf(r.baseline.Rule, r.selection.Stable), canary: indexOf(r.baseline.Rule, r.selection.Canary),
	}
	if r.was.stable < 0 {
		return fmt.Errorf("backend %s is not in it", r.selection.Stable)
	}
	return nil
}

// integers turns the float64 of decoded JSON back into int64, the form
// unstructured objects use.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

func (r *httpRoute) entries() (stable, canary map[string]any) {
	refs := backendsOf(r.baseline.Rule)
	stable, _ = refs[r.was.stable].(map[string]any)
	if r.was.canary >= 0 {
		canary, _ = refs[r.was.canary].(map[string]any)
	}
	return stable, canary
}

func (r *httpRoute) weights(goal rollout.Goal) (weights, error) {
	if goal == rollout.Baseline {
		return weightsIn(r.baseline.Rule, r.was), nil
	}
	return split(r.baseline.Rule, r.was, int(goal))
}

func (r *httpRoute) at(route *unstructured.Unstructured, goal rollout.Goal) (float64, bool, error) {
	rule, p, err := r.find(route)
	if err != nil {
		return 0, false, err
	}
	want, err := r.weights(goal)
	if err != nil {
		return 0, false, err
	}
	now := weightsIn(rule, p)
	return now.share(), now == want, nil
}

// find locates the two backends in the live route. A canary that is not
// listed is fine: that is what 0 % looks like before it was added.
func (r *httpRoute) find(route *unstructured.Unstructured) (rule any, p place, err error) {
	sel := r.selection
	sel.AddBackend = true
	if p, err = locate(route, sel); err != nil {
		return nil, place{}, fmt.Errorf("%w: %w", rollout.ErrDrift, err)
	}
	return rulesOf(route)[p.rule], p, nil
}

func (r *httpRoute) move(route *unstructured.Unstructured, goal rollout.Goal) ([]operation, error) {
	rule, p, err := r.find(route)
	if err != nil {
		return nil, err
	}
	w, err := r.weights(goal)
	if err != nil {
		return nil, err
	}
	return movePatch(rule, p, w, r.canaryRef()), nil
}

func (r *httpRoute) restore(route *unstructured.Unstructured) ([]operation, error) {
	rule, p, err := r.find(route)
	if err != nil {
		return nil, err
	}
	return restorePatch(rule, p, r.baseline.Rule, r.was), nil
}

func (r *httpRoute) removeStable(route *unstructured.Unstructured) ([]operation, error) {
	sel := r.selection
	sel.AddBackend = false
	p, err := locate(route, sel)
	if err != nil {
		return nil, nil // not listed any more
	}
	return []operation{
		{Op: "test", Path: rulePath(p), Value: rulesOf(route)[p.rule]},
		{Op: "remove", Path: rulePath(p, "backendRefs", p.stable)},
	}, nil
}

func (r *httpRoute) manual() []operation {
	return []operation{{Op: "add", Path: rulePath(r.was, "backendRefs"), Value: r.baseline.Rule["backendRefs"]}}
}

// canaryRef is the backendRef that lists the canary: stable's, renamed.
func (r *httpRoute) canaryRef() map[string]any {
	stable, _ := r.entries()
	ref := map[string]any{}
	for _, key := range []string{"group", "kind", "namespace", "port"} {
		if value, ok := stable[key]; ok {
			ref[key] = value
		}
	}
	ref["name"] = r.selection.Canary[strings.LastIndexByte(r.selection.Canary, '/')+1:]
	return ref
}

func (r *httpRoute) accepted(route *unstructured.Unstructured) (bool, string) {
	return routeAccepted(route)
}

// routeAccepted reads status.parents: every parentRef must be Accepted with
// ResolvedRefs at the object's generation (Gateway API v1, RouteParentStatus).
func routeAccepted(route *unstructured.Unstructured) (bool, string) {
	var typed gatewayv1.HTTPRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(route.Object, &typed); err != nil {
		return false, "status could not be read: " + err.Error()
	}
	if len(typed.Spec.ParentRefs) == 0 {
		return false, "the route has no parentRef"
	}
	for _, ref := range typed.Spec.ParentRefs {
		if why := parentWaits(&typed, ref); why != "" {
			return false, "parent " + string(ref.Name) + ": " + why
		}
	}
	return true, ""
}

func parentWaits(route *gatewayv1.HTTPRoute, ref gatewayv1.ParentReference) string {
	why := "no gateway has reported on it yet"
	for _, parent := range route.Status.Parents {
		if !sameParent(route.Namespace, ref, parent.ParentRef) {
			continue
		}
		why = ""
		for _, kind := range []gatewayv1.RouteConditionType{gatewayv1.RouteConditionAccepted, gatewayv1.RouteConditionResolvedRefs} {
			if w := conditionWaits(parent.Conditions, string(kind), route.Generation); w != "" {
				return w
			}
		}
	}
	return why
}
