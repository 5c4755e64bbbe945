package install

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
)

// uninstall deletes everything in the namespace that install of this program
// made under this name, by its labels, whatever the flags were, and waits until
// the Pods are gone. The wiring goes first: a gateway must not call what is gone.
func (s *server) uninstall(ctx context.Context, clients *kube.Clients) error {
	set := scaffold.Labels("install-" + s.program)
	set[scaffold.PartOf] = s.name
	found, err := s.find(ctx, clients, labels.SelectorFromSet(set).String())
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintf(s.streams.Out, "nothing of %s %s is in namespace %s\n", s.program, s.name, clients.Namespace)
		return nil
	}
	for _, f := range found {
		name, uid := apply.Name(f.object), f.object.GetUID()
		background := metav1.DeletePropagationBackground
		err := clients.Dynamic.Resource(f.at).Namespace(clients.Namespace).Delete(ctx, f.object.GetName(),
			metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s in namespace %s: %w", name, clients.Namespace, err)
		}
		fmt.Fprintln(s.streams.Out, name, "deleted")
	}
	for _, f := range found {
		if f.at.Resource != "deployments" {
			continue
		}
		deployment := &appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(f.object.Object, deployment); err != nil {
			return fmt.Errorf("read %s: %w", apply.Name(f.object), err)
		}
		if err := s.awaitGone(ctx, clients, selectorOf(deployment)); err != nil {
			return err
		}
	}
	return nil
}

// installed is one object that install made.
type installed struct {
	at     schema.GroupVersionResource
	object *unstructured.Unstructured
}

// find lists what install made: the kinds of gateways first, then our own.
func (s *server) find(ctx context.Context, clients *kube.Clients, selector string) ([]installed, error) {
	var wiring, own []installed
	for _, at := range apply.Resources() {
		list, err := clients.Dynamic.Resource(at).Namespace(clients.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if apierrors.IsNotFound(err) {
			continue // the kind is not installed, so it has no objects
		}
		if apierrors.IsForbidden(err) && !common(at.Group) {
			s.note("%s may not be listed: if install made any, they stay", at.GroupResource())
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s in namespace %s: %w", at.GroupResource(), clients.Namespace, err)
		}
		for i := range list.Items {
			f := installed{at: at, object: &list.Items[i]}
			if common(at.Group) {
				own = append(own, f)
			} else {
				wiring = append(wiring, f)
			}
		}
	}
	return append(wiring, own...), nil
}

// common says whether a group is of every cluster.
func common(group string) bool {
	for _, g := range []string{"", "apps", "autoscaling", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"} {
		if g == group {
			return true
		}
	}
	return false
}
