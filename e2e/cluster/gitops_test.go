package cluster_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// rewrite changes a route as manager does.
func rewrite(t *testing.T, name, manager string, kind types.PatchType, patch string) {
	t.Helper()
	routes := shared.s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace)
	if _, err := routes.Patch(t.Context(), name, kind, []byte(patch), metav1.PatchOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
}

func TestARouteOfArgoCDIsRefusedUntilItsWeightsAreIgnored(t *testing.T) {
	t.Parallel()
	newRoute(t, "argo", 100, 0)
	rewrite(t, "argo", "argocd-controller", types.MergePatchType,
		`{"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"apps:gateway.networking.k8s.io/HTTPRoute:default/argo"}}}`)
	before := getRoute(t, "argo")
	out := shared.s.command(t.Context(), quick("argo", "50,100")...)
	for _, text := range []string{"owned by Argo CD (argocd.argoproj.io/tracking-id=apps:", "ignoreDifferences", "RespectIgnoreDifferences=true", "--gitops=ignored"} {
		if out.code != 16 || !strings.Contains(out.stderr, text) {
			t.Errorf("want exit 16 and %q: %v", text, out)
		}
	}
	if after := getRoute(t, "argo"); after.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("a refused run wrote the route")
	}
	if out := shared.s.command(t.Context(), quick("argo", "50,100", "--gitops=ignored")...); out.code != 0 || canaryWeight(getRoute(t, "argo")) != 100 {
		t.Errorf("with --gitops=ignored: %v", out)
	}
}

// TestAGitOpsOwnerIsRefusedAndADriftIsNamed lets Flux revert a weight while the
// run looks at metrics only every 30 s: the watch must notice.
func TestAGitOpsOwnerIsRefusedAndADriftIsNamed(t *testing.T) {
	t.Parallel()
	newRoute(t, "gitops", 100, 0)
	rewrite(t, "gitops", "kustomize-controller", types.MergePatchType,
		`{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"flux-system"}}}`)
	out := shared.s.command(t.Context(), quick("gitops", "50,100")...)
	if out.code != 16 || !strings.Contains(out.stderr, "owned by Flux") || !strings.Contains(out.stderr, "flux suspend kustomization apps -n flux-system") {
		t.Errorf("a route of Flux: %v", out)
	}
	var mu sync.Mutex
	var reads []time.Time // of the route
	kubeconfig := proxied(t, func(forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/httproutes/gitops") {
			mu.Lock()
			reads = append(reads, time.Now())
			mu.Unlock()
		}
		forward.ServeHTTP(w, r)
	})
	ended := make(chan output, 1)
	cmd := shared.s.prepareCommand(t.Context(), kubeconfig, quick("gitops", "50,100", "--bake", "10m", "--gitops=suspended", "--scrape-interval", "30s")...)
	go func() { ended <- collect(cmd) }()
	eventually(t, time.Minute, "the canary bakes", func() bool { return recorded(t, "gitops").Phase == "Settling" })
	reverted := time.Now()
	rewrite(t, "gitops", "kustomize-controller", types.JSONPatchType, `[{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":7}]`)
	if out := <-ended; out.code != 13 || !strings.Contains(out.stderr, "kustomize-controller (update at") || !strings.Contains(out.stderr, "hint: flux suspend kustomization apps") {
		t.Errorf("the drifted run: %v", out)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, at := range reads {
		if took := at.Sub(reverted); took > 0 {
			t.Logf("the route was read again %v after the foreign write", took.Round(time.Millisecond))
			if took > 10*time.Second { // 250 ms on a quiet machine; a scrape would take up to 30 s
				t.Errorf("noticed only after %v: by a scrape, not by the watch", took)
			}
			break
		}
	}
	verb(t, 0, "abort requested", "abort", "httproute/gitops", "--lease-duration", "1s")
}
