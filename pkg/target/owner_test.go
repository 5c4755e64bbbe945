package target

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	rules  = `{"f:spec":{"f:rules":{}}}`
	others = `{"f:metadata":{"f:labels":{"f:app":{}}}}`
	status = `{"f:status":{"f:parents":{}}}`
)

// wroteBy is a managedFields entry: who wrote which fields, how.
func wroteBy(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	entry := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
	if fields == status {
		entry.Subresource = "status"
	}
	return entry
}

type metadata struct {
	labels, annotations map[string]string
	managers            []metav1.ManagedFieldsEntry
}

func (m metadata) route() *unstructured.Unstructured {
	route := routeOf()
	route.SetLabels(m.labels)
	route.SetAnnotations(m.annotations)
	route.SetManagedFields(m.managers)
	return route
}

func TestWhoseARouteIs(t *testing.T) {
	t.Parallel()
	const apply, update = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate
	by := func(entries ...metav1.ManagedFieldsEntry) metadata { return metadata{managers: entries} }
	tests := map[string]struct {
		metadata
		tool, sign, suspend string
	}{
		"Argo CD by its tracking annotation":          {metadata{annotations: map[string]string{"argocd.argoproj.io/tracking-id": "apps:gateway.networking.k8s.io/HTTPRoute:default/chat"}}, "Argo CD", "argocd.argoproj.io/tracking-id=apps:", "ignoreDifferences"},
		"Argo CD by its instance label":               {metadata{labels: map[string]string{"argocd.argoproj.io/instance": "apps"}}, "Argo CD", "argocd.argoproj.io/instance=apps", "name: chat, jqPathExpressions"},
		"Argo CD by a server-side apply of the rules": {by(wroteBy("argocd-controller", apply, rules)), "Argo CD", "field manager argocd-controller", "RespectIgnoreDifferences=true"},
		"Argo CD by a client-side update":             {by(wroteBy("argocd-controller", update, rules)), "Argo CD", "field manager argocd-controller", "--gitops=ignored"},
		"a manager that wrote no rules is no owner":   {by(wroteBy("argocd-controller", update, others)), "", "", ""},
		"nor is one that wrote the status":            {by(wroteBy("argocd-controller", update, status)), "", "", ""},
		"Flux by a Kustomization's labels": {
			metadata{labels: map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}},
			"Flux", "kustomize.toolkit.fluxcd.io/name=apps", "flux suspend kustomization apps -n flux-system",
		},
		"Flux by a HelmRelease's labels, though Helm wrote it": {
			metadata{
				labels:      map[string]string{"helm.toolkit.fluxcd.io/name": "chat", "helm.toolkit.fluxcd.io/namespace": "apps"},
				annotations: map[string]string{"meta.helm.sh/release-name": "chat"},
				managers:    []metav1.ManagedFieldsEntry{wroteBy("helm-controller", update, rules)},
			},
			"Flux", "field manager helm-controller", "flux suspend helmrelease chat -n apps",
		},
		"Flux by its manager alone": {by(wroteBy("kustomize-controller", apply, rules)), "Flux", "field manager kustomize-controller", "flux suspend kustomization NAME"},
		"Helm by its release": {
			metadata{annotations: map[string]string{"meta.helm.sh/release-name": "chat"}, labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}},
			"Helm", "meta.helm.sh/release-name=chat", "do not upgrade release chat",
		},
		"Helm by its manager": {by(wroteBy("helm", update, rules)), "Helm", "field manager helm", "--gitops=suspended"},
		"kubectl is hands":    {by(wroteBy("kubectl-client-side-apply", update, rules)), "", "", ""},
		"so are we":           {by(wroteBy(FieldManager, update, rules)), "", "", ""},
		"a chart's labels without a release are none": {metadata{labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}}, "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ownerOf(tt.route())
			if got.Tool != tt.tool || !strings.HasPrefix(got.Sign, tt.sign) || !strings.Contains(got.Suspend, tt.suspend) {
				t.Errorf("owner %+v, want %s by %q with %q", got, tt.tool, tt.sign, tt.suspend)
			}
			if (got.Suspend == "") != (tt.tool == "") {
				t.Errorf("%q is said of %q", got.Suspend, got.Tool)
			}
		})
	}
}

func TestManagersOfTheRulesAreNamedForTheNote(t *testing.T) {
	t.Parallel()
	got := ownerOf(metadata{managers: []metav1.ManagedFieldsEntry{
		wroteBy("kubectl-client-side-apply", metav1.ManagedFieldsOperationUpdate, rules),
		wroteBy("autoscaler", metav1.ManagedFieldsOperationUpdate, others),
		wroteBy(FieldManager, metav1.ManagedFieldsOperationUpdate, rules),
	}}.route())
	if strings.Join(got.Managers, ",") != "kubectl-client-side-apply" {
		t.Errorf("managers %v", got.Managers)
	}
}
