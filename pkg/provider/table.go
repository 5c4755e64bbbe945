package provider

import "k8s.io/apimachinery/pkg/runtime/schema"

// The groups of InferencePool.
const (
	PoolV1       = "inference.networking.k8s.io/v1"
	PoolV1alpha2 = "inference.networking.x-k8s.io/v1alpha2"
)

// ControllerEnvoyGateway is of Envoy Gateway, and of ACK, which is a fork of it.
const ControllerEnvoyGateway = "gateway.envoyproxy.io/gatewayclass-controller"

const envoyGatewayGroup = "gateway.envoyproxy.io"

func ack() Provider {
	return Provider{
		Name: "ack", Title: "ACK Gateway with Inference Extension",
		Controllers: []string{ControllerEnvoyGateway}, Classes: []string{"ack-gateway"},
		Groups:  []string{"inferenceextension.alibabacloud.com"},
		Kinds:   []schema.GroupKind{{Group: envoyGatewayGroup, Kind: "BackendTrafficPolicy"}, {Group: envoyGatewayGroup, Kind: "ClientTrafficPolicy"}},
		Minimum: "component 1.4.0 with the Gateway API inference extension enabled; InferencePool v1 from v1.4.0-apsara.4",
		// Which of the two apsara.4 and later read is not documented; both are served.
		PoolAPIs:      []string{PoolV1, PoolV1alpha2},
		Weighted:      Capability{Yes, "its guides split 90/10"},
		OwnPicker:     Capability{NotKnown, "documented as such; no conformance report has the weighted test"},
		MirrorService: Capability{Answer: Yes},
		MirrorPool:    Capability{No, "mirrored requests are not balanced by the picker; its guide mirrors to a Service"},
		FailOpen:      Capability{Answer: NotKnown},
		Routing:       BuiltIn, RoutingNote: "no object to create",
		Policies:    []string{"BackendTrafficPolicy (limits, timeout, retries)", "ClientTrafficPolicy (buffer)"},
		PickersMade: true,
		Defects: []Defect{
			{What: "reads InferencePool v1alpha2 only", Fixed: "v1.4.0-apsara.4"},
		},
		Proof: CheckedAsFork,
	}
}

func istio() Provider {
	return Provider{
		Name: "istio", Title: "Istio",
		Controllers: []string{"istio.io/gateway-controller"}, Classes: []string{"istio"},
		Groups: []string{"networking.istio.io"}, Images: []string{"pilot"},
		Kinds: []schema.GroupKind{{Group: "networking.istio.io", Kind: "DestinationRule"}, {Group: "networking.istio.io", Kind: "EnvoyFilter"}},
		Minimum: "1.28 for InferencePool v1 (1.27 reads v1alpha2), with ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true and " +
			"PILOT_ENABLE_GATEWAY_API=true on istiod",
		PoolAPIs:      []string{PoolV1},
		Weighted:      Capability{Yes, "the split is right in every release that reads v1"},
		OwnPicker:     Capability{Partly, "only in builds with istio/istio#61601 (merged September 2026); before, the last weighted pool's picker is asked for the whole rule"},
		MirrorService: Capability{Answer: Yes},
		MirrorPool:    Capability{Partly, "accepted, but the copy asks no picker: round robin"},
		FailOpen:      Capability{Answer: Yes},
		Routing:       ByEnvoyFilter,
		Policies:      []string{"DestinationRule (TLS to pickers, connection limits, ejection)", "EnvoyFilter (body router)"},
		Defects: []Defect{
			// Merged in September 2026; 1.32.0 is the first release made after it. Whether 1.31's later patches have it is not known.
			{Issue: "istio/istio#61594", What: "several weighted InferencePools in a rule share one picker; where its pool is empty the whole rule gets 503", Fixed: "1.32.0"},
			{Issue: "istio/istio#58392", What: "with several HTTPRoutes on a Gateway only the first keeps its pool's picker", Last: "1.28.0"},
			{What: "a CORS or fault filter in a rule with a pool drops the picker (seen in its source, not run)", Last: "1.31.0-rc.0"},
			{What: "an InferencePool without endpointPickerRef is dereferenced (seen in its source, not run)", Last: "1.31.0-rc.0"},
		},
		Proof: Checked,
	}
}

