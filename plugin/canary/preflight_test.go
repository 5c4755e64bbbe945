package canary

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// openedWith is a route over two pools, opened from a cluster where it carries
// these annotations and was last written by manager.
func openedWith(t *testing.T, annotations map[string]string, manager string) targets {
	t.Helper()
	ref := func(pool string, weight int64) any {
		return map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool, "weight": weight}
	}
	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{"name": "chat", "namespace": "default"},
		"spec":     map[string]any{"rules": []any{map[string]any{"backendRefs": []any{ref("v1", 100), ref("v2", 0)}}}},
	}}
	route.SetAnnotations(annotations)
	route.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:rules":{}}}`),
	}})
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{kube.HTTPRoutes(): "HTTPRouteList"}, route)
	kind, _ := target.KindOf("httproute")
	opened, err := target.Open(t.Context(), client, kind, "default", "chat", target.Selection{Stable: "v1", Canary: "v2"})
	if err != nil {
		t.Fatal(err)
	}
	return targets{opened}
}

func TestAGitOpsOwnerIsRefusedUnlessSomebodyAnswersForIt(t *testing.T) {
	t.Parallel()
	argo := map[string]string{"argocd.argoproj.io/tracking-id": "apps:HTTPRoute:default/chat"}
	helm := map[string]string{"meta.helm.sh/release-name": "chat"}
	tests := map[string]struct {
		annotations map[string]string
		manager     string
		answer      string
		err, hint   string
		note        string
	}{
		"Argo CD is refused, with its ignore rule":       {argo, "argocd-controller", "", "owned by Argo CD (field manager argocd-controller), which would revert", "ignoreDifferences", ""},
		"Argo CD whose weights are ignored is let by":    {argo, "argocd-controller", "ignored", "", "", ""},
		"Argo CD that is suspended is let by":            {argo, "argocd-controller", "suspended", "", "", ""},
		"Flux is refused, with its suspend command":      {nil, "kustomize-controller", "", "owned by Flux", "flux suspend kustomization", ""},
		"Helm is refused, with its release":              {helm, "helm", "", "owned by Helm", "do not upgrade release chat", ""},
		"Helm that nobody runs meanwhile is let by":      {helm, "helm", "suspended", "", "", ""},
		"kubectl needs no answer, and its file is noted": {nil, "kubectl-client-side-apply", "", "", "", "belong to kubectl-client-side-apply: once promoted, put canary share 100%"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := openedWith(t, tt.annotations, tt.manager)
			err := list.checkOwners(tt.answer)
			if (err != nil) != (tt.err != "") {
				t.Fatalf("error %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), tt.hint) || refusal(err) != exit.PreflightRefused) {
				t.Errorf("error %q, hint %q, code %d", err, hint.Of(err), refusal(err))
			}
			if notes := strings.Join(list.ownerNotes(rollout.Plan{Steps: []int{25, 100}}), "\n"); !strings.Contains(notes, tt.note) || (notes == "") != (tt.note == "") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

func TestHowTheCanaryIsProbedIsSaidInOnePlace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		err  string
	}{
		"by default pods are asked":         {nil, ""},
		"pods need nothing more":            {[]string{"--probe=pod"}, ""},
		"the gateway needs its address":     {[]string{"--probe=gateway"}, "--probe=gateway asks at --probe-url"},
		"an address has a scheme":           {[]string{"--probe=gateway", "--probe-url=10.0.0.1:80"}, "is no address"},
		"headers are NAME=VALUE":            {[]string{"--probe=gateway", "--probe-url=http://gw", "--probe-header=x-canary"}, "has no name and value"},
		"the gateway, by a header":          {[]string{"--probe=gateway", "--probe-url=http://gw", "--probe-header=x-canary=yes", "--probe-model=qwen"}, ""},
		"an address alone is misunderstood": {[]string{"--probe-url=http://gw"}, "--probe is auto"},
		"another word is refused":           {[]string{"--probe=route"}, `--probe "route" is not one of`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p probing
			cmd := &cobra.Command{}
			p.add(cmd)
			if err := cmd.ParseFlags(tt.args); err != nil {
				t.Fatal(err)
			}
			err := p.check()
			if (err != nil) != (tt.err != "") || err != nil && (!strings.Contains(err.Error(), tt.err) || exit.CodeOf(err) != exit.Usage) {
				t.Errorf("error %v", err)
			}
		})
	}
}
