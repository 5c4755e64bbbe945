package verify

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestRequestsAreCheapAndCounted(t *testing.T) {
	t.Parallel()
	var chats, texts, bad atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model     string
			MaxTokens int `json:"max_tokens"`
			Prompt    string
			Messages  []any
		}
		if json.NewDecoder(r.Body).Decode(&body) != nil || body.MaxTokens != 1 || body.Model != "m" || r.Host != "models.example" || r.Header.Get("X-Team") != "a" {
			bad.Add(1)
		}
		switch {
		case r.URL.Path == "/v1/chat/completions" && len(body.Messages) == 1:
			if chats.Add(1) == 3 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
		case r.URL.Path == "/v1/completions" && body.Prompt != "":
			texts.Add(1)
		default:
			bad.Add(1)
		}
		_, _ = w.Write([]byte(`{"model":"served"}`))
	}))
	defer server.Close()
	ask := newAsker(server.URL+"/", 10000, time.Minute)
	defer ask.close()
	header := http.Header{"X-Team": {"a"}}
	list := []call{{kind: chat, path: "/v1/chat/completions", host: "models.example", header: header}, {kind: completions, path: "/v1/completions", host: "models.example", header: header}}
	got := ask.many(t.Context(), list, []string{"m"}, 40)
	if bad.Load() != 0 || chats.Load() != 20 || texts.Load() != 20 {
		t.Errorf("%d chats, %d completions, %d malformed", chats.Load(), texts.Load(), bad.Load())
	}
	if got.Sent != 40 || got.OK != 39 || got.Codes["503"] != 1 || got.Models["served"] != 39 || got.Problem != "HTTP 503" {
		t.Errorf("counted %+v", got)
	}
}

func TestAHopelessGatewayIsNotAskedOn(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	ask := newAsker(server.URL, 10000, time.Minute)
	defer ask.close()
	got := ask.many(t.Context(), []call{{kind: chat, path: "/"}}, []string{"m"}, 1000)
	if n := asked.Load(); n < hopeless || n > hopeless+2*concurrency || got.Codes["404"] != int(n) {
		t.Errorf("asked %d times, counted %+v", n, got)
	}
}

func TestAGatewayThatIsNotThereIsSaidWithAHint(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	ask := newAsker(server.URL, 1, time.Minute)
	defer ask.close()
	err := reachable(server.URL, ask.one(t.Context(), call{kind: chat, path: "/"}, "m"))
	if err == nil || hint.Of(err) == "" {
		t.Errorf("error %v with hint %q", err, hint.Of(err))
	}
}
