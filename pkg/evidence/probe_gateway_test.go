package evidence

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// gatewayOf leads requests with the header x-canary to the canary, which counts
// them, and all others to stable. The canary has not loaded the model "broken".
func gatewayOf(t *testing.T, r *rig) (url string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var models []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var body struct{ Model string }
		if err := json.NewDecoder(q.Body).Decode(&body); err != nil || q.URL.Path != "/qwen/v1/completions" || q.Host != "chat.example" {
			http.NotFound(w, q)
			return
		}
		mu.Lock()
		models = append(models, body.Model)
		mu.Unlock()
		if body.Model == "broken" {
			http.Error(w, "still loading", http.StatusServiceUnavailable)
			return
		}
		if q.Header.Get("x-canary") == "yes" {
			r.canary.set(func(p *picker) { p.started++ })
		}
		fmt.Fprint(w, `{"choices":[{"text":"1"}]}`)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/qwen/", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(models)
	}
}

func TestTheCanaryIsAskedThroughTheGateway(t *testing.T) {
	t.Parallel()
	through := http.Header{"X-Canary": {"yes"}, "Host": {"chat.example"}}
	tests := map[string]struct {
		pods   int // ready canary pods
		header http.Header
		models []string
		target string // the canary's target model, where it is one
		asked  string
		err    string
		hint   string
	}{
		"as many first tokens of each model as there are ready pods": {2, through, []string{"qwen", "lora"}, "", "[lora lora qwen qwen]", "", ""},
		"of two target models the canary's is asked for":             {1, through, nil, "lora-2", "[lora-2]", "", ""},
		"a model that is not loaded is refused": {
			1, through, []string{"broken"}, "", "[broken]", `does not answer for model "broken": 503 Service Unavailable: still loading`, "--probe=none",
		},
		"answers that the canary did not count came from elsewhere": {
			1, http.Header{"Host": {"chat.example"}}, []string{"qwen"}, "", "[qwen]", "gave 1 first tokens, and the canary counted 0 of them", "--probe-header",
		},
		"an address that leads nowhere is refused":                {1, http.Header{}, []string{"qwen"}, "", "[]", "404 Not Found", "--probe=none"},
		"with no model named and none listed, a name is asked of": {1, through, nil, "", "[]", "ask pod stable-0 of inferencepool default/stable for its models", "--probe-model"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for i := 1; i < tt.pods; i++ {
				r.addServer(fmt.Sprintf("canary-%d", i), "canary")
			}
			r.bind("errors < 1%")
			r.arms.canary().pool.Model = tt.target
			url, asked := gatewayOf(t, r)
			tokens, err := r.arms.probeThrough(t.Context(), Way{URL: url, Header: tt.header, Models: tt.models}, 4*countPoll)
			if got := fmt.Sprint(asked()); got != tt.asked {
				t.Errorf("asked for %s, want %s", got, tt.asked)
			}
			if (err != nil) != (tt.err != "") || err == nil && tokens != len(asked()) {
				t.Fatalf("%d tokens, error %v", tokens, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), tt.hint)) {
				t.Errorf("error %q, hint %q", err, hint.Of(err))
			}
		})
	}
}
