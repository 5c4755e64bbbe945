package scaffold

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	const (
		route   = `"targetRefs":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute","name":"chat"}]`
		gateway = `"targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"gw"}]`
	)
	tests := map[string]struct {
		options PolicyOptions
		want    string
	}{
		"limits are a circuit breaker of the route":    {PolicyOptions{Route: "chat", MaxConcurrent: 2, MaxPending: 1}, `{"circuitBreaker":{"maxParallelRequests":2,"maxPendingRequests":1},` + route + `}`},
		"0 pending would refuse all, and is no limit":  {PolicyOptions{Route: "chat", MaxConcurrent: 1}, `{"circuitBreaker":{"maxParallelRequests":1},` + route + `}`},
		"of one rule only":                             {PolicyOptions{Route: "chat", Rule: "qwen", MaxConcurrent: 1}, `{"circuitBreaker":{"maxParallelRequests":1},` + strings.Replace(route, `"chat"`, `"chat","sectionName":"qwen"`, 1) + `}`},
		"a timeout":                                    {PolicyOptions{Timeout: 24 * time.Hour}, `{` + gateway + `,"timeout":{"http":{"requestTimeout":"24h"}}}`},
		"only what was not begun is sent again":        {PolicyOptions{Retries: 2}, `{"retry":{"numRetries":2,"retryOn":{"triggers":["connect-failure","refused-stream"]}},` + gateway + `}`},
		"a buffer is of the Gateway, also for a route": {PolicyOptions{Route: "chat", Buffer: "20Mi"}, `{"connection":{"bufferLimit":"20Mi"},` + gateway + `}`},
		"both kinds":                                   {PolicyOptions{Route: "chat", MaxConcurrent: 1, Buffer: "1Mi"}, `{"circuitBreaker":{"maxParallelRequests":1},` + route + `} {"connection":{"bufferLimit":"1Mi"},` + gateway + `}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.options.Gateway, tt.options.Provider = "gw", named(t, "envoy-gateway")
			list, err := Policies(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			var specs []string
			for _, o := range list {
				raw, err := json.Marshal(plainSpec(t, o))
				if err != nil {
					t.Fatal(err)
				}
				specs = append(specs, string(raw))
			}
			if got := strings.Join(specs, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestWhatAProviderDoesNotHaveIsRefusedWithWhatToDoInstead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		provider string
		options  PolicyOptions
		instead  string
	}{
		"Istio: a timeout is the route's":               {"istio", PolicyOptions{Timeout: time.Minute}, "create route"},
		"Istio: a buffer comes with the body router":    {"istio", PolicyOptions{Buffer: "1Mi"}, "install body-router"},
		"Istio: limits are of a pool":                   {"istio", PolicyOptions{MaxConcurrent: 1}, "--pool"},
		"agentgateway: no limit of concurrent requests": {"agentgateway", PolicyOptions{MaxConcurrent: 1}, "endpoint picker"},
		"agentgateway: a timeout is of a route":         {"agentgateway", PolicyOptions{Timeout: time.Minute}, "--route"},
		"GKE: no limit of concurrent requests":          {"gke", PolicyOptions{MaxPending: 1}, "endpoint picker"},
		"GKE: whole seconds":                            {"gke", PolicyOptions{Timeout: 1500 * time.Millisecond, Pool: "p"}, "--timeout 1s"},
		"NGINX: only the largest body":                  {"ngf", PolicyOptions{MaxConcurrent: 1}, "RateLimitPolicy"},
		"an unknown gateway has a route's timeout":      {"none", PolicyOptions{Timeout: time.Minute}, "create route"},
		"a buffer that is no quantity":                  {"ngf", PolicyOptions{Buffer: "much"}, "--buffer 20Mi"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.options.Provider = named(t, tt.provider)
			list, err := Policies(tt.options)
			if err == nil || len(list) != 0 || !strings.Contains(hint.Of(err), tt.instead) {
				t.Errorf("got %v, %v with hint %q, want %q", list, err, hint.Of(err), tt.instead)
			}
		})
	}
}

func named(t *testing.T, name string) provider.Provider {
	t.Helper()
	p, err := provider.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func plainSpec(t *testing.T, o runtime.Object) any {
	t.Helper()
	content, err := Plain(o)
	if err != nil {
		t.Fatal(err)
	}
	return content.Object["spec"]
}
