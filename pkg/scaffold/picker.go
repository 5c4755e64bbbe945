package scaffold

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// PickerPort is where gateways call an endpoint picker, PickerHealthPort its
// plain-text health service.
const (
	PickerPort       = 9002
	PickerHealthPort = 9003
)

// PickerOptions are of the endpoint picker of one InferencePool.
type PickerOptions struct {
	ServerOptions
	Pool  string
	Group string // of the pool's API
	Port  int    // that the pool names; 0 is PickerPort
}

// PickerName is what the picker of a pool is called unless it is said otherwise.
func PickerName(pool string) string { return pool + "-picker" }

// Picker is a pool's endpoint picker: access, Deployment, Service, NetworkPolicy,
// PodDisruptionBudget, and what else was asked for. Its Role reads, and only in
// its own namespace: the Pods, the pool (v1 or v1alpha2), and the kinds that
// rewrite models or rank requests, where they are served.
func Picker(o PickerOptions) []runtime.Object {
	if o.Port == 0 {
		o.Port = PickerPort
	}
	const current, old, llmd = "inference.networking.k8s.io", "inference.networking.x-k8s.io", "llm-d.ai"
	rule := func(resources []string, groups ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: groups, Resources: resources, Verbs: []string{"list", "watch"}}
	}
	args := []string{"--pool-name=$(POOL_NAME)", "--pool-namespace=$(POD_NAMESPACE)"}
	if o.Group != "" && o.Group != current {
		args = append(args, "--pool-group="+o.Group)
	}
	return server{
		ServerOptions: o.ServerOptions, container: "picker",
		selector: map[string]string{ComponentLabel: "endpoint-picker", PoolLabel: o.Pool},
		args:     args,
		env:      []corev1.EnvVar{{Name: "POOL_NAME", Value: o.Pool}, fieldEnv("POD_NAMESPACE", "metadata.namespace")},
		rules: []rbacv1.PolicyRule{
			rule([]string{"pods"}, ""),
			rule([]string{"inferencepools"}, current, old),
			rule([]string{"inferencemodels"}, old),
			rule([]string{"inferencemodelrewrites", "inferenceobjectives"}, old, llmd),
		},
		grpc: int32(o.Port), health: PickerHealthPort,
		request: "128Mi", memory: "1536Mi",
	}.objects()
}

// PickerWiring is what a gateway needs besides to call a picker over TLS with
// the certificate that it makes at start: nothing but on Istio.
func PickerWiring(p provider.Provider, about About, secure bool) []runtime.Object {
	if p.Name != "istio" {
		return nil
	}
	return []runtime.Object{destinationRule(about, about.Name, secure, nil)}
}

// destinationRule is Istio's for calls to a Service of the same namespace.
// Source: Istio networking v1 DestinationRule.
func destinationRule(about About, service string, secure bool, pool map[string]any) runtime.Object {
	tls := map[string]any{"mode": "DISABLE"}
	if secure {
		tls = map[string]any{"mode": "SIMPLE", "insecureSkipVerify": true}
	}
	policy := map[string]any{"tls": tls}
	if pool != nil {
		policy = map[string]any{"connectionPool": pool}
	}
	return about.custom("networking.istio.io/v1", "DestinationRule", map[string]any{
		"host": service + "." + about.Namespace + ".svc.cluster.local", "trafficPolicy": policy,
	})
}

// PoolGroupVersion splits inference.networking.k8s.io/v1 and the like.
func PoolGroupVersion(api string) schema.GroupVersion {
	gv, _ := schema.ParseGroupVersion(api)
	return gv
}
