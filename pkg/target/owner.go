package target

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ownEntries are the indexes of our own managedFields entries, ascending.
func ownEntries(route *unstructured.Unstructured) []int {
	var own []int
	for i, e := range route.GetManagedFields() {
		if e.Manager == FieldManager {
			own = append(own, i)
		}
	}
	return own
}

// ownsRules says whether a managedFields entry holds spec.rules. A write that
// changes the rules takes them from every other manager: both lists in them are
// atomic (Gateway API v1, HTTPRouteSpec.rules).
func ownsRules(e metav1.ManagedFieldsEntry) bool {
	if e.FieldsV1 == nil || e.Subresource != "" {
		return false
	}
	var fields struct {
		Spec map[string]json.RawMessage `json:"f:spec"`
	}
	if json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
		return false
	}
	_, ok := fields.Spec["f:rules"]
	return ok
}

// lastWriter names who wrote the rules last, other than us: the manager, how
// and when. "" when nobody else did.
func lastWriter(route *unstructured.Unstructured) string {
	name, at := "", time.Time{}
	for _, e := range route.GetManagedFields() {
		if e.Manager == FieldManager || !ownsRules(e) || (e.Time != nil && e.Time.Time.Before(at)) {
			continue
		}
		if e.Time != nil {
			at = e.Time.Time
		}
		name = fmt.Sprintf("%s (%s at %s)", e.Manager, strings.ToLower(string(e.Operation)), at.UTC().Format(time.TimeOnly))
	}
	return name
}

// Owner is whose source of truth a route is rendered from.
type Owner struct {
	// Tool is "Argo CD", "Flux", "Helm", or "" for hands.
	Tool string
	// Sign is what gave it away.
	Sign string
	// Suspend is what to do so that it does not revert the weights.
	Suspend string
	// Managers are others that own the rules, for a note.
	Managers []string
	// Others are those of Managers that are not the tool's own.
	Others []string
}

// mark is one sign of a GitOps tool: a field manager, or the label or
// annotation by which it tracks what it applied.
type mark struct {
	tool     string
	managers []string
	keys     []string
}

func marks() []mark {
	return []mark{
		{
			tool: "Argo CD", managers: []string{"argocd-controller", "argocd-application-controller"},
			keys: []string{"argocd.argoproj.io/instance", "argocd.argoproj.io/tracking-id"},
		},
		{
			tool: "Flux", managers: []string{"kustomize-controller", "helm-controller"},
			keys: []string{"kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"},
		},
		{tool: "Helm", managers: []string{"helm"}, keys: []string{"meta.helm.sh/release-name"}},
	}
}

// OwnerOf is whose a route is, as one read found it.
func OwnerOf(route *unstructured.Unstructured) Owner { return ownerOf(route) }

// ownerOf recognises a GitOps owner by the manager of the rules, whatever its
// operation, or by a tracking label or annotation.
func ownerOf(route *unstructured.Unstructured) Owner {
	var o Owner
	var own []string
	for _, m := range marks() {
		for _, e := range route.GetManagedFields() {
			for _, name := range m.managers {
				if o.Tool == "" && e.Manager == name && ownsRules(e) {
					o.Tool, o.Sign = m.tool, "field manager "+name
				}
			}
		}
		for _, key := range m.keys {
			value := route.GetLabels()[key] + route.GetAnnotations()[key]
			if o.Tool == "" && value != "" {
				o.Tool, o.Sign = m.tool, key+"="+value
			}
		}
		if o.Tool == m.tool {
			own = m.managers
		}
	}
	for _, e := range route.GetManagedFields() {
		if ownsRules(e) && e.Manager != FieldManager {
			o.Managers = append(o.Managers, e.Manager)
			if o.Tool != "" && !slices.Contains(own, e.Manager) {
				o.Others = append(o.Others, e.Manager)
			}
		}
	}
	o.Suspend = suspend(o.Tool, route)
	return o
}

// suspend is the command or rule that keeps tool's hands off the weights.
func suspend(tool string, route *unstructured.Unstructured) string {
	labels, annotations := route.GetLabels(), route.GetAnnotations()
	switch tool {
	case "Argo CD":
		return fmt.Sprintf(`add to the Application, then give --gitops=ignored:
  spec:
    ignoreDifferences:
    - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: %s, jqPathExpressions: [".spec.rules[].backendRefs[].weight"]}
    syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}`, route.GetName())
	case "Flux":
		if name := labels["helm.toolkit.fluxcd.io/name"]; name != "" {
			return fmt.Sprintf("flux suspend helmrelease %s -n %s   # then give --gitops=suspended", name, labels["helm.toolkit.fluxcd.io/namespace"])
		}
		if name := labels["kustomize.toolkit.fluxcd.io/name"]; name != "" {
			return fmt.Sprintf("flux suspend kustomization %s -n %s   # then give --gitops=suspended", name, labels["kustomize.toolkit.fluxcd.io/namespace"])
		}
		return "flux suspend kustomization NAME   # then give --gitops=suspended"
	case "Helm":
		return fmt.Sprintf("do not upgrade release %s meanwhile, and give --gitops=suspended", annotations["meta.helm.sh/release-name"])
	}
	return ""
}
