// Package discover asks a cluster what the verbs that make objects must know:
// which provider its gateway is, which kinds it serves. Start at Provider; what
// the answers mean is decided in package provider.
package discover

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// deploymentLimit bounds how many Deployments are read for their images.
const deploymentLimit = 500

// Settle is the provider: the one that --provider names, else the one that the
// cluster shows for class, and then why. offline forbids to ask.
func Settle(ctx context.Context, clients *kube.Clients, name, class string, offline bool) (provider.Provider, string, error) {
	switch {
	case name != "":
		p, err := provider.Named(name)
		return p, "", exit.With(exit.Usage, err)
	case offline:
		names := provider.Names()
		return provider.Provider{}, "", exit.With(exit.Usage, hint.Errorf("--provider "+names[0],
			"--dry-run=client asks no cluster, so it needs --provider: one of %s", strings.Join(names, ", ")))
	}
	return Provider(ctx, clients, class)
}

// Provider is the one that the cluster speaks for, and why. class is the
// GatewayClass of the Gateway in question; empty takes all classes.
func Provider(ctx context.Context, clients *kube.Clients, class string) (provider.Provider, string, error) {
	facts := provider.Facts{}
	classes, err := clients.Dynamic.Resource(kube.GatewayClasses()).List(ctx, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return provider.Provider{}, "", fmt.Errorf("list gatewayclasses: %w", err)
	}
	if err == nil {
		for i := range classes.Items {
			c := provider.Class{Name: classes.Items[i].GetName()}
			c.Controller, _, _ = unstructured.NestedString(classes.Items[i].Object, "spec", "controllerName")
			if class == "" || class == c.Name {
				facts.Classes = append(facts.Classes, c)
			}
		}
	}
	groups, err := clients.Core.Discovery().ServerGroups()
	if err != nil {
		return provider.Provider{}, "", fmt.Errorf("list API groups: %w", err)
	}
	for _, g := range groups.Groups {
		facts.Kinds = append(facts.Kinds, schema.GroupKind{Group: g.Name})
	}
	facts.Images = images(ctx, clients)
	found, why := provider.Detect(facts)
	return found, why, nil
}

// ClassOf is the GatewayClass of a Gateway of the clients' namespace.
func ClassOf(ctx context.Context, clients *kube.Clients, gateway string) (string, error) {
	found, err := clients.Dynamic.Resource(kube.Gateways()).Namespace(clients.Namespace).Get(ctx, gateway, metav1.GetOptions{})
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("get gateway %s in namespace %s: %w", gateway, clients.Namespace, err), "kubectl get gateways -A, then -n NAMESPACE --gateway NAME")
	}
	class, _, _ := unstructured.NestedString(found.Object, "spec", "gatewayClassName")
	return class, nil
}

// images are those of Deployments, where they may be read: they only tell forks
// of one gateway apart.
func images(ctx context.Context, clients *kube.Clients) []string {
	list, err := clients.Core.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: deploymentLimit})
	if err != nil {
		return nil
	}
	var all []string
	for i := range list.Items {
		for _, c := range list.Items[i].Spec.Template.Spec.Containers {
			all = append(all, c.Image)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Serves says whether the cluster serves a kind.
func Serves(clients *kube.Clients, at schema.GroupVersionResource) (bool, error) {
	list, err := clients.Core.Discovery().ServerResourcesForGroupVersion(at.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list the kinds of %s: %w", at.GroupVersion(), err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == at.Resource }), nil
}

// HasSplit says whether the InferenceModelRewrite that is served calls its list
// of targets split, as inference-extension v1.2 did, and not targets.
func HasSplit(clients *kube.Clients) (bool, error) {
	paths, err := clients.Core.Discovery().OpenAPIV3().Paths()
	if err != nil {
		return false, fmt.Errorf("list API schemas: %w", err)
	}
	group := kube.ModelRewrites().GroupVersion().String()
	at, ok := paths["apis/"+group]
	if !ok {
		return false, nil
	}
	text, err := at.Schema("application/json")
	if err != nil {
		return false, fmt.Errorf("read the schema of %s: %w", group, err)
	}
	return rulesHaveSplit(text)
}

// rulesHaveSplit looks into an OpenAPI document (version 3) for the fields of an
// InferenceModelRewrite's rules.
func rulesHaveSplit(document []byte) (bool, error) {
	type properties map[string]struct {
		Properties json.RawMessage
		Items      struct{ Properties map[string]json.RawMessage }
	}
	var schemas struct {
		Components struct {
			Schemas map[string]struct{ Properties properties }
		}
	}
	if err := json.Unmarshal(document, &schemas); err != nil {
		return false, fmt.Errorf("read the schema of InferenceModelRewrite: %w", err)
	}
	for name, schema := range schemas.Components.Schemas {
		spec, ok := schema.Properties["spec"]
		if !ok || !strings.HasSuffix(name, ".InferenceModelRewrite") {
			continue
		}
		var inside properties
		if err := json.Unmarshal(spec.Properties, &inside); err != nil {
			return false, fmt.Errorf("read the schema of %s: %w", name, err)
		}
		_, split := inside["rules"].Items.Properties["split"]
		return split, nil
	}
	return false, nil
}