func agentgateway() Provider {
	return Provider{
		Name: "agentgateway", Title: "agentgateway",
		Controllers: []string{"agentgateway.dev/agentgateway"}, Classes: []string{"agentgateway"},
		Groups: []string{"agentgateway.dev"}, Images: []string{"agentgateway-controller", "agentgateway"},
		Kinds:         []schema.GroupKind{{Group: "agentgateway.dev", Kind: "AgentgatewayPolicy"}},
		Minimum:       "Helm value inferenceExtension.enabled=true",
		PoolAPIs:      []string{PoolV1},
		Weighted:      Capability{Answer: Yes},
		OwnPicker:     Capability{Yes, "the picker is asked after the backend is chosen"},
		MirrorService: Capability{Answer: Yes},
		MirrorPool:    Capability{Partly, "accepted by its source, not tried"},
		FailOpen:      Capability{Partly, "FailClose always; FailOpen answers 500 to a POST in 1.4.1"},
		Routing:       ByAgentgatewayPolicy, RoutingNote: "a PreRouting transformation of the Gateway",
		Policies: []string{"AgentgatewayPolicy (model name, limits, timeouts)"},
		Defects: []Defect{
			{Issue: "agentgateway/agentgateway#2623", What: "a POST hangs with a picker", From: "1.3.1", Last: "1.3.1"},
			{Issue: "agentgateway/agentgateway#3473", What: "FailOpen answers 500 to a POST while the picker is away", From: "1.4.1", Last: "1.4.1"},
			{Issue: "agentgateway/agentgateway#3412", What: "a picker that does not answer has no deadline"},
		},
		Proof: Checked,
	}
}

func gke() Provider {
	return Provider{
		Name: "gke", Title: "GKE Gateway",
		Controllers: []string{"networking.gke.io/gateway"}, Classes: []string{"gke-l7-regional-external-managed", "gke-l7-rilb"},
		Groups: []string{"networking.gke.io"},
		Kinds: []schema.GroupKind{
			{Group: "networking.gke.io", Kind: "GCPRoutingExtension"},
			{Group: "networking.gke.io", Kind: "HealthCheckPolicy"},
			{Group: "networking.gke.io", Kind: "GCPBackendPolicy"},
		},
		Minimum:       "GKE 1.34.0-gke.1626000 (its InferencePool definition comes with it) and a proxy-only subnet",
		PoolAPIs:      []string{PoolV1},
		Weighted:      Capability{NotKnown, "intended by the conformance test; no report has it"},
		OwnPicker:     Capability{Answer: NotKnown},
		MirrorService: Capability{NotKnown, "not documented together with pools"},
		MirrorPool:    Capability{Answer: NotKnown},
		FailOpen:      Capability{Yes, "documented"},
		Routing:       ByGCPRoutingExtension,
		Policies: []string{
			"HealthCheckPolicy (of pools and of the body router)", "GCPBackendPolicy (timeout)", "GCPRoutingExtension (body router)",
		},
		Defects: []Defect{{What: "changes of weights reach the load balancers tens of seconds later: give --settle 60s to a rollout"}},
		Proof:   Documented,
	}
}

func envoyGateway() Provider {
	return Provider{
		Name: "envoy-gateway", Title: "Envoy Gateway with Envoy AI Gateway",
		Controllers: []string{ControllerEnvoyGateway}, OwnClass: true, Classes: []string{"envoy-gateway", "eg"},
		Groups: []string{"aigateway.envoyproxy.io"}, Images: []string{"gateway", "ai-gateway-controller"},
		Kinds: []schema.GroupKind{
			{Group: envoyGatewayGroup, Kind: "EnvoyExtensionPolicy"},
			{Group: envoyGatewayGroup, Kind: "BackendTrafficPolicy"},
			{Group: envoyGatewayGroup, Kind: "ClientTrafficPolicy"},
		},
		Minimum: "Envoy Gateway 1.8.1 with AI Gateway 1.0 (extensionManager.backendResources names InferencePool v1, hooks Translation, " +
			"Cluster and Route, enableBackend); Envoy Gateway alone reads no InferencePool",
		PoolAPIs:      []string{PoolV1},
		Weighted:      Capability{No, "at most one InferencePool in a rule; weights between Services work"},
		OwnPicker:     Capability{No, "see weighted pools"},
		MirrorService: Capability{Answer: Yes},
		MirrorPool:    Capability{No, "ResolvedRefs=False, InvalidKind"},
		FailOpen:      Capability{No, "always fails closed"},
		Routing:       ByEnvoyExtensionPolicy, RoutingNote: "an AIGatewayRoute reads the model itself; HTTPRoutes need the body router",
		Policies: []string{"BackendTrafficPolicy (limits, timeout, retries)", "ClientTrafficPolicy (buffer)", "EnvoyExtensionPolicy (body router)"},
		Defects: []Defect{
			{Issue: "envoyproxy/ai-gateway#2657", What: "a rule with more than one InferencePool is refused"},
			{Issue: "envoyproxy/ai-gateway#2502", What: "failureMode FailOpen is not honoured"},
			{Issue: "envoyproxy/envoy#44739", What: "ext_proc is switched on by the route that matched first: a request that matches none at first gets 404, so a route must catch all"},
		},
		Proof: Checked,
	}
}

