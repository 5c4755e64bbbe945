package cluster_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func TestVerifyTellsASplitFromTheWeights(t *testing.T) {
	t.Parallel()
	s := shared.s
	newRoute(t, "verified", 50, 50)
	out := s.command(t.Context(), "verify", "split", "httproute/verified", "--rate", "400", "-o", "json")
	var report struct {
		APIVersion, Kind, Verdict string
		Answers                   struct{ Sent, OK int }
		Arms                      []struct{ Seen, Low, High float64 }
	}
	if err := json.Unmarshal([]byte(out.stdout), &report); err != nil || out.code != 0 {
		t.Fatalf("a right split: %v: %v", err, out)
	}
	if report.APIVersion != "kubectl-infer.github.io/v1alpha1" || report.Kind != "VerifySplit" || report.Verdict != "Pass" || report.Answers.OK != 200 || len(report.Arms) != 2 {
		t.Errorf("a right split: %+v", report)
	}
	if out := s.command(t.Context(), "verify", "split", "httproute/verified", "--requests", "20"); out.code != 18 || !strings.Contains(out.stdout, "UNDECIDED") {
		t.Errorf("few requests: %v", out)
	}

	newRoute(t, "shadowed", 90, 10)
	taker := route("taker", 0, 100)
	rules, _ := taker.Object["spec"].(map[string]any)["rules"].([]any)
	headers := route("shadowed", 0, 100).Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["matches"].([]any)[0].(map[string]any)["headers"].([]any)
	headers = append(headers, map[string]any{"name": "content-type", "type": "Exact", "value": "application/json"})
	rules[0].(map[string]any)["matches"] = []any{map[string]any{"headers": headers}}
	routes := s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace)
	if _, err := routes.Create(t.Context(), taker, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = routes.Delete(context.WithoutCancel(t.Context()), "taker", metav1.DeleteOptions{}) })
	eventually(t, 15*time.Second, "the other route is accepted", func() bool {
		parents, _, _ := unstructured.NestedSlice(getRoute(t, "taker").Object, "status", "parents")
		return len(parents) > 0
	})
	if out := s.command(t.Context(), "verify", "split", "httproute/shadowed", "--rate", "400"); out.code != 18 || !strings.Contains(out.stdout, "contradicts") {
		t.Errorf("a more specific route takes the requests: %v", out)
	}
	if out := s.command(t.Context(), "verify", "route", "httproute/verified"); out.code != 0 || strings.Count(out.stdout, " ok\n") != 2 {
		t.Errorf("a model by its route: %v", out)
	}
}
