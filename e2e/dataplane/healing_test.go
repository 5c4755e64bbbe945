package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// refusal takes the address that the next Gateway will get, and gives it back.
func (c *cluster) refusal(t *testing.T) {
	c.weights(100, 0)
	taken := must[net.Listener](t)(net.Listen("tcp", c.network+".1.2:8080"))
	defer taken.Close()
	c.gateway("second")
	programmed := func(name string) metav1.Condition {
		gw := must[*gwv1.Gateway](t)(c.gw.GatewayV1().Gateways("default").Get(t.Context(), name, metav1.GetOptions{}))
		return *meta.FindStatusCondition(gw.Status.Conditions, "Programmed")
	}
	eventually(t, "the second Gateway says what Envoy refused, and only it", func() bool {
		first, second := programmed("inference-gateway"), programmed("second")
		return first.Status == metav1.ConditionTrue && second.Status == metav1.ConditionFalse && strings.Contains(second.Message, c.network+".1.2:8080")
	})
	c.weights(90, 10) // which goes on
	c.weights(100, 0)
	taken.Close()
	eventually(t, "Envoy takes it once the address is free", func() bool {
		return programmed("inference-gateway").Status == metav1.ConditionTrue && programmed("second").Status == metav1.ConditionTrue
	})
}

// refusedRoute changes a route to something only Envoy can judge, beside a good
// change of another, and mends it.
func (c *cluster) refusedRoute(t *testing.T, r *rig) {
	routes := c.gw.GatewayV1().HTTPRoutes("default")
	other := must[*gwv1.HTTPRoute](t)(routes.Get(t.Context(), "chat", metav1.GetOptions{}))
	bad := &gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: *other.Spec.DeepCopy()}
	bad.Spec.Hostnames = []gwv1.Hostname{"bad.example.com"}
	bad = must[*gwv1.HTTPRoute](t)(routes.Create(t.Context(), bad, metav1.CreateOptions{}))
	says := func(status metav1.ConditionStatus, words string) func() bool {
		return func() bool {
			bad = must[*gwv1.HTTPRoute](t)(routes.Get(t.Context(), "bad", metav1.GetOptions{}))
			if len(bad.Status.Parents) == 0 {
				return false
			}
			a := meta.FindStatusCondition(bad.Status.Parents[0].Conditions, "Accepted")
			return a.Status == status && a.ObservedGeneration == bad.Generation && strings.Contains(a.Message, words)
		}
	}
	eventually(t, "the route is served", says(metav1.ConditionTrue, ""))
	edit := func(value string) {
		patch := fmt.Sprintf(`[{"op":"add","path":"/spec/rules/0/filters","value":[{"type":"RequestHeaderModifier",
			"requestHeaderModifier":{"set":[{"name":"x-bad","value":%q}]}}]}]`, value)
		must[*gwv1.HTTPRoute](t)(routes.Patch(t.Context(), "bad", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}))
	}
	edit("a\nb")
	c.weights(0, 100)
	eventually(t, "the status has Envoy's words", says(metav1.ConditionFalse, "Envoy refused"))
	if got := r.post([]byte(chat), nil); got.code != http.StatusOK || got.backend != "default/b" {
		t.Errorf("the other route's change: got %d from %q", got.code, got.backend)
	}
	old := r.postTo("bad.example.com")
	if old.code != http.StatusOK || old.backend != "default/a" {
		t.Errorf("the refused route: got %d from %q, want what it was before", old.code, old.backend)
	}
	edit("ab")
	eventually(t, "the mended route is served", says(metav1.ConditionTrue, ""))
	if got := r.postTo("bad.example.com"); got.echo.Headers.Get("X-Bad") != "ab" {
		t.Errorf("the mended route: upstream saw %v", got.echo.Headers)
	}
	c.weights(100, 0)
}

func (c *cluster) wantCounters(t *testing.T) {
	eventually(t, "the counters say so", func() bool {
		response, err := http.Get("http://" + c.network + ".0.3:9902/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		page := string(must[[]byte](t)(io.ReadAll(response.Body)))
		return strings.Contains(page, "infer_gateway_envoy_restarts_total 1\n") && strings.Contains(page, "infer_gateway_mismatches_total 0\n") &&
			!strings.Contains(page, "infer_gateway_requests_total 0\n") && !strings.Contains(page, "infer_gateway_refusals_total 0\n")
	})
	http.DefaultClient.CloseIdleConnections()
}
