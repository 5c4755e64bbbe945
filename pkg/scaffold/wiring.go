package scaffold

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// bufferBytes is the longest body that a gateway keeps for the body router, and
// that the body router takes (--max-body-bytes).
const bufferBytes = 20 << 20

// ForBodyRouter sets how a provider's gateway calls a body router.
func ForBodyRouter(p provider.Provider, o ServerOptions) ServerOptions {
	o.Secure = p.Routing == provider.ByEnvoyFilter || p.Routing == provider.ByGCPRoutingExtension
	return across(p, o)
}

// ForPicker sets how a provider's gateway calls an endpoint picker: each does so
// by TLS without verifying it.
func ForPicker(p provider.Provider, o ServerOptions) ServerOptions {
	o.Secure = true
	return across(p, o)
}

func across(p provider.Provider, o ServerOptions) ServerOptions {
	if p.Name == "gke" { // Google's load balancers call from outside, and want TLS said so
		o.Outside, o.Protocol = true, "HTTP2"
	}
	return o
}

// CheckBodyRouter refuses providers in which a body router has no place.
func CheckBodyRouter(p provider.Provider) error {
	switch {
	case p.Routing.UsesBodyRouter():
		return nil
	case p.Routing == provider.BuiltIn:
		return hint.Errorf("install nothing: create routes that match X-Gateway-Model-Name",
			"%s reads the model's name itself, so a body router would never be called", p.Title)
	case p.Routing == provider.ByAgentgatewayPolicy:
		return hint.Errorf("kubectl infer create gateway NAME --provider "+p.Name,
			"%s reads the model's name by a policy of its own, so a body router would never be called", p.Title)
	}
	return hint.Errorf("have clients send X-Gateway-Model-Name, or put a gateway with ext_proc before it",
		"%s cannot call a body router", p.Title)
}

// Wiring is how the provider's Gateway comes to call the body router that router
// names, and to match its routes again after the answer. The provider none has
// no wiring: it is left to the user.
func Wiring(p provider.Provider, router About, gateway string) ([]runtime.Object, error) {
	if err := CheckBodyRouter(p); err != nil {
		return nil, err
	}
	switch p.Routing {
	case provider.ByEnvoyFilter:
		return []runtime.Object{destinationRule(router, router.Name, true, nil), envoyFilter(router, gateway)}, nil
	case provider.ByEnvoyExtensionPolicy:
		return envoyExtension(router, gateway), nil
	case provider.ByGCPRoutingExtension:
		return gcpExtension(router, gateway), nil
	}
	return nil, nil
}

// envoyFilter puts the body router first into the Gateway's filters. BUFFERED:
// two filters in full duplex lose bytes on many releases of Envoy
// (envoyproxy/envoy#41654, #43983), and the header of an answer to a body counts
// only there; so the listener must keep as much as the body router takes.
//
// Source: Istio networking v1alpha3 EnvoyFilter; Envoy
// envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor.
func envoyFilter(router About, gateway string) runtime.Object {
	cluster := fmt.Sprintf("outbound|%d||%s.%s.svc.cluster.local", BodyRouterPort, router.Name, router.Namespace)
	filter := map[string]any{
		"name": "envoy.filters.http.ext_proc.body-router",
		"typed_config": map[string]any{
			"@type":              "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
			"grpc_service":       map[string]any{"envoy_grpc": map[string]any{"cluster_name": cluster}},
			"failure_mode_allow": false,
			"message_timeout":    "5s",
			"route_cache_action": "CLEAR",
			"status_on_error":    map[string]any{"code": "ServiceUnavailable"},
			"mutation_rules": map[string]any{
				"disallow_all":     true,
				"allow_expression": map[string]any{"regex": "x-gateway-(base-)?model-name|x-gateway-destination-endpoint.*"},
			},
			"processing_mode": map[string]any{
				"request_header_mode": "SEND", "request_body_mode": "BUFFERED", "request_trailer_mode": "SKIP",
				"response_header_mode": "SKIP", "response_body_mode": "NONE", "response_trailer_mode": "SKIP",
			},
		},
	}
	manager := map[string]any{"filterChain": map[string]any{"filter": map[string]any{"name": "envoy.filters.network.http_connection_manager"}}}
	return router.custom("networking.istio.io/v1alpha3", "EnvoyFilter", map[string]any{
		"targetRefs": gatewayRefs(gateway),
		"configPatches": []any{
			map[string]any{
				"applyTo": "HTTP_FILTER",
				"match":   map[string]any{"context": "GATEWAY", "listener": manager},
				"patch":   map[string]any{"operation": "INSERT_FIRST", "value": filter},
			},
			map[string]any{
				"applyTo": "LISTENER",
				"match":   map[string]any{"context": "GATEWAY"},
				"patch":   map[string]any{"operation": "MERGE", "value": map[string]any{"per_connection_buffer_limit_bytes": int64(bufferBytes)}},
			},
		},
	})
}

