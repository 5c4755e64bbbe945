package scaffold

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// PolicyOptions are what create policy was asked for. Zero values are left to
// the gateway. A limit of 0 waiting requests cannot be asked for: Envoy then
// refuses every request that has no connection yet, the first one included.
type PolicyOptions struct {
	Provider              provider.Provider
	Name, Namespace, Verb string
	Route                 string // the HTTPRoute that is limited; empty is the whole Gateway
	Rule                  string // of Route, the one that is limited; empty is all of them
	Gateway               string
	Pool, PoolGroup       string // the InferencePool, where limits are of the backend
	MaxConcurrent         int    // requests at once to one backend of the route
	MaxPending            int    // requests that wait for a connection
	Retries               int
	Timeout               time.Duration // of a whole request
	Buffer                string        // quantity: the longest body the gateway keeps

	bytes int64 // of Buffer
}

// PolicyGroup and PolicyVersion are of the policies of Envoy Gateway.
const (
	PolicyGroup   = "gateway.envoyproxy.io"
	PolicyVersion = "v1alpha1"
)

func (o PolicyOptions) about() About {
	return About{Name: o.Name, Namespace: o.Namespace, Verb: o.Verb}
}

// Policies are the objects that set the limits in the provider's own API. A
// limit that it does not have is refused, with what to do instead.
func Policies(o PolicyOptions) ([]runtime.Object, error) {
	if o.Buffer != "" {
		q, err := resource.ParseQuantity(o.Buffer)
		if err != nil || q.Sign() <= 0 {
			return nil, hint.Errorf("--buffer 20Mi", "--buffer %q is not a number of bytes above 0", o.Buffer)
		}
		o.bytes = q.Value()
	}
	switch o.Provider.Name {
	case "ack", "envoy-gateway", "sandbox":
		return envoyPolicies(o), nil
	case "istio":
		return istioPolicies(o)
	case "agentgateway":
		return agentgatewayPolicies(o)
	case "gke":
		return gkePolicies(o)
	case "ngf":
		return nginxPolicies(o)
	}
	return nil, o.refuse("policies that are known here", routeTimeout)
}

const routeTimeout = "its own API, and for the time of a request kubectl infer create route … --timeout 300s"

// refuse says which limit the provider lacks.
func (o PolicyOptions) refuse(what, instead string) error {
	return hint.Errorf("instead: "+instead, "%s does not have %s", o.Provider.Title, what)
}

// envoyPolicies are a BackendTrafficPolicy for limits, timeout and retries, and
// a ClientTrafficPolicy for the buffer, which can only be of the whole Gateway.
// Source: Envoy Gateway API v1alpha1; ACK's Gateway with Inference Extension has
// the same objects.
func envoyPolicies(o PolicyOptions) []runtime.Object {
	spec := map[string]any{}
	breaker := map[string]any{}
	if o.MaxConcurrent > 0 {
		breaker["maxParallelRequests"] = int64(o.MaxConcurrent)
	}
	if o.MaxPending > 0 {
		breaker["maxPendingRequests"] = int64(o.MaxPending)
	}
	if len(breaker) > 0 {
		spec["circuitBreaker"] = breaker
	}
	if o.Timeout > 0 {
		spec["timeout"] = map[string]any{"http": map[string]any{"requestTimeout": duration(o.Timeout)}}
	}
	if o.Retries > 0 {
		// Only what no model server has begun to answer: a generation is dear.
		spec["retry"] = map[string]any{
			"numRetries": int64(o.Retries),
			"retryOn":    map[string]any{"triggers": []any{"connect-failure", "refused-stream"}},
		}
	}
	var list []runtime.Object
	if len(spec) > 0 {
		spec["targetRefs"] = o.targetRefs()
		list = append(list, o.about().custom(PolicyGroup+"/"+PolicyVersion, "BackendTrafficPolicy", spec))
	}
	if o.Buffer != "" {
		list = append(list, o.about().custom(PolicyGroup+"/"+PolicyVersion, "ClientTrafficPolicy",
			map[string]any{"connection": map[string]any{"bufferLimit": o.Buffer}, "targetRefs": gatewayRefs(o.Gateway)}))
	}
	return list
}

// targetRefs name the route, or the Gateway.
func (o PolicyOptions) targetRefs() []any {
	if o.Route == "" {
		return gatewayRefs(o.Gateway)
	}
	target := map[string]any{"group": gwv1.GroupName, "kind": "HTTPRoute", "name": o.Route}
	if o.Rule != "" {
		target["sectionName"] = o.Rule
	}
	return []any{target}
}

