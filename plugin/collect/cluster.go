package collect

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// bundleAnnotation names the Gateway API release that a definition is of.
const bundleAnnotation = "gateway.networking.k8s.io/bundle-version"

// Cluster adds what is not of a namespace: definitions, classes, and the pods
// and images that gateways run.
func Cluster(ctx context.Context, clients *kube.Clients, s *doctor.Snapshot) error {
	c := &collector{clients: clients, s: *s}
	for _, read := range []func(context.Context) error{c.definitions, c.classes, c.proxies, c.images} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	*s = c.s
	return nil
}

// definitions are what discovery says, which everybody may ask, and of each
// definition what its object says, if the user may read it.
func (c *collector) definitions(ctx context.Context) error {
	groups, err := c.clients.Core.Discovery().ServerGroups()
	if err != nil {
		return fmt.Errorf("list API groups: %w", err)
	}
	for _, group := range groups.Groups {
		c.s.Groups = append(c.s.Groups, group.Name)
	}
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	for _, wanted := range []schema.GroupVersionResource{kube.HTTPRoutes(), kube.InferencePools(), kube.AlphaInferencePools()} {
		d := doctor.Definition{Name: wanted.Resource + "." + wanted.Group, Wanted: wanted.Version}
		for _, group := range groups.Groups {
			for _, version := range group.Versions {
				if group.Name != wanted.Group {
					continue
				}
				served, err := c.serves(version.GroupVersion, wanted.Resource)
				if err != nil {
					return err
				}
				if served {
					d.Versions = append(d.Versions, version.Version)
				}
			}
		}
		object, err := c.clients.Dynamic.Resource(crds).Get(ctx, d.Name, metav1.GetOptions{})
		if err == nil {
			d.Bundle, d.Problem = object.GetAnnotations()[bundleAnnotation], broken(object)
		} else if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("get customresourcedefinition %s: %w", d.Name, err)
		}
		if len(d.Versions) > 0 || d.Problem != "" {
			c.s.Definitions = append(c.s.Definitions, d)
		}
	}
	return nil
}

func (c *collector) serves(groupVersion, resource string) (bool, error) {
	list, err := c.clients.Core.Discovery().ServerResourcesForGroupVersion(groupVersion)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list resources of %s: %w", groupVersion, err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }), nil
}

// broken says why a definition is not established.
func broken(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		m, _ := condition.(map[string]any)
		if (m["type"] == "Established" || m["type"] == "NamesAccepted") && m["status"] == "False" {
			return fmt.Sprintf("%v: %v", m["reason"], m["message"])
		}
	}
	return ""
}

func (c *collector) classes(ctx context.Context) error {
	list, err := c.list(ctx, schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}, "")
	for i := range list {
		class, err := typed[gatewayv1.GatewayClass](&list[i])
		if err != nil {
			return err
		}
		c.s.Classes = append(c.s.Classes, class)
	}
	return err
}

// proxies are the pods that run gateways, by the label of the Gateway API
// (GEP-1762) or Envoy Gateway's own. Who may not list them learns no version.
func (c *collector) proxies(ctx context.Context) error {
	seen := map[string]bool{}
	for _, label := range []string{"gateway.networking.k8s.io/gateway-name", "gateway.envoyproxy.io/owning-gateway-name"} {
		list, err := c.clients.Core.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: label})
		if apierrors.IsForbidden(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list pods of gateways: %w", err)
		}
		for _, pod := range list.Items {
			if !seen[string(pod.UID)] {
				seen[string(pod.UID)] = true
				c.s.Proxies = append(c.s.Proxies, pod)
			}
		}
	}
	return nil
}

// images are those of Deployments in all namespaces, among them the gateways'
// controllers.
func (c *collector) images(ctx context.Context) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.clients.Core.AppsV1().Deployments("").List(ctx, options)
		if apierrors.IsForbidden(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list deployments: %w", err)
		}
		for i := range list.Items {
			for _, container := range list.Items[i].Spec.Template.Spec.Containers {
				c.s.Images = append(c.s.Images, container.Image)
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}
