package apply

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

// kind is a kind that we make. Objects are sent in their own version; version is
// the one that they are listed in.
type kind struct {
	group, kind, version, resource string
	cluster                        bool // of the whole cluster, not of a namespace
}

func kinds() []kind {
	const (
		gateway, pools, alpha = "gateway.networking.k8s.io", "inference.networking.k8s.io", "inference.networking.x-k8s.io"
		rbac, gke, istio      = "rbac.authorization.k8s.io", "networking.gke.io", "networking.istio.io"
		monitoring            = "monitoring.coreos.com"
	)
	return []kind{
		{"", "ConfigMap", "v1", "configmaps", false},
		{"", "Service", "v1", "services", false},
		{"", "ServiceAccount", "v1", "serviceaccounts", false},
		{"apps", "Deployment", "v1", "deployments", false},
		{"autoscaling", "HorizontalPodAutoscaler", "v2", "horizontalpodautoscalers", false},
		{"coordination.k8s.io", "Lease", "v1", "leases", false},
		{"networking.k8s.io", "NetworkPolicy", "v1", "networkpolicies", false},
		{"policy", "PodDisruptionBudget", "v1", "poddisruptionbudgets", false},
		{rbac, "Role", "v1", "roles", false},
		{rbac, "RoleBinding", "v1", "rolebindings", false},
		{gateway, "GatewayClass", "v1", "gatewayclasses", true},
		{gateway, "Gateway", "v1", "gateways", false},
		{gateway, "HTTPRoute", "v1", "httproutes", false},
		{pools, "InferencePool", "v1", "inferencepools", false},
		{alpha, "InferencePool", "v1alpha2", "inferencepools", false},
		{alpha, "InferenceModel", "v1alpha2", "inferencemodels", false},
		{alpha, "InferenceModelRewrite", "v1alpha2", "inferencemodelrewrites", false},
		{alpha, "InferenceObjective", "v1alpha2", "inferenceobjectives", false},
		{"llm-d.ai", "InferenceModelRewrite", "v1alpha2", "inferencemodelrewrites", false},
		{"llm-d.ai", "InferenceObjective", "v1alpha2", "inferenceobjectives", false},
		{scaffold.PolicyGroup, "BackendTrafficPolicy", scaffold.PolicyVersion, "backendtrafficpolicies", false},
		{scaffold.PolicyGroup, "ClientTrafficPolicy", scaffold.PolicyVersion, "clienttrafficpolicies", false},
		{scaffold.PolicyGroup, "EnvoyExtensionPolicy", scaffold.PolicyVersion, "envoyextensionpolicies", false},
		{scaffold.PolicyGroup, "HTTPRouteFilter", scaffold.PolicyVersion, "httproutefilters", false},
		{istio, "DestinationRule", "v1", "destinationrules", false},
		{istio, "EnvoyFilter", "v1alpha3", "envoyfilters", false},
		{"agentgateway.dev", "AgentgatewayPolicy", "v1alpha1", "agentgatewaypolicies", false},
		{gke, "GCPBackendPolicy", "v1", "gcpbackendpolicies", false},
		{gke, "GCPRoutingExtension", "v1", "gcproutingextensions", false},
		{gke, "HealthCheckPolicy", "v1", "healthcheckpolicies", false},
		{"gateway.nginx.org", "ClientSettingsPolicy", "v1alpha1", "clientsettingspolicies", false},
		{monitoring, "ServiceMonitor", "v1", "servicemonitors", false},
		{monitoring, "PodMonitor", "v1", "podmonitors", false},
	}
}

func (k kind) at() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.resource}
}

// Resources are all kinds in namespaces that we make, sorted.
func Resources() []schema.GroupVersionResource { return resources(false) }

// ClusterResources are all kinds of the whole cluster that we make.
func ClusterResources() []schema.GroupVersionResource { return resources(true) }

func resources(cluster bool) []schema.GroupVersionResource {
	var list []schema.GroupVersionResource
	for _, k := range kinds() {
		if k.cluster == cluster {
			list = append(list, k.at())
		}
	}
	slices.SortStableFunc(list, func(a, b schema.GroupVersionResource) int { return strings.Compare(a.Resource, b.Resource) })
	return list
}

// Resource is where objects of a kind that we make live.
func Resource(of schema.GroupKind) (schema.GroupVersionResource, bool) {
	for _, k := range kinds() {
		if k.group == of.Group && k.kind == of.Kind {
			return k.at(), true
		}
	}
	return schema.GroupVersionResource{}, false
}