func nginx() Provider {
	return Provider{
		Name: "ngf", Title: "NGINX Gateway Fabric",
		Controllers: []string{"gateway.nginx.org/nginx-gateway-controller"}, Classes: []string{"nginx"},
		Groups: []string{"gateway.nginx.org"}, Images: []string{"nginx-gateway-fabric"},
		Kinds:         []schema.GroupKind{{Group: "gateway.nginx.org", Kind: "ClientSettingsPolicy"}},
		Minimum:       "2.2.0 with Helm value nginxGateway.gwAPIInferenceExtension.enable=true; 2.3.0 for several pools in a rule",
		PoolAPIs:      []string{PoolV1},
		Weighted:      Capability{Yes, "from 2.3.0"},
		OwnPicker:     Capability{Yes, "from 2.3.0"},
		MirrorService: Capability{Answer: Yes},
		MirrorPool:    Capability{Answer: NotKnown},
		FailOpen:      Capability{Partly, "builds before nginx/nginx-gateway-fabric#5494 (June 2026) always fail open"},
		Routing:       ByClient, RoutingNote: "it calls no body router",
		Policies: []string{"ClientSettingsPolicy (largest body)", "RateLimitPolicy", "ProxySettingsPolicy (timeouts)"},
		Defects: []Defect{
			{Issue: "nginx/nginx-gateway-fabric#4192", What: "several InferencePools in a rule are refused", Fixed: "2.3.0"},
			{Issue: "nginx/nginx-gateway-fabric#5420", What: "failureMode FailClose is not honoured: it always fails open", Last: "2.6.0"},
			{Issue: "nginx/nginx-gateway-fabric#5207", What: "a pool that appears after its route is not taken up", Last: "2.6.0"},
			{What: "a picker never sees the response, so it measures no latency: gates must read the model servers"},
		},
		Proof: Documented,
	}
}

func sandbox() Provider {
	return Provider{
		Name: "sandbox", Title: "kubectl-infer's sandbox",
		Controllers: []string{"kubectl-infer.github.io/sandbox-gateway"}, Classes: []string{"kubectl-infer-sandbox"},
		Kinds:    []schema.GroupKind{{Group: envoyGatewayGroup, Kind: "BackendTrafficPolicy"}, {Group: envoyGatewayGroup, Kind: "ClientTrafficPolicy"}},
		Minimum:  "kubectl infer sandbox up",
		PoolAPIs: []string{PoolV1, PoolV1alpha2},
		Weighted: Capability{Answer: Yes}, OwnPicker: Capability{Answer: Yes}, MirrorService: Capability{Answer: Yes},
		MirrorPool: Capability{Partly, "the copy asks no picker"},
		FailOpen:   Capability{Answer: Yes},
		Routing:    BuiltIn, RoutingNote: "its Envoy asks a body router that the sandbox runs",
		Policies: []string{"BackendTrafficPolicy (limits, timeout, retries)", "ClientTrafficPolicy (buffer)"},
		Proof:    Ran,
	}
}

func none() Provider {
	return Provider{
		Name: "none", Title: "any other gateway that reads InferencePools",
		Minimum:  "see its own documentation",
		PoolAPIs: []string{PoolV1, PoolV1alpha2},
		Weighted: Capability{Answer: NotKnown}, OwnPicker: Capability{Answer: NotKnown}, MirrorService: Capability{Answer: NotKnown},
		MirrorPool: Capability{Answer: NotKnown}, FailOpen: Capability{Answer: NotKnown},
		Routing:     ByHand,
		RoutingNote: "the gateway must call it by ext_proc, request headers and body, and match its routes again",
		Proof:       CheckedInCommon,
	}
}
