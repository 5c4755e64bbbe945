package create

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// decode makes a typed object of one that was read.
func decode(from *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, into); err != nil {
		return fmt.Errorf("read %s %s: %w", strings.ToLower(from.GetKind()), from.GetName(), err)
	}
	return nil
}

// findGateway reads the Gateway called name, or the only one of the namespace.
func findGateway(ctx context.Context, clients *kube.Clients, namespace, name string) (*gwv1.Gateway, error) {
	list, err := clients.Dynamic.Resource(kube.Gateways()).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list gateways in namespace %s: %w", namespace, err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
		if list.Items[i].GetName() == name || (name == "" && len(list.Items) == 1) {
			gateway := &gwv1.Gateway{}
			return gateway, decode(&list.Items[i], gateway)
		}
	}
	switch {
	case len(names) == 0:
		return nil, hint.Errorf("kubectl get gateways -A, then --gateway NAMESPACE/NAME", "namespace %s has no Gateway", namespace)
	case name == "":
		return nil, exit.With(exit.Usage, hint.Errorf("--gateway "+names[0], "namespace %s has several Gateways: %s", namespace, strings.Join(names, ", ")))
	}
	return nil, hint.Errorf("--gateway "+names[0], "gateway %s is not in namespace %s, which has %s", name, namespace, strings.Join(names, ", "))
}

// checkListener refuses a listener that gateway does not have.
func checkListener(gateway *gwv1.Gateway, section string) error {
	var names []string
	for _, l := range gateway.Spec.Listeners {
		if section == "" || string(l.Name) == section {
			return nil
		}
		names = append(names, string(l.Name))
	}
	return hint.Errorf("--section "+names[0], "gateway %s has no listener %s, only %s", gateway.Name, section, strings.Join(names, ", "))
}

// poolGroup is the API group in which the pool is found; "" if in none.
func poolGroup(ctx context.Context, clients *kube.Clients, namespace, pool, only string) (string, error) {
	for _, at := range []schema.GroupVersionResource{kube.InferencePools(), kube.AlphaInferencePools()} {
		if only != "" && only != at.Group {
			continue
		}
		_, err := clients.Dynamic.Resource(at).Namespace(namespace).Get(ctx, pool, metav1.GetOptions{})
		if err == nil {
			return at.Group, nil
		}
		if !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("get inferencepool %s in namespace %s: %w", pool, namespace, err)
		}
	}
	return "", nil
}

// listRoutes are the HTTPRoutes of all namespaces, or of this one where no more
// may be seen.
func (b *base) listRoutes(ctx context.Context, clients *kube.Clients) ([]*gwv1.HTTPRoute, error) {
	all := clients.Dynamic.Resource(kube.HTTPRoutes())
	list, err := all.List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		b.note("routes of other namespaces may not be read, so only those of %s are compared", clients.Namespace)
		list, err = all.Namespace(clients.Namespace).List(ctx, metav1.ListOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("list httproutes: %w", err)
	}
	routes := make([]*gwv1.HTTPRoute, len(list.Items))
	for i := range list.Items {
		routes[i] = &gwv1.HTTPRoute{}
		if err := decode(&list.Items[i], routes[i]); err != nil {
			return nil, err
		}
	}
	return routes, nil
}
