package doctor_test

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

const (
	v1    = "inference.networking.k8s.io"
	alpha = "inference.networking.x-k8s.io"
	model = "X-Gateway-Model-Name"
)

func now() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(now().Add(-time.Hour))}
}

func ptr[T any](v T) *T { return &v }

func yes(kind string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: kind}
}

func no(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func key(pool string) doctor.PoolKey {
	return doctor.PoolKey{Group: v1, Namespace: "default", Name: pool}
}

// backend is a pool with a weight.
func backend(pool string, weight int32) gatewayv1.HTTPBackendRef {
	return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
		Weight: &weight,
		BackendObjectReference: gatewayv1.BackendObjectReference{
			Group: ptr(gatewayv1.Group(v1)), Kind: ptr(gatewayv1.Kind("InferencePool")), Name: gatewayv1.ObjectName(pool),
		},
	}}
}

func header(name, value string) gatewayv1.HTTPHeaderMatch {
	return gatewayv1.HTTPHeaderMatch{Name: gatewayv1.HTTPHeaderName(name), Value: value}
}

func match(headers ...gatewayv1.HTTPHeaderMatch) gatewayv1.HTTPRouteMatch {
	return gatewayv1.HTTPRouteMatch{Headers: headers}
}

func path(kind gatewayv1.PathMatchType, value string) gatewayv1.HTTPRouteMatch {
	return gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}}
}

// route is one that its gateway took, with one rule.
func route(name string, matches []gatewayv1.HTTPRouteMatch, backends ...gatewayv1.HTTPBackendRef) doctor.Route {
	parent := gatewayv1.ParentReference{Name: "gw"}
	r := doctor.Route{HTTPRoute: gatewayv1.HTTPRoute{ObjectMeta: named(name)}}
	r.Spec.ParentRefs = []gatewayv1.ParentReference{parent}
	r.Spec.Rules = []gatewayv1.HTTPRouteRule{{Matches: matches, BackendRefs: backends}}
	r.Status.Parents = []gatewayv1.RouteParentStatus{{ParentRef: parent, Conditions: []metav1.Condition{yes("Accepted"), yes("ResolvedRefs")}}}
	return r
}

func pod(name, app string, ok bool) corev1.Pod {
	p := corev1.Pod{ObjectMeta: named(name)}
	p.Labels = map[string]string{"app": app}
	condition := corev1.ConditionFalse
	if ok {
		condition = corev1.ConditionTrue
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: condition}}
	return p
}

// addPool adds a pool with two ready pods, its picker, and what they say.
func addPool(s *doctor.Snapshot, name string) {
	s.Pools = append(s.Pools, doctor.Pool{PoolKey: key(name), Selector: map[string]string{"app": name}, Picker: name + "-picker", FailClose: true})
	s.Pods = append(s.Pods, pod(name+"-1", name, true), pod(name+"-2", name, true), pod(name+"-picker-1", name+"-picker", true))
	s.Services = append(s.Services, corev1.Service{ObjectMeta: named(name + "-picker"), Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name + "-picker"}}})
	s.Pickers = append(s.Pickers, doctor.PickerPage{Pod: name + "-picker-1", Pool: key(name), Serves: "default/" + name, Answered: 1000, Astray: 1})
	s.Servers = append(s.Servers, doctor.ServerList{Pod: name + "-1", Pool: key(name), Models: []string{"qwen"}}, doctor.ServerList{Pod: name + "-2", Pool: key(name), Models: []string{"qwen"}})
}

// gateway makes gw of a class with this controller.
func gateway(s *doctor.Snapshot, class, controller string) {
	k := gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: class}}
	k.Spec.ControllerName = gatewayv1.GatewayController(controller)
	k.Status.Conditions = []metav1.Condition{yes("Accepted")}
	g := gatewayv1.Gateway{ObjectMeta: named("gw")}
	g.Spec.GatewayClassName = gatewayv1.ObjectName(class)
	g.Status.Conditions = []metav1.Condition{yes("Accepted"), yes("Programmed")}
	s.Classes, s.Gateways = []gatewayv1.GatewayClass{k}, []gatewayv1.Gateway{g}
}