// istioPolicies limit the Service that Istio makes for a pool.
// Source: Istio networking v1 DestinationRule, connectionPool; the name of the
// Service is <pool>-ip-<first 8 hexadecimal digits of the SHA-256 of the pool's name>.
func istioPolicies(o PolicyOptions) ([]runtime.Object, error) {
	switch {
	case o.Timeout > 0:
		return nil, o.refuse("a timeout by policy", "kubectl infer create route … --timeout "+o.Timeout.String())
	case o.Retries > 0:
		return nil, o.refuse("retries by policy", "the mesh's default retry policy, or a VirtualService")
	case o.Buffer != "":
		return nil, o.refuse("a buffer by policy", "kubectl infer install body-router --provider istio, whose EnvoyFilter sets 20Mi")
	case o.Pool == "":
		return nil, hint.Errorf("--pool qwen-pool", "Istio's limits are of a pool, and no --pool is named")
	}
	http := map[string]any{}
	if o.MaxConcurrent > 0 {
		http["http2MaxRequests"] = int64(o.MaxConcurrent)
	}
	if o.MaxPending > 0 {
		http["http1MaxPendingRequests"] = int64(o.MaxPending)
	}
	sum := sha256.Sum256([]byte(o.Pool))
	return []runtime.Object{destinationRule(o.about(), o.Pool+"-ip-"+hex.EncodeToString(sum[:])[:8], false, map[string]any{"http": http})}, nil
}

// agentgatewayPolicies: Source: agentgateway.dev v1alpha1 AgentgatewayPolicy.
func agentgatewayPolicies(o PolicyOptions) ([]runtime.Object, error) {
	if o.MaxConcurrent > 0 || o.MaxPending > 0 {
		return nil, o.refuse("limits of concurrent or waiting requests", "its rateLimit, or flow control in the endpoint picker (docs/endpoint-picker.md)")
	}
	traffic := map[string]any{}
	if o.Timeout > 0 {
		if o.Route == "" {
			return nil, o.refuse("a timeout of a whole Gateway", "--route NAME")
		}
		traffic["timeouts"] = map[string]any{"request": duration(o.Timeout)}
	}
	if o.Retries > 0 {
		traffic["retry"] = map[string]any{"attempts": int64(o.Retries)}
	}
	var list []runtime.Object
	policy := func(name string, spec map[string]any) {
		list = append(list, o.about().called(name).custom("agentgateway.dev/v1alpha1", "AgentgatewayPolicy", spec))
	}
	if len(traffic) > 0 {
		policy(o.Name, map[string]any{"targetRefs": o.targetRefs(), "traffic": traffic})
	}
	if o.Buffer != "" {
		policy(o.Name+"-buffer", map[string]any{
			"targetRefs": gatewayRefs(o.Gateway), "frontend": map[string]any{"http": map[string]any{"maxBufferSize": o.bytes}},
		})
	}
	return list, nil
}

// gkePolicies: Source: the documentation of networking.gke.io/v1 GCPBackendPolicy.
func gkePolicies(o PolicyOptions) ([]runtime.Object, error) {
	switch {
	case o.MaxConcurrent > 0 || o.MaxPending > 0:
		return nil, o.refuse("limits of concurrent or waiting requests", "flow control in the endpoint picker (docs/endpoint-picker.md)")
	case o.Retries > 0:
		return nil, o.refuse("retries of what was not begun", "retries in the client")
	case o.Buffer != "":
		return nil, o.refuse("a buffer to set", "leave it: its load balancers stream bodies to the body router")
	case o.Pool == "":
		return nil, hint.Errorf("--pool qwen-pool", "GKE's timeout is of a pool, and no --pool is named")
	case o.Timeout%time.Second != 0:
		return nil, o.refuse("fractions of a second in a timeout", "--timeout "+o.Timeout.Truncate(time.Second).String())
	}
	return []runtime.Object{o.about().custom("networking.gke.io/v1", "GCPBackendPolicy", map[string]any{
		"targetRef": map[string]any{"group": o.PoolGroup, "kind": "InferencePool", "name": o.Pool},
		"default":   map[string]any{"timeoutSec": int64(o.Timeout / time.Second)},
	})}, nil
}

// nginxPolicies: Source: the documentation of gateway.nginx.org/v1alpha1
// ClientSettingsPolicy.
func nginxPolicies(o PolicyOptions) ([]runtime.Object, error) {
	if o.MaxConcurrent > 0 || o.MaxPending > 0 || o.Retries > 0 || o.Timeout > 0 {
		return nil, o.refuse("policies for concurrent requests, timeouts or retries that are known here", "its RateLimitPolicy and ProxySettingsPolicy, and kubectl infer create route … --timeout 300s")
	}
	return []runtime.Object{o.about().custom("gateway.nginx.org/v1alpha1", "ClientSettingsPolicy", map[string]any{
		"targetRef": map[string]any{"group": gwv1.GroupName, "kind": "Gateway", "name": o.Gateway},
		"body":      map[string]any{"maxSize": fmt.Sprintf("%dm", (o.bytes+1<<20-1)>>20)},
	})}, nil
}