// envoyExtension is a policy of the Gateway, and a route that catches what no
// other does: Envoy Gateway switches the filter on by the route that matched
// first, so without it a request that matches only by its model would get 404
// before the body router is asked. What no route wants after it gets 404 there.
//
// Source: Envoy Gateway v1alpha1 EnvoyExtensionPolicy, HTTPRouteFilter.
func envoyExtension(router About, gateway string) []runtime.Object {
	const api = PolicyGroup + "/" + PolicyVersion
	policy := router.custom(api, "EnvoyExtensionPolicy", map[string]any{
		"targetRefs": gatewayRefs(gateway),
		"extProc": []any{map[string]any{
			"backendRefs":    []any{map[string]any{"name": router.Name, "port": int64(BodyRouterPort)}},
			"processingMode": map[string]any{"request": map[string]any{"body": "Buffered"}},
			"failOpen":       false,
			"messageTimeout": "5s",
		}},
	})
	catch := router.called(router.Name + "-catch-all")
	filter := catch.custom(api, "HTTPRouteFilter", map[string]any{
		"directResponse": map[string]any{
			"statusCode": int64(404), "contentType": "text/plain",
			"body": map[string]any{"type": "Inline", "inline": "no route for this model\n"},
		},
	})
	route := &gwv1.HTTPRoute{
		TypeMeta: typed(gwv1.GroupVersion.String(), "HTTPRoute"), ObjectMeta: catch.meta(),
		Spec: gwv1.HTTPRouteSpec{
			CommonRouteSpec: gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: gwv1.ObjectName(gateway)}}},
			Rules: []gwv1.HTTPRouteRule{{
				Matches: []gwv1.HTTPRouteMatch{{Path: &gwv1.HTTPPathMatch{Type: pointer(gwv1.PathMatchPathPrefix), Value: pointer("/")}}},
				Filters: []gwv1.HTTPRouteFilter{{Type: gwv1.HTTPRouteFilterExtensionRef, ExtensionRef: &gwv1.LocalObjectReference{
					Group: PolicyGroup, Kind: "HTTPRouteFilter", Name: gwv1.ObjectName(catch.Name),
				}}},
			}},
		},
	}
	return []runtime.Object{policy, filter, route}
}

// gcpExtension has the load balancer call the body router, and find it healthy.
// Source: the documentation of GKE's networking.gke.io/v1 GCPRoutingExtension and
// HealthCheckPolicy.
func gcpExtension(router About, gateway string) []runtime.Object {
	extension := router.custom("networking.gke.io/v1", "GCPRoutingExtension", map[string]any{
		"targetRefs": gatewayRefs(gateway),
		"extensionChains": []any{map[string]any{
			"name": "body-router",
			"matchCondition": map[string]any{"celExpressions": []any{
				map[string]any{"celMatcher": `request.path.startsWith("/")`},
			}},
			"extensions": []any{map[string]any{
				"name": "body-router", "authority": router.Name + "." + router.Namespace + ".svc", "timeout": "1s",
				"supportedEvents":     []any{"RequestHeaders", "RequestBody", "RequestTrailers"},
				"requestBodySendMode": "FullDuplexStreamed",
				"backendRef":          map[string]any{"group": "", "kind": "Service", "name": router.Name, "port": int64(BodyRouterPort)},
			}},
		}},
	})
	health := router.custom("networking.gke.io/v1", "HealthCheckPolicy", map[string]any{
		"targetRef": map[string]any{"group": "", "kind": "Service", "name": router.Name},
		"default": map[string]any{"config": map[string]any{
			"type":            "GRPC",
			"grpcHealthCheck": map[string]any{"portSpecification": "USE_FIXED_PORT", "port": int64(BodyRouterHealthPort)},
		}},
	})
	return []runtime.Object{extension, health}
}