// example is manifests/example on the sandbox: two pools behind one route.
func example() doctor.Snapshot {
	s := doctor.Snapshot{
		Now: now(), Namespaces: []string{"default"}, Groups: []string{"gateway.networking.k8s.io", v1, alpha},
		Definitions: []doctor.Definition{
			{Name: "httproutes.gateway.networking.k8s.io", Versions: []string{"v1"}, Wanted: "v1", Bundle: "v1.6.3"},
			{Name: "inferencepools." + v1, Versions: []string{"v1"}, Wanted: "v1"},
			{Name: "inferencepools." + alpha, Versions: []string{"v1alpha2"}, Wanted: "v1alpha2"},
		},
		Rights: []doctor.Right{{Namespace: "default", Object: "httproute/chat", What: "patch httproutes/chat", Allowed: true}},
	}
	gateway(&s, "kubectl-infer-sandbox", "kubectl-infer.github.io/sandbox-gateway")
	addPool(&s, "qwen-v1")
	addPool(&s, "qwen-v2")
	s.Routes = []doctor.Route{route("chat", []gatewayv1.HTTPRouteMatch{match(header(model, "qwen"))}, backend("qwen-v1", 100), backend("qwen-v2", 0))}
	errors, _ := gate.Parse("errors < 1%")
	limit, _ := gate.Parse("ttft p95 < 800ms")
	s.Gates = []doctor.Gate{
		{Namespace: "default", Object: "httproute/chat", Expr: errors},
		{Namespace: "default", Object: "httproute/chat", Expr: limit, Edges: []float64{0.5, 0.8, 1}},
	}
	return s
}

// lora is an InferenceModel that splits between two adapters of qwen-v1.
func lora() doctor.Snapshot {
	s := example()
	s.Models = []doctor.Models{{
		Type: "inferencemodel", Namespace: "default", Name: "travel", Created: now(), Pool: key("qwen-v1"), Claims: []string{"travel"},
		Rules: []doctor.Rule{{Targets: []doctor.Target{{Name: "travel-v1", Weight: 90}, {Name: "travel-v2", Weight: 10}}}},
	}}
	for i := range s.Servers {
		s.Servers[i].Models = []string{"qwen", "travel-v1", "travel-v2"}
	}
	s.Adapters = []doctor.Adapters{{Namespace: "default", Name: "qwen-adapters", Base: "qwen", Names: []string{"travel-v1", "travel-v2"}}}
	return s
}

// midway is the example while a rollout is at work on it.
func midway() doctor.Snapshot {
	s := example()
	s.Routes[0].StampRun = "run-1"
	s.Journals = []doctor.Journal{{Namespace: "default", Name: "infer-httproute-chat", Record: rollout.Record{
		Run: "run-1", Phase: rollout.Baking, Goal: 5, Updated: now().Add(-30 * time.Second), Plan: rollout.Plan{Target: "httproute/chat"},
	}}}
	s.Leases = []coordinationv1.Lease{{ObjectMeta: named("infer-httproute-chat"), Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr("ann@laptop (pid 7)"), LeaseDurationSeconds: ptr(int32(15)), RenewTime: ptr(metav1.NewMicroTime(now().Add(-3 * time.Second))),
	}}}
	return s
}

// onIstio is a gateway of Istio with three routes that do not meet: two models,
// and requests pinned to the canary by one header more.
func onIstio() doctor.Snapshot {
	s := example()
	gateway(&s, "istio", "istio.io/gateway-controller")
	s.Images = []string{"istio/pilot:1.32.0"}
	addPool(&s, "llama")
	s.Routes = append(s.Routes,
		route("llama", []gatewayv1.HTTPRouteMatch{match(header(model, "llama"))}, backend("llama", 1)),
		route("pinned", []gatewayv1.HTTPRouteMatch{match(header(model, "qwen"), header("x-canary", "always"))}, backend("qwen-v2", 1)),
		route("catch-all", nil),
	)
	return s
}

// oldOnACK has pools of the old group only, on a gateway that reads them, whose
// canary waits for its rollout with no pod ready to be judged.
func oldOnACK() doctor.Snapshot {
	s := example()
	gateway(&s, "ack-gateway", "gateway.envoyproxy.io/gatewayclass-controller")
	s.Definitions = append(s.Definitions[:1:1], s.Definitions[2])
	for i := range s.Pools {
		s.Pools[i].Group = alpha
		s.Routes[0].Spec.Rules[0].BackendRefs[i].Group = ptr(gatewayv1.Group(alpha))
	}
	for i := range s.Pickers {
		s.Pickers[i].Pool.Group = alpha
	}
	for i := range s.Servers {
		s.Servers[i].Pool.Group = alpha
	}
	envoy := corev1.Pod{ObjectMeta: named("envoy-1")}
	envoy.Spec.Containers = []corev1.Container{{Image: "envoyproxy/envoy:distroless-v1.38.1"}}
	s.Proxies = []corev1.Pod{envoy}
	return s
}

// byHost has the same match on two host names, and a method of its own.
func byHost() doctor.Snapshot {
	s := example()
	other := route("other-host", []gatewayv1.HTTPRouteMatch{match(header(model, "qwen"))}, backend("qwen-v2", 1))
	s.Routes[0].Spec.Hostnames = []gatewayv1.Hostname{"a.example.com"}
	other.Spec.Hostnames = []gatewayv1.Hostname{"*.example.org"}
	list := path(gatewayv1.PathMatchExact, "/v1/models")
	list.Method = ptr(gatewayv1.HTTPMethodGet)
	s.Routes = append(s.Routes, other, route("list", []gatewayv1.HTTPRouteMatch{list}, backend("qwen-v1", 1)))
	return s
}
