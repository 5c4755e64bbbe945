package evidence

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

const surveyed = `# TYPE infer_picker_ready_endpoints gauge
infer_picker_ready_endpoints{namespace="default",pool="qwen"} 2
# TYPE infer_picker_requests_started_total counter
infer_picker_requests_started_total{target_model="a"} 12
infer_picker_requests_started_total{target_model="b"} 3
# TYPE infer_picker_requests_finished_total counter
infer_picker_requests_finished_total{target_model="a",code="200"} 8
infer_picker_requests_finished_total{target_model="a",code="503"} 2
# TYPE infer_picker_requests_running gauge
infer_picker_requests_running{target_model="a"} 2
# TYPE infer_picker_served_mismatch_total counter
infer_picker_served_mismatch_total 4
`

func TestWhatAPickersPageSays(t *testing.T) {
	t.Parallel()
	says := pickerSays("p", fetched{page: parsed(t, surveyed)})
	if says.Problem != nil || says.Serves != "default/qwen" || says.Ended != 10 || says.Astray != 4 {
		t.Errorf("%+v", says)
	}
	want := []ModelLoad{{Model: "a", Started: 12, Ended: 10, Failed: 2, Active: 2}, {Model: "b", Started: 3}}
	if !slices.Equal(says.Models, want) {
		t.Errorf("%+v", says.Models)
	}
	if says := pickerSays("p", fetched{page: parsed(t, "# TYPE infer_picker_ready_endpoints gauge\ninfer_picker_ready_endpoints 1\n")}); says.Serves != "" || says.Problem != nil {
		t.Errorf("a page that names no pool serves %q, %v", says.Serves, says.Problem)
	}
	if says := pickerSays("p", fetched{page: parsed(t, "")}); says.Problem == nil {
		t.Error("a page of no known program has no problem")
	}
	if says := pickerSays("p", fetched{err: errors.New("refused")}); says.Problem == nil {
		t.Error("a page that cannot be read has no problem")
	}
}

func TestWhatAModelServersPageSays(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "s"}}
	page := "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} 2\nvllm:num_requests_running{engine=\"1\"} 3\n" +
		"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 7\n"
	if says := serverSays(pod, fetched{page: parsed(t, page)}); says.Running != 5 || says.Waiting != 7 || says.KVUse >= 0 {
		t.Errorf("%+v", says)
	}
	for _, family := range []string{"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"} {
		text := "# TYPE " + family + " gauge\n" + family + "{engine=\"0\"} 0.25\n" + family + "{engine=\"1\"} 0.5\n"
		if says := serverSays(pod, fetched{page: parsed(t, text)}); says.KVUse != 0.5 {
			t.Errorf("%s: the fullest engine is at 0.5, not %v", family, says.KVUse)
		}
	}
}

// TestASurveyAsksTheRightPods has one server be picker and model server.
func TestASurveyAsksTheRightPods(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			_, _ = w.Write([]byte(`{"data":[{"id":"qwen"},{"id":"travel"}]}`))
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte(surveyed))
	}))
	t.Cleanup(server.Close)
	host, text, _ := strings.Cut(server.Listener.Addr().String(), ":")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name, app string, ready corev1.ConditionStatus) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("u-" + name), Labels: map[string]string{"app": app}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: int32(n)}}}}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: host, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	pods := []corev1.Pod{
		pod("server", "qwen", corev1.ConditionTrue), pod("loading", "qwen", corev1.ConditionFalse), pod("picker", "picker", corev1.ConditionTrue),
		pod("old-picker", "picker", corev1.ConditionFalse), pod("other", "llama", corev1.ConditionTrue),
	}
	pool := Pool{
		Namespace: "default", Name: "qwen", Ports: []int32{int32(n)},
		Servers: labels.SelectorFromSet(labels.Set{"app": "qwen"}), Pickers: labels.SelectorFromSet(labels.Set{"app": "picker"}),
	}
	s := NewSurveyor(&kube.Clients{}, Options{Via: Direct})
	defer s.Close()
	got, err := s.Look(t.Context(), pool, pods, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Pickers) != 1 || got.Pickers[0].Pod != "picker" || len(got.Servers) != 2 {
		t.Fatalf("%+v", got)
	}
	if ready := got.Servers[0]; !slices.Equal(ready.Models, []string{"qwen", "travel"}) || ready.Unlisted != nil {
		t.Errorf("%+v", ready)
	}
	if loading := got.Servers[1]; loading.Ready || loading.Models != nil {
		t.Errorf("a pod that is not ready was asked: %+v", loading)
	}
}

func TestOfSeveralErrorsTheSameOneIsSaid(t *testing.T) {
	t.Parallel()
	a, b := errors.New("a"), errors.New("b")
	for _, list := range [][]error{{a, b}, {b, a}} {
		if got := first(list); got.Error() != "a (and 1 more)" || !errors.Is(got, a) {
			t.Errorf("%v", got)
		}
	}
	if got := first([]error{b}); got != b {
		t.Errorf("%v", got)
	}
}
