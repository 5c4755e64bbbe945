package scaffold

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
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
			tt.options.Gateway = "gw"
			var specs []string
			for _, o := range Policies(tt.options) {
				raw, err := json.Marshal(o.Object["spec"])
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

func TestPoliciesAreRefusedWhereNobodyReadsThem(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ controller, instead string }{
		"Envoy Gateway and ACK read them": {"gateway.envoyproxy.io/gatewayclass-controller", ""},
		"the sandbox reads them":          {"kubectl-infer.github.io/sandbox-gateway", ""},
		"Istio has a DestinationRule":     {"istio.io/gateway-controller", "DestinationRule"},
		"GKE has a GCPBackendPolicy":      {"networking.gke.io/gateway", "GCPBackendPolicy"},
		"NGINX has a RateLimitPolicy":     {"gateway.nginx.org/nginx-gateway-controller", "RateLimitPolicy"},
		"agentgateway has its own":        {"agentgateway.dev/agentgateway", "traffic limits"},
		"others have a route's timeout":   {"example.com/x", "create route"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := CheckPolicies("gw", "class", tt.controller)
			if (err != nil) != (tt.instead != "") || !strings.Contains(hint.Of(err), tt.instead) {
				t.Errorf("got %v with hint %q, want %q", err, hint.Of(err), tt.instead)
			}
		})
	}
}
