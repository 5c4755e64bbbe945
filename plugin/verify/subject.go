package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// subject is TYPE/NAME as typed.
type subject struct {
	kind target.Kind
	name string
}

func (s subject) String() string { return s.kind.Name + "/" + s.name }

func parseSubject(args []string, kinds ...string) (subject, error) {
	wanted := "write it as TYPE/NAME, such as httproute/chat"
	if len(args) != 1 {
		return subject{}, exit.With(exit.Usage, hint.Errorf(wanted, "name one object as TYPE/NAME, got %d arguments", len(args)))
	}
	typed, name, ok := strings.Cut(args[0], "/")
	if !ok || typed == "" || name == "" || strings.Contains(name, "/") {
		return subject{}, exit.With(exit.Usage, hint.Errorf(wanted, "%q is not TYPE/NAME", args[0]))
	}
	kind, known := target.KindOf(typed)
	if !known || len(kinds) > 0 && !slices.Contains(kinds, kind.Name) {
		return subject{}, exit.With(exit.Usage, hint.Errorf(wanted, "%q: a %s cannot be verified", args[0], typed))
	}
	return subject{kind: kind, name: name}, nil
}

func read(ctx context.Context, clients *kube.Clients, s subject) (*unstructured.Unstructured, error) {
	object, err := clients.Dynamic.Resource(s.kind.Resource).Namespace(clients.Namespace).Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, hint.Wrap(fmt.Errorf("get %s in namespace %s: %w", s, clients.Namespace, err), "kubectl get "+s.kind.Resource.Resource+" -A")
	}
	if err != nil {
		return nil, fmt.Errorf("get %s in namespace %s: %w", s, clients.Namespace, err)
	}
	return object, nil
}

func typedRoute(object *unstructured.Unstructured) (*gatewayv1.HTTPRoute, error) {
	var route gatewayv1.HTTPRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &route); err != nil {
		return nil, fmt.Errorf("read httproute %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return &route, nil
}

// copies says whether any rule of a route has a RequestMirror filter.
func copies(route *gatewayv1.HTTPRoute) bool {
	return slices.ContainsFunc(route.Spec.Rules, func(rule gatewayv1.HTTPRouteRule) bool {
		return slices.ContainsFunc(rule.Filters, func(f gatewayv1.HTTPRouteFilter) bool { return f.RequestMirror != nil })
	})
}

// poolsOf resolves the pools behind a route's shares.
func poolsOf(ctx context.Context, clients *kube.Clients, s subject, shares []target.Share) ([]evidence.Pool, error) {
	var pools []evidence.Pool
	for _, share := range shares {
		if share.Kind != "InferencePool" || !evidence.KnownPools(share.Group) {
			return nil, hint.Errorf("only backends of kind InferencePool have counters to compare", "%s: backend %s is a %s", s, share.Name, share.Kind)
		}
		pool, err := evidence.ResolvePool(ctx, clients, share.Namespace, evidence.PoolRef{Group: share.Group, Name: share.Name})
		if err != nil {
			return nil, err
		}
		pools = append(pools, pool)
	}
	return pools, nil
}

// modelsIn are the arms of an InferenceModel or InferenceModelRewrite.
func modelsIn(ctx context.Context, clients *kube.Clients, s subject, shares []target.Share) ([]evidence.Pool, error) {
	all, err := clients.Dynamic.Resource(s.kind.Resource).Namespace(clients.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list %s in namespace %s: %w", s.kind.Resource.Resource, clients.Namespace, err)
	}
	own, err := evidence.SoleOwner(all.Items, s.name)
	if err != nil {
		return nil, err
	}
	pool, err := evidence.ResolvePool(ctx, clients, clients.Namespace, evidence.PoolOf(own))
	if err != nil {
		return nil, err
	}
	var arms []evidence.Pool
	for _, share := range shares {
		arm := pool
		arm.Model = share.Name
		arms = append(arms, arm)
	}
	return arms, nil
}

// gatewayOf is where a route is served: the first parentRef that leads somewhere.
func gatewayOf(ctx context.Context, clients *kube.Clients, route *gatewayv1.HTTPRoute) (string, error) {
	err := hint.Errorf("--gateway http://HOST:PORT", "httproute %s/%s has no Gateway among its parentRefs", route.Namespace, route.Name)
	for _, ref := range route.Spec.ParentRefs {
		if deref(ref.Kind, "Gateway") != "Gateway" {
			continue
		}
		namespace := string(deref(ref.Namespace, gatewayv1.Namespace(route.Namespace)))
		object, getErr := clients.Dynamic.Resource(kube.Gateways()).Namespace(namespace).Get(ctx, string(ref.Name), metav1.GetOptions{})
		if getErr != nil {
			err = hint.Wrap(fmt.Errorf("get gateway %s/%s, the parent of httproute %s: %w", namespace, ref.Name, route.Name, getErr), "kubectl get gateways -A; or --gateway http://HOST:PORT")
			continue
		}
		var gateway gatewayv1.Gateway
		if convertErr := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &gateway); convertErr != nil {
			err = fmt.Errorf("read gateway %s/%s: %w", namespace, ref.Name, convertErr)
			continue
		}
		var base string
		if base, err = address(&gateway, ref); err == nil {
			return base, nil
		}
	}
	return "", err
}

// routeTo finds the rule that brings requests for a model to a pool: one that
// names the model before one that takes every model.
func routeTo(ctx context.Context, clients *kube.Clients, pool evidence.Pool, model string) (*gatewayv1.HTTPRoute, int, error) {
	list, err := clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(pool.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("list httproutes in namespace %s: %w", pool.Namespace, err)
	}
	var open *gatewayv1.HTTPRoute
	var openRule int
	for i := range list.Items {
		route, err := typedRoute(&list.Items[i])
		if err != nil {
			return nil, 0, err
		}
		for k, rule := range route.Spec.Rules {
			if !slices.ContainsFunc(rule.BackendRefs, func(ref gatewayv1.HTTPBackendRef) bool { return string(ref.Name) == pool.Name }) {
				continue
			}
			if slices.Contains(modelsOf(rule), model) {
				return route, k, nil
			}
			if open == nil && openToAll(rule) {
				open, openRule = route, k
			}
		}
	}
	if open == nil {
		return nil, 0, hint.Errorf("kubectl get httproutes -n "+pool.Namespace+" -o yaml   # which matches lead to the pool, and for which models?",
			"no httproute brings requests for model %s to inferencepool %s/%s", model, pool.Namespace, pool.Name)
	}
	return open, openRule, nil
}
