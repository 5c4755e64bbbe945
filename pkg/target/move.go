package target

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Seize stamps the route, so that from now on only this run and epoch can
// write it. It moves nothing.
func (r *HTTPRoute) Seize(ctx context.Context, stamp string) error {
	var last error
	for range patchAttempts {
		route, err := r.get(ctx)
		if err != nil {
			return err
		}
		if route.GetAnnotations()[StampAnnotation] == stamp {
			r.stamp = stamp
			return nil
		}
		_, refused, err := r.patch(ctx, seizePatch(route.GetResourceVersion(), stamp, len(route.GetAnnotations()) > 0))
		if err == nil {
			r.stamp = stamp
			return nil
		}
		if !refused {
			return err
		}
		last = err
	}
	return last
}

// Adopt takes stamp as this run's without writing it: that of a finished run
// whose process died before it could clean up.
func (r *HTTPRoute) Adopt(stamp string) { r.stamp = stamp }

// Read says where the route stands relative to goal.
func (r *HTTPRoute) Read(ctx context.Context, goal rollout.Goal) (rollout.Standing, error) {
	route, err := r.get(ctx)
	if err != nil {
		return rollout.Standing{}, err
	}
	return r.standing(route, goal)
}

func (r *HTTPRoute) standing(route *unstructured.Unstructured, goal rollout.Goal) (rollout.Standing, error) {
	p, err := r.find(route)
	if err != nil {
		return rollout.Standing{}, err
	}
	rule := rulesOf(route)[p.rule]
	at, err := r.isAt(rule, p, goal)
	if err != nil {
		return rollout.Standing{}, err
	}
	accepted, waiting := acceptance(route)
	by := ""
	if !at {
		by = lastWriter(route)
	}
	return rollout.Standing{
		By:    by,
		Share: shareIn(rule, p), AtGoal: at, Accepted: accepted, Waiting: waiting,
		Fenced: r.stamp != "" && route.GetAnnotations()[StampAnnotation] != r.stamp,
	}, nil
}

// find locates the two backends in the live route. A canary that is not
// listed is fine: that is what 0 % looks like before it was added.
func (r *HTTPRoute) find(route *unstructured.Unstructured) (place, error) {
	sel := r.selection
	sel.AddBackend = true
	p, err := locate(route, sel)
	if err != nil {
		return place{}, fmt.Errorf("%w: %w", rollout.ErrDrift, err)
	}
	return p, nil
}

// isAt compares the two weights in rule with what goal asks for.
func (r *HTTPRoute) isAt(rule any, p place, goal rollout.Goal) (bool, error) {
	was := place{stable: r.baseline.stable, canary: r.baseline.canary}
	refs := backendsOf(rule)
	if goal == rollout.Baseline {
		old := backendsOf(r.baseline.Rule)
		if (p.canary < 0) != (was.canary < 0) || weightOf(refs[p.stable]) != weightOf(old[was.stable]) {
			return false, nil
		}
		return p.canary < 0 || weightOf(refs[p.canary]) == weightOf(old[was.canary]), nil
	}
	w, err := split(r.baseline.Rule, was, int(goal))
	if err != nil {
		return false, err
	}
	return p.canary >= 0 && weightOf(refs[p.stable]) == w.stable && weightOf(refs[p.canary]) == w.canary, nil
}

// Move writes the weights of goal, provided the route stands at from (or at
// goal already). It returns rollout.ErrSuperseded when the stamp is another's and ErrDrift
// when the weights are.
func (r *HTTPRoute) Move(ctx context.Context, from, goal rollout.Goal) error {
	var last error
	for range patchAttempts {
		route, err := r.get(ctx)
		if err != nil {
			return err
		}
		ops, err := r.plan(route, from, goal)
		if err != nil || ops == nil {
			return err
		}
		_, refused, err := r.patch(ctx, ops)
		if err == nil {
			return nil
		}
		if !refused {
			return err
		}
		last = err
	}
	return last
}

