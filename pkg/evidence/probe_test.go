package evidence

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// modelServer answers for the models it is given, and lists more than that.
func modelServer(t *testing.T, lists, serves []string) (ip string, port int32) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			var data []map[string]string
			for _, name := range lists {
				data = append(data, map[string]string{"id": name})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
			return
		}
		var body struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		for _, name := range serves {
			if name == body.Model {
				fmt.Fprint(w, `{"choices":[{"text":"1"}]}`)
				return
			}
		}
		http.Error(w, "still loading", http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	host, text, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return host, int32(n)
}

func TestEveryCanaryPodIsAskedForEveryModelOfStable(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stable []string // what stable lists; it serves from the same address as the canary here
		serves []string
		model  string
		ready  corev1.ConditionStatus
		tokens int
		err    string
	}{
		"a canary that serves them all":            {[]string{"qwen", "lora"}, []string{"qwen", "lora"}, "", corev1.ConditionTrue, 2, ""},
		"listed is not servable":                   {[]string{"qwen", "lora"}, []string{"qwen"}, "", corev1.ConditionTrue, 0, `does not answer for model "lora": 503 Service Unavailable: still loading`},
		"of two target models only the canary's":   {[]string{"qwen"}, []string{"lora-2"}, "lora-2", corev1.ConditionTrue, 1, ""},
		"a target model that no pod has loaded":    {[]string{"qwen"}, []string{"qwen"}, "lora-2", corev1.ConditionTrue, 0, `"lora-2"`},
		"a pod that is not ready gets no question": {[]string{"qwen"}, nil, "lora-2", corev1.ConditionFalse, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ip, port := modelServer(t, tt.stable, tt.serves)
			pod := corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "default", UID: "u"},
				Status:     corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: tt.ready}}},
			}
			a := New(&kube.Clients{}, Pool{Ports: []int32{port}}, Pool{Ports: []int32{port}, Model: tt.model}, Options{Via: Direct})
			defer a.Close()
			a.stable().pods.servers, a.canary().pods.servers = []corev1.Pod{pod}, []corev1.Pod{pod}
			tokens, err := a.Probe(t.Context())
			if tokens != tt.tokens || (err != nil) != (tt.err != "") {
				t.Fatalf("%d tokens, error %v", tokens, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), "--probe=none")) {
				t.Errorf("error %q, hint %q", err, hint.Of(err))
			}
		})
	}
}
