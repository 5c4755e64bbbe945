package scaffold

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// The labels by which our servers' Services find their Pods.
const (
	ComponentLabel = "kubectl-infer.github.io/component"
	PoolLabel      = "kubectl-infer.github.io/pool"
)

const metricsPort = 9090

// Monitor is the object that tells Prometheus of a server.
type Monitor string

// The monitors, of monitoring.coreos.com/v1.
const (
	NoMonitor      Monitor = "none"
	ServiceMonitor Monitor = "service"
	PodMonitor     Monitor = "pod"
)

// ServerOptions are what both of our servers can be asked for.
type ServerOptions struct {
	About
	Image    string
	Replicas int
	Secure   bool   // TLS, with a certificate made at start
	Outside  bool   // the gateway calls from outside of the cluster's Pods
	Protocol string // appProtocol of the Service; empty is h2c, or http2 with TLS

	MinReplicas, MaxReplicas int // of a HorizontalPodAutoscaler; MaxReplicas 0 is none
	Monitor                  Monitor
}

// Check refuses numbers and images that cannot be.
func (o ServerOptions) Check() error {
	switch {
	case o.Replicas < 1:
		return hint.Errorf("--replicas 2", "%d replicas would serve nobody", o.Replicas)
	case o.MaxReplicas != 0 && (o.MinReplicas < 1 || o.MaxReplicas <= o.MinReplicas):
		return hint.Errorf("--autoscale 2-6", "autoscaling from %d to %d replicas is no range", o.MinReplicas, o.MaxReplicas)
	}
	name, digest, digested := strings.Cut(o.Image, "@")
	if name == "" || strings.ContainsAny(o.Image, " \t\n") {
		return hint.Errorf("--image example/body-router:v1", "image %q is no image", o.Image)
	}
	if digested && !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest) {
		return hint.Errorf("--image example/body-router@sha256:… with 64 hexadecimal digits", "image %q: %q is no digest", o.Image, digest)
	}
	return nil
}

// server is one of the two, as it runs in a cluster.
type server struct {
	ServerOptions
	container    string
	selector     map[string]string
	args         []string
	env          []corev1.EnvVar
	rules        []rbacv1.PolicyRule
	grpc, health int32
	memory       string // limit
	request      string // memory
}

// objects are all of it in the order of creation: access first, and the Service
// after what it points to.
func (s server) objects() []runtime.Object {
	list := append(s.access(), s.deployment(), s.service(), s.networkPolicy(), s.budget())
	if s.MaxReplicas > 0 {
		list = append(list, s.autoscaler())
	}
	if m := s.monitor(); m != nil {
		list = append(list, m)
	}
	return list
}

func typed(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// access is a ServiceAccount with the least Role.
func (s server) access() []runtime.Object {
	rbac := rbacv1.SchemeGroupVersion.String()
	namespace := s.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // a kustomization with a namespace replaces it
	}
	return []runtime.Object{
		&corev1.ServiceAccount{TypeMeta: typed("v1", "ServiceAccount"), ObjectMeta: s.meta()},
		&rbacv1.Role{TypeMeta: typed(rbac, "Role"), ObjectMeta: s.meta(), Rules: s.rules},
		&rbacv1.RoleBinding{
			TypeMeta: typed(rbac, "RoleBinding"), ObjectMeta: s.meta(),
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: s.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: s.Name}},
		},
	}
}

// deployment is of Pod Security level restricted.
func (s server) deployment() *appsv1.Deployment {
	spec := appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: s.selector},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(s.selector)},
			Spec: corev1.PodSpec{
				ServiceAccountName: s.Name, Containers: []corev1.Container{s.containerSpec()},
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: pointer(true), RunAsUser: pointer[int64](65532), RunAsGroup: pointer[int64](65532),
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				// More than the drain window and the time for open streams after it.
				TerminationGracePeriodSeconds: pointer[int64](60),
			},
		},
	}
	if s.MaxReplicas == 0 { // else the autoscaler owns the number
		spec.Replicas = pointer(int32(s.Replicas))
	}
	return &appsv1.Deployment{TypeMeta: typed("apps/v1", "Deployment"), ObjectMeta: s.meta(), Spec: spec}
}

