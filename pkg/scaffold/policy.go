package scaffold

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// PolicyOptions are what create policy was asked for. Zero values are left to
// the gateway. A limit of 0 waiting requests cannot be asked for: Envoy then
// refuses every request that has no connection yet, the first one included.
type PolicyOptions struct {
	Name, Namespace string
	Route           string // the HTTPRoute that is limited; empty is the whole Gateway
	Rule            string // of Route, the one that is limited; empty is all of them
	Gateway         string
	MaxConcurrent   int // requests at once to one backend of the route
	MaxPending      int // requests that wait for a connection
	Retries         int
	Timeout         time.Duration // of a whole request
	Buffer          string        // quantity: the longest body the gateway keeps
}

// PolicyGroup and PolicyVersion are of the policies of Envoy Gateway.
const (
	PolicyGroup   = "gateway.envoyproxy.io"
	PolicyVersion = "v1alpha1"
)

// Policies are a BackendTrafficPolicy for limits, timeout and retries, and a
// ClientTrafficPolicy for the buffer, which can only be of the whole Gateway.
// Source: Envoy Gateway API v1alpha1; ACK's Gateway with Inference Extension has
// the same objects.
func Policies(o PolicyOptions) []*unstructured.Unstructured {
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
	var list []*unstructured.Unstructured
	if len(spec) > 0 {
		list = append(list, o.policy("BackendTrafficPolicy", spec))
	}
	if o.Buffer != "" {
		list = append(list, o.policy("ClientTrafficPolicy", map[string]any{"connection": map[string]any{"bufferLimit": o.Buffer}}))
	}
	return list
}

func (o PolicyOptions) policy(kind string, spec map[string]any) *unstructured.Unstructured {
	target := map[string]any{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": o.Gateway}
	if o.Route != "" && kind == "BackendTrafficPolicy" {
		target["kind"], target["name"] = "HTTPRoute", o.Route
		if o.Rule != "" {
			target["sectionName"] = o.Rule
		}
	}
	spec["targetRefs"] = []any{target}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": PolicyGroup + "/" + PolicyVersion, "kind": kind, "spec": spec,
	}}
	object.SetName(o.Name)
	object.SetNamespace(o.Namespace)
	object.SetLabels(Labels("create-policy"))
	return object
}

// alternative is what a gateway without these policies has instead.
type alternative struct{ controller, gateway, instead string }

func alternatives() []alternative {
	return []alternative{
		{"istio.io/", "Istio", "a DestinationRule with trafficPolicy.connectionPool for the limits, and kubectl infer create route … --timeout 300s"},
		{"networking.gke.io/", "GKE Gateway", "a GCPBackendPolicy with timeoutSec; it has no limit of concurrent requests"},
		{"gateway.nginx.org/", "NGINX Gateway Fabric", "a RateLimitPolicy and a ClientSettingsPolicy (body.maxSize), and kubectl infer create route … --timeout 300s"},
		{"agentgateway.dev/", "agentgateway", "its own policy's traffic limits, and kubectl infer create route … --timeout 300s"},
		{"kgateway.dev/", "kgateway", "a BackendConfigPolicy and a TrafficPolicy, and kubectl infer create route … --timeout 300s"},
	}
}

// CheckPolicies refuses gateways that would ignore the policies: only Envoy
// Gateway's controller (ACK runs the same), and the sandbox's, read them.
func CheckPolicies(gateway, class, controller string) error {
	switch controller {
	case "gateway.envoyproxy.io/gatewayclass-controller", "kubectl-infer.github.io/sandbox-gateway":
		return nil
	}
	runs, instead := "a controller that is not known to read them", "the limits of that gateway's own API, and kubectl infer create route … --timeout 300s"
	for _, a := range alternatives() {
		if strings.HasPrefix(controller, a.controller) {
			runs, instead = a.gateway, a.instead
		}
	}
	return hint.Wrap(fmt.Errorf("gateway %s of class %s is run by %s (%s), and BackendTrafficPolicy and ClientTrafficPolicy are Envoy Gateway's and ACK's: they would have no effect",
		gateway, class, runs, controller), "instead: "+instead)
}