// plan builds the patch that takes route to goal; nil when it is there.
func (r *HTTPRoute) plan(route *unstructured.Unstructured, from, goal rollout.Goal) ([]operation, error) {
	if route.GetAnnotations()[StampAnnotation] != r.stamp {
		return nil, errFenced(r.name)
	}
	p, err := r.find(route)
	if err != nil {
		return nil, err
	}
	rule := rulesOf(route)[p.rule]
	if at, err := r.isAt(rule, p, goal); err != nil || at {
		return nil, err
	}
	was := place{stable: r.baseline.stable, canary: r.baseline.canary}
	if goal == rollout.Baseline {
		return restorePatch(r.stamp, rule, p, r.baseline.Rule, was), nil
	}
	if at, err := r.isAt(rule, p, from); err != nil || !at {
		if err == nil {
			err = fmt.Errorf("httproute %s: canary share is %.4g%%, written by %s, not %s: %w",
				r.name, shareIn(rule, p), cmp.Or(lastWriter(route), "an unnamed manager"), from, rollout.ErrDrift)
		}
		return nil, err
	}
	w, err := split(r.baseline.Rule, was, int(goal))
	if err != nil {
		return nil, err
	}
	return movePatch(r.stamp, rule, p, w, r.canaryRef()), nil
}

// canaryRef is the backendRef that lists the canary: stable's, renamed.
func (r *HTTPRoute) canaryRef() map[string]any {
	stable, _ := r.Backends()
	ref := map[string]any{}
	for _, key := range []string{"group", "kind", "namespace", "port"} {
		if value, ok := stable[key]; ok {
			ref[key] = value
		}
	}
	ref["name"] = bareName(r.selection.Canary)
	return ref
}

func bareName(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

// Release removes our stamp. A route that carries another's stamp, or none, is
// left alone.
func (r *HTTPRoute) Release(ctx context.Context) error {
	var last error
	for range patchAttempts {
		route, err := r.get(ctx)
		if err != nil {
			return err
		}
		if r.stamp == "" || route.GetAnnotations()[StampAnnotation] != r.stamp {
			return nil
		}
		_, refused, err := r.patch(ctx, releasePatch(r.stamp, route.GetAnnotations(), ownEntries(route)))
		if err == nil {
			return nil
		}
		if !refused {
			return err
		}
		last = err
	}
	return last
}

// RemoveStable takes stable's backendRef out of the rule, once the canary has
// all of the traffic; removed is false when it is not listed any more. The
// route is stamped for the write and left without stamp.
func (r *HTTPRoute) RemoveStable(ctx context.Context, stamp string) (removed bool, err error) {
	for range patchAttempts {
		route, err := r.get(ctx)
		if err != nil {
			return false, err
		}
		if route.GetAnnotations()[StampAnnotation] == stamp {
			r.stamp = stamp
		} else if err := r.Seize(ctx, stamp); err != nil {
			return false, err
		} else {
			continue
		}
		p, err := locate(route, Selection{Rule: r.selection.Rule, Stable: r.selection.Stable, Canary: r.selection.Canary})
		if err != nil {
			return false, r.Release(ctx)
		}
		rule := rulesOf(route)[p.rule]
		if at, err := r.isAt(rule, p, 100); err != nil || !at {
			return false, cmp.Or(err, r.Release(ctx), fmt.Errorf("httproute %s: canary share is %.4g%%, not 100%%: %w", r.name, shareIn(rule, p), rollout.ErrDrift))
		}
		_, refused, err := r.patch(ctx, removeStablePatch(stamp, rule, p))
		if err == nil {
			return true, r.Release(ctx)
		}
		if !refused {
			return false, err
		}
	}
	return false, fmt.Errorf("httproute %s: patch was refused %d times", r.name, patchAttempts)
}

// ManualRestore is the one command that restores the baseline weights with
// nothing but kubectl, for the moment when we cannot.
func (r *HTTPRoute) ManualRestore(namespace string) string {
	was := place{rule: r.baseline.RuleIndex, stable: r.baseline.stable, canary: r.baseline.canary}
	ops := []operation{{Op: "add", Path: rulePath(was, "backendRefs"), Value: r.baseline.Rule["backendRefs"]}}
	return kubectlPatch(namespace, r.name, ops)
}

// acceptance reads status.parents: every parentRef must be Accepted with
// ResolvedRefs at the object's generation (Gateway API v1, RouteParentStatus).
func acceptance(route *unstructured.Unstructured) (bool, string) {
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
