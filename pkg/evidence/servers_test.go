package evidence

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func TestAModelServerIsAskedAsVLLMHasIt(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		status int
		body   string
		load   string // what Load's error and hint hold
		hint   string
		unload string
	}{
		"done":                           {200, "Success", "", "", ""},
		"loading at run time is off":     {404, `{"detail":"Not Found"}`, "loads no adapters while it runs", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True", ""},
		"the path is not there":          {400, "no such directory", "400 Bad Request: no such directory", "kubectl logs pod", "400 Bad Request"},
		"an unload of what is not there": {404, "cannot be found", "loads no adapters", "--lora-modules", ""},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body map[string]string
				_ = json.NewDecoder(r.Body).Decode(&body)
				asked = append(asked, r.Method+" "+r.URL.Path+" "+body["lora_name"]+" "+body["lora_path"])
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			t.Cleanup(server.Close)
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: "default", UID: "u"}, Status: corev1.PodStatus{PodIP: "127.0.0.1"}}
			s := NewServers(&kube.Clients{}, "default", portOf(t, server), Direct)
			t.Cleanup(s.Close)
			if err := s.reach.use(Direct); err != nil {
				t.Fatal(err)
			}
			err := s.Load(t.Context(), pod, "v2", "/models/v2")
			if (err == nil) != (tc.load == "") || err != nil && (!strings.Contains(err.Error(), tc.load) || !strings.Contains(hint.Of(err), tc.hint)) {
				t.Errorf("load: %v, hint %q", err, hint.Of(err))
			}
			if err := s.Unload(t.Context(), pod, "v2"); (err == nil) != (tc.unload == "") || err != nil && !strings.Contains(err.Error(), tc.unload) {
				t.Errorf("unload: %v", err)
			}
			if got := strings.Join(asked, "; "); got != "POST /v1/load_lora_adapter v2 /models/v2; POST /v1/unload_lora_adapter v2 " {
				t.Errorf("asked %s", got)
			}
		})
	}
}
