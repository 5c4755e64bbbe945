package evidence

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/fake"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// twoModels is a picker's page on which two target models count apart.
func twoModels(base, adapter int) string {
	var b strings.Builder
	b.WriteString("# TYPE infer_picker_ready_endpoints gauge\ninfer_picker_ready_endpoints 2\n")
	for model, n := range map[string]int{"base": base, "travel": adapter} {
		l := fmt.Sprintf(`{model="chat",target_model=%q`, model)
		fmt.Fprintf(&b, "infer_picker_requests_started_total%s} %d\n", l, n)
		fmt.Fprintf(&b, "infer_picker_requests_finished_total%s,code=\"200\"} %d\n", l, n-n/10)
		fmt.Fprintf(&b, "infer_picker_requests_finished_total%s,code=\"500\"} %d\n", l, n/10)
	}
	return b.String()
}

func TestTwoTargetModelsOfOnePoolAreTwoArms(t *testing.T) {
	t.Parallel()
	var page atomic.Value
	var asked atomic.Int64
	page.Store(twoModels(100, 0))
	core := servedBy(t, "picks", "p", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(page.Load().(string)))
	})
	pool := Pool{Namespace: "default", Name: "p", Pickers: labels.SelectorFromSet(labels.Set{"picks": "p"})}
	stable, canary := pool, pool
	stable.Model, canary.Model = "base", "travel"
	arms := New(&kube.Clients{Core: core, Namespace: "default"}, stable, canary, Options{Via: Direct})
	t.Cleanup(arms.Close)
	expr, err := gate.Parse("errors < 1%")
	if err != nil {
		t.Fatal(err)
	}
	if err := arms.Bind(t.Context(), []gate.Expr{expr}); err != nil {
		t.Fatal(err)
	}
	arms.Look(t.Context())
	asked.Store(0)
	page.Store(twoModels(190, 10))
	got := arms.Look(t.Context())
	if got.Stable.Started != 90 || got.Canary.Started != 10 || !slices.Equal(got.Canary.Values[0], []uint64{9, 1}) {
		t.Errorf("got %+v", got)
	}
	if asked.Load() != 1 {
		t.Errorf("one page for both arms was read %d times", asked.Load())
	}
}

func servedBy(t *testing.T, label, value string, page http.HandlerFunc) *fake.Clientset {
	t.Helper()
	server := httptest.NewServer(page)
	t.Cleanup(server.Close)
	core := fake.NewClientset()
	pod := readyPod(value+"-0", map[string]string{label: value})
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: portOf(t, server)}}}}
	if _, err := core.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return core
}

// TestModelServersThatCannotTellModelsApartAreRefused: vLLM counts all adapters
// under the name of the base model.
func TestModelServersThatCannotTellModelsApartAreRefused(t *testing.T) {
	t.Parallel()
	core := servedBy(t, "serves", "p", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("vllm:num_requests_running{model_name=\"base\"} 0\n"))
	})
	pool := Pool{Namespace: "default", Name: "p", Servers: labels.SelectorFromSet(labels.Set{"serves": "p"})}
	stable, canary := pool, pool
	stable.Model, canary.Model = "base", "travel"
	arms := New(&kube.Clients{Core: core, Namespace: "default"}, stable, canary, Options{Metrics: "vllm", Via: Direct})
	t.Cleanup(arms.Close)
	err := arms.Bind(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "counts under model_name base only, so travel cannot be told apart") {
		t.Error(err)
	}
}