func (s server) containerSpec() corev1.Container {
	probe := func(service string, period int32) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: s.health, Service: &service}}, PeriodSeconds: period}
	}
	args := append([]string{}, s.args...)
	args = append(args, fmt.Sprintf("--grpc-port=%d", s.grpc), fmt.Sprintf("--grpc-health-port=%d", s.health), fmt.Sprintf("--metrics-port=%d", metricsPort))
	if !s.Secure {
		args = append(args, "--secure-serving=false")
	}
	return corev1.Container{
		Name: s.container, Image: s.Image, Args: args, Env: append(s.env, fieldEnv("POD_IP", "status.podIP")),
		Ports: []corev1.ContainerPort{
			{Name: "grpc", ContainerPort: s.grpc}, {Name: "health", ContainerPort: s.health}, {Name: "metrics", ContainerPort: metricsPort},
		},
		ReadinessProbe: probe("", 2), LivenessProbe: probe("liveness", 10),
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse(s.request)},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(s.memory)},
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false), ReadOnlyRootFilesystem: pointer(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

// service carries the selector's labels itself, so that a monitor finds it.
func (s server) service() *corev1.Service {
	protocol := s.Protocol
	switch {
	case protocol != "":
	case s.Secure:
		protocol = "http2"
	default:
		protocol = "kubernetes.io/h2c"
	}
	meta := s.meta()
	if meta.Labels == nil {
		meta.Labels = map[string]string{}
	}
	maps.Copy(meta.Labels, s.selector)
	return &corev1.Service{TypeMeta: typed("v1", "Service"), ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: s.selector,
		Ports: []corev1.ServicePort{
			{Name: "grpc", Port: s.grpc, TargetPort: intstr.FromString("grpc"), AppProtocol: &protocol},
			{Name: "metrics", Port: metricsPort, TargetPort: intstr.FromString("metrics")},
		},
	}}
}

// networkPolicy lets in only the ports that are served, and only from Pods,
// unless the gateway is outside of the cluster. What goes out is left alone: no
// policy can name an API server everywhere.
func (s server) networkPolicy() *networkingv1.NetworkPolicy {
	rule := networkingv1.NetworkPolicyIngressRule{}
	for _, port := range []int32{s.grpc, s.health, metricsPort} {
		rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Protocol: pointer(corev1.ProtocolTCP), Port: pointer(intstr.FromInt32(port))})
	}
	if !s.Outside {
		rule.From = []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta: typed("networking.k8s.io/v1", "NetworkPolicy"), ObjectMeta: s.meta(),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: s.selector},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{rule},
		},
	}
}

// budget never stops a node from being drained: of one replica it lets one go.
func (s server) budget() *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta: typed("policy/v1", "PodDisruptionBudget"), ObjectMeta: s.meta(),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: pointer(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: s.selector},
			UnhealthyPodEvictionPolicy: pointer(policyv1.AlwaysAllow),
		},
	}
}

func (s server) autoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta: typed("autoscaling/v2", "HorizontalPodAutoscaler"), ObjectMeta: s.meta(),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: s.Name},
			MinReplicas:    pointer(int32(s.MinReplicas)), MaxReplicas: int32(s.MaxReplicas),
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: pointer[int32](70)},
			}}},
		},
	}
}

// monitor is nil where none is asked for.
func (s server) monitor() runtime.Object {
	matches := map[string]any{}
	for k, v := range s.selector {
		matches[k] = v
	}
	endpoints := []any{map[string]any{"port": "metrics", "interval": "15s"}}
	switch s.Monitor {
	case ServiceMonitor:
		return s.custom("monitoring.coreos.com/v1", "ServiceMonitor", map[string]any{"endpoints": endpoints, "selector": map[string]any{"matchLabels": matches}})
	case PodMonitor:
		return s.custom("monitoring.coreos.com/v1", "PodMonitor", map[string]any{"podMetricsEndpoints": endpoints, "selector": map[string]any{"matchLabels": matches}})
	}
	return nil
}
