package scaffold

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// BodyRouterPort is where gateways call the body router, BodyRouterHealthPort
// its plain-text health service.
const (
	BodyRouterPort       = 9004
	BodyRouterHealthPort = 9005
)

// BodyRouter is the body router of a Gateway: access, Deployment, Service,
// NetworkPolicy, PodDisruptionBudget, and what else was asked for. How a gateway
// comes to call it is Wiring.
//
// Its Role lists the ConfigMaps of its namespace, for adapters' base models: the
// API server cannot narrow a list to a label.
func BodyRouter(o ServerOptions) []runtime.Object {
	return server{
		ServerOptions: o, container: "body-router",
		selector: map[string]string{ComponentLabel: "body-router"},
		env:      []corev1.EnvVar{fieldEnv("NAMESPACE", "metadata.namespace")},
		rules:    []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list", "watch"}}},
		grpc:     BodyRouterPort, health: BodyRouterHealthPort,
		// Above --body-budget-bytes (1 GiB), which the server keeps to within a fifth.
		request: "128Mi", memory: "1536Mi",
	}.objects()
}
