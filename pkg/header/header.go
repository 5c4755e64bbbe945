// Package header names every HTTP header and metadata key that kubectl-infer's
// servers read or write, each with the page that specifies it.
//
// Header names are written as their specification writes them; HTTP compares
// them without regard to case, and Envoy lower-cases them on the wire.
// Start with Owned: those are the headers that no client may set.
package header

// The body router's answer: which model the request body names.
//
// Source: gateway-api-inference-extension, docs/proposals/1816-inferenceomodels
// and pkg/bbr (body-based routing):
// https://gateway-api-inference-extension.sigs.k8s.io/guides/serve-multiple-genai-models/
const (
	// ModelName carries the "model" of the request body. HTTPRoutes match it.
	ModelName = "X-Gateway-Model-Name"
	// BaseModelName carries the base model that serves ModelName, when ModelName
	// is a LoRA adapter (or the base model itself) in the adapter ConfigMaps.
	BaseModelName = "X-Gateway-Base-Model-Name"
)

// The endpoint picker protocol:
// https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/004-endpoint-picker-protocol
const (
	// DestinationEndpoint is the picker's choice, "ip:port" or an ordered comma
	// list; both a request header and a key in MetadataNamespace, equal values.
	DestinationEndpoint = "x-gateway-destination-endpoint"
	// DestinationEndpointServed is the endpoint that answered: a key in
	// MetadataNamespace of the response headers message.
	DestinationEndpointServed = "x-gateway-destination-endpoint-served"
	// DestinationEndpointSubset lists the endpoints a pick must come from: a key
	// in SubsetNamespace. It is never read from a request header.
	DestinationEndpointSubset = "x-gateway-destination-endpoint-subset"

	// MetadataNamespace holds DestinationEndpoint and DestinationEndpointServed.
	MetadataNamespace = "envoy.lb"
	// SubsetNamespace holds DestinationEndpointSubset.
	SubsetNamespace = "envoy.lb.subset_hint"
)

// What a request may ask of the picker, under llm-d's name and under the inference
// extension's older one. Nobody authenticates them: the picker reads them only
// with --trust-client-headers.
//
// Source: pkg/epp/metadata/consts.go of gateway-api-inference-extension v1.5.0 and
// of llm-d-router v0.9.0.
const (
	// Objective is the name of an InferenceObjective, which gives the priority.
	Objective, ObjectiveOld = "x-llm-d-inference-objective", "x-gateway-inference-objective"
	// ModelRewrite is the model that is to serve the request.
	ModelRewrite, ModelRewriteOld = "x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"
)

// Overloaded is the response header of a request that Envoy did not send, because
// a circuit breaker was open; its value is "true". Gateways may suppress it.
//
// Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-overloaded
const Overloaded = "x-envoy-overloaded"

// RejectReason is the response header in which both servers say why they
// answered a request themselves. Source: this package.
const RejectReason = "x-infer-reject-reason"

// Owned lists the request headers that only the body router and the endpoint
// picker may set. Whatever a client sends under these names is removed.
func Owned() []string {
	return []string{
		ModelName,
		BaseModelName,
		DestinationEndpoint,
		DestinationEndpointServed,
		DestinationEndpointSubset,
	}
}
