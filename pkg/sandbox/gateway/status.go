package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

const fieldManager = "kubectl-infer-sandbox-gateway"

// refusedStatuses says on every Gateway and listener what Envoy refused.
func refusedStatuses(s translate.Statuses, refused *xds.RefusedError) translate.Statuses {
	message := "Envoy refused the configuration, the one before keeps serving: " + refused.Message
	for _, gw := range s.Gateways {
		refuseGateway(gw, message)
	}
	return s
}

// lostStatuses says on every Gateway and listener that nothing serves it.
func lostStatuses(s translate.Statuses) translate.Statuses {
	for _, gw := range s.Gateways {
		refuseGateway(gw, "Envoy ended and is started again; until it serves, nobody does")
	}
	return s
}

// writeStatuses makes the statuses in the API server say what they must. With
// routed false those of routes and pools are left as they are.
func (c *cluster) writeStatuses(ctx context.Context, s translate.Statuses, routed bool) error {
	errs := []error{c.writeClasses(ctx, s), c.writeGateways(ctx, s)}
	if routed {
		errs = append(errs, c.writeRoutes(ctx, s), c.writePools(ctx, s), c.writeOldPools(ctx, s), c.writePolicies(ctx, s))
	}
	return errors.Join(errs...)
}

func (c *cluster) writeClasses(ctx context.Context, s translate.Statuses) error {
	var errs []error
	for name, conditions := range s.Classes {
		class, err := c.classes.Get(name)
		if err != nil {
			continue // it is gone
		}
		status := *class.Status.DeepCopy()
		for _, condition := range conditions {
			meta.SetStatusCondition(&status.Conditions, c.stamped(condition))
		}
		if !equality.Semantic.DeepEqual(class.Status, status) {
			errs = append(errs, patchStatus(ctx, "gatewayclass", class, status, c.gw.GatewayV1().GatewayClasses().Patch))
		}
	}
	return errors.Join(errs...)
}

func (c *cluster) writeGateways(ctx context.Context, s translate.Statuses) error {
	var errs []error
	for name, status := range s.Gateways {
		gw, err := c.gateways.Gateways(name.Namespace).Get(name.Name)
		if err != nil {
			continue
		}
		status.Conditions = since(gw.Status.Conditions, status.Conditions, c.now())
		for i := range status.Listeners {
			l := &status.Listeners[i]
			l.Conditions = since(listenerConditions(gw.Status, l.Name), l.Conditions, c.now())
		}
		if !equality.Semantic.DeepEqual(gw.Status, status) {
			errs = append(errs, patchStatus(ctx, "gateway", gw, status, c.gw.GatewayV1().Gateways(name.Namespace).Patch))
		}
	}
	return errors.Join(errs...)
}

func listenerConditions(s gwv1.GatewayStatus, name gwv1.SectionName) []metav1.Condition {
	for _, l := range s.Listeners {
		if l.Name == name {
			return l.Conditions
		}
	}
	return nil
}

func (c *cluster) writeRoutes(ctx context.Context, s translate.Statuses) error {
	routes, err := c.routes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list httproutes: %w", err)
	}
	var errs []error
	for _, route := range routes {
		wanted := s.Routes[types.NamespacedName{Namespace: route.Namespace, Name: route.Name}]
		status := gwv1.HTTPRouteStatus{RouteStatus: gwv1.RouteStatus{Parents: routeParents(route.Status.Parents, wanted, c.now())}}
		if !equality.Semantic.DeepEqual(route.Status, status) {
			errs = append(errs, patchStatus(ctx, "httproute", route, status, c.gw.GatewayV1().HTTPRoutes(route.Namespace).Patch))
		}
	}
	return errors.Join(errs...)
}

// routeParents keeps other controllers' entries and replaces ours.
func routeParents(current, wanted []gwv1.RouteParentStatus, now time.Time) []gwv1.RouteParentStatus {
	parents := []gwv1.RouteParentStatus{}
	for _, p := range current {
		if !translate.Ours(string(p.ControllerName)) {
			parents = append(parents, p)
		}
	}
	for _, w := range wanted {
		i := slices.IndexFunc(current, func(p gwv1.RouteParentStatus) bool {
			return p.ControllerName == w.ControllerName && equality.Semantic.DeepEqual(p.ParentRef, w.ParentRef)
		})
		var before []metav1.Condition
		if i >= 0 {
			before = current[i].Conditions
		}
		w.Conditions = since(before, w.Conditions, now)
		parents = append(parents, w)
	}
	return parents
}

func (c *cluster) writePools(ctx context.Context, s translate.Statuses) error {
	pools, err := c.pools.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list inferencepools: %w", err)
	}
	var errs []error
	for _, pool := range pools {
		wanted := s.Pools[types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}]
		status := infv1.InferencePoolStatus{Parents: poolParents(pool.Status.Parents, wanted, c.now())}
		if !equality.Semantic.DeepEqual(pool.Status, status) {
			errs = append(errs, patchStatus(ctx, "inferencepool", pool, status, c.inf.InferenceV1().InferencePools(pool.Namespace).Patch))
		}
	}
	return errors.Join(errs...)
}

func poolParents(current, wanted []infv1.ParentStatus, now time.Time) []infv1.ParentStatus {
	parents := []infv1.ParentStatus{}
	for _, p := range current {
		if !translate.Ours(string(p.ControllerName)) {
			parents = append(parents, p)
		}
	}
	for _, w := range wanted {
		i := slices.IndexFunc(current, func(p infv1.ParentStatus) bool {
			return p.ControllerName == w.ControllerName && equality.Semantic.DeepEqual(p.ParentRef, w.ParentRef)
		})
		var before []metav1.Condition
		if i >= 0 {
			before = current[i].Conditions
		}
		w.Conditions = since(before, w.Conditions, now)
		parents = append(parents, w)
	}
	return parents
}

// since gives each condition its transition time: the one it had if its status
// is the same, else now.
func since(before, conditions []metav1.Condition, now time.Time) []metav1.Condition {
	out := slices.Clone(conditions)
	for i := range out {
		out[i].LastTransitionTime = metav1.NewTime(now).Rfc3339Copy()
		if old := meta.FindStatusCondition(before, out[i].Type); old != nil && old.Status == out[i].Status {
			out[i].LastTransitionTime = old.LastTransitionTime
		}
	}
	return out
}

func (c *cluster) stamped(condition metav1.Condition) metav1.Condition {
	condition.LastTransitionTime = metav1.NewTime(c.now()).Rfc3339Copy()
	return condition
}

// patchStatus replaces fields of an object's status, if it is still the object
// that was read. That it is gone, or newer, is not an error: its event comes.
func patchStatus[T any](ctx context.Context, kind string, o metav1.Object, status any,
	patch func(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (T, error),
) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.GetResourceVersion()},
		"status":   status,
	})
	if err != nil {
		return fmt.Errorf("build status of %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), err)
	}
	_, err = patch(ctx, o.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("patch status of %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), err)
}
