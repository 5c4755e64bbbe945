package cluster_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// byBase is a route whose answers say which base model it matched.
func byBase() *unstructured.Unstructured {
	rule := func(base string) any {
		return map[string]any{
			"matches": []any{map[string]any{"headers": []any{map[string]any{"name": "X-Gateway-Base-Model-Name", "value": base}}}},
			"filters": []any{map[string]any{
				"type":                   "ResponseHeaderModifier",
				"responseHeaderModifier": map[string]any{"set": []any{map[string]any{"name": "x-matched", "value": base}}},
			}},
			"backendRefs": []any{map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "qwen-v1"}},
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": "by-base"},
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "inference-gateway"}},
			"hostnames":  []any{"adapters.example"},
			"rules":      []any{rule("llama"), rule("mistral")},
		},
	}}
}

// matched asks for a model and returns the base model that the route matched.
func (s *suite) matched(t *testing.T, model string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.gateway+"/v1/completions",
		strings.NewReader(`{"model":"`+model+`","prompt":"x","max_tokens":1}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "adapters.example"
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Gateway-Base-Model-Name", "llama") // a client's word counts for nothing
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.Header.Get("X-Matched")
}

// bodyRouterPage is a page of the sandbox's body router.
func (s *suite) bodyRouterPage(t *testing.T, path string) string {
	t.Helper()
	gateway, err := netip.ParseAddrPort(s.gateway)
	if err != nil {
		t.Fatal(err)
	}
	network := gateway.Addr().As4()
	response, err := http.Get("http://" + netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, network[1], 0, 4}), 9090).String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// adapterMap creates a labelled ConfigMap, later by the API server's clock than
// the one before it, if that is given.
func (s *suite) adapterMap(t *testing.T, name, label, base string, before *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	maps := s.clients.Core.CoreV1().ConfigMaps(namespace)
	t.Cleanup(func() { _ = maps.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}) })
	var made *corev1.ConfigMap
	eventually(t, 10*time.Second, "a second has passed between two ConfigMaps", func() bool {
		_ = maps.Delete(t.Context(), name, metav1.DeleteOptions{})
		var err error
		made, err = maps.Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "true"}},
			Data:       map[string]string{"baseModel": base, "adapters": "- support\n- sales-" + base + "\n"},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return before == nil || made.CreationTimestamp.After(before.CreationTimestamp.Time)
	})
	return made
}

func TestAdapterMapsReachTheGatewayUnderTheShippedRole(t *testing.T) {
	s := shared.s
	maps := s.clients.Core.CoreV1().ConfigMaps(namespace)
	routes := s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace)
	if _, err := routes.Create(t.Context(), byBase(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = routes.Delete(context.WithoutCancel(t.Context()), "by-base", metav1.DeleteOptions{}) })
	becomes := func(rule, model, base string) {
		t.Helper()
		eventually(t, 10*time.Second, rule, func() bool { return s.matched(t, model) == base })
	}

	old := s.adapterMap(t, "z-old", "inference.networking.k8s.io/bbr-managed", "llama", nil)
	becomes("an adapter goes by its base model", "support", "llama")
	becomes("a base model goes by itself", "llama", "llama")
	if got := s.matched(t, "stranger"); got != "" {
		t.Errorf("an unknown name matched base model %q", got)
	}

	s.adapterMap(t, "a-new", "inference.llm-d.ai/ipp-managed", "mistral", old)
	becomes("the other project's label counts, too", "sales-mistral", "mistral")
	if got := s.matched(t, "support"); got != "llama" {
		t.Errorf("of two ConfigMaps, not the oldest won: %q", got)
	}
	const conflict = `ConfigMap default/a-new gives model "support" the base model "mistral"; ConfigMap default/z-old is older and wins with "llama"`
	if page := s.bodyRouterPage(t, "/metrics"); !strings.Contains(page, "infer_body_router_adapter_conflicts 1\n") {
		t.Error("the metric tells of no conflict")
	}
	if page := s.bodyRouterPage(t, "/readyz"); !strings.HasPrefix(page, "ready\n") || !strings.Contains(page, conflict) {
		t.Errorf("readiness says %q", page)
	}
	if out := s.command(t.Context(), "sandbox", "logs", "body-router"); !strings.Contains(strings.ReplaceAll(out.stdout, `\"`, `"`), conflict) {
		t.Errorf("the log says %s", out)
	}

	old.Data["baseModel"], old.Data["adapters"] = "mistral", "[support]"
	if _, err := maps.Update(t.Context(), old, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	becomes("an update is live", "support", "mistral")
	eventually(t, 10*time.Second, "the conflict is over", func() bool {
		return strings.Contains(s.bodyRouterPage(t, "/metrics"), "infer_body_router_adapter_conflicts 0\n")
	})
	for _, name := range []string{"z-old", "a-new"} {
		if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	becomes("a deletion is live", "support", "")

	kubeconfig := filepath.Join(filepath.Dir(s.kubeconfig), "body-router.kubeconfig")
	for request, want := range map[string]string{
		"list configmaps": "yes", "watch configmaps": "yes", "get configmaps": "no", "update configmaps": "no",
		"list configmaps --all-namespaces": "no", "list secrets": "no", "list pods": "no",
	} {
		out := s.kubectl(t.Context(), append([]string{"--kubeconfig", kubeconfig, "auth", "can-i"}, strings.Fields(request)...)...)
		if strings.TrimSpace(out.stdout) != want {
			t.Errorf("can the body router %s? %s, want %s", request, out, want)
		}
	}
}
