package translate

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// world is a GatewayClass, Gateway default/gw on port 8080, pools a and b with
// two Pods and a picker each, and Service plain with one Pod.
func world() *Objects {
	o := &Objects{
		Classes: []*gwv1.GatewayClass{{
			ObjectMeta: metav1.ObjectMeta{Name: "sandbox", Generation: 3},
			Spec:       gwv1.GatewayClassSpec{ControllerName: ControllerName},
		}},
		Gateways: []*gwv1.Gateway{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gw", Generation: 5},
			Spec: gwv1.GatewaySpec{
				GatewayClassName: "sandbox",
				Listeners:        []gwv1.Listener{{Name: "http", Port: 8080, Protocol: gwv1.HTTPProtocolType}},
			},
		}},
		Addresses: map[types.NamespacedName]netip.Addr{{Namespace: "default", Name: "gw"}: netip.MustParseAddr("127.9.1.1")},
		Namespaces: []*corev1.Namespace{
			{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
			{ObjectMeta: metav1.ObjectMeta{Name: "other", Labels: map[string]string{"team": "x"}}},
		},
	}
	for i, name := range []string{"a", "b"} {
		o.Pools = append(o.Pools, &infv1.InferencePool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Generation: 2},
			Spec: infv1.InferencePoolSpec{
				Selector:          infv1.LabelSelector{MatchLabels: map[infv1.LabelKey]infv1.LabelValue{"app": infv1.LabelValue(name)}},
				TargetPorts:       []infv1.Port{{Number: 8000}},
				EndpointPickerRef: &infv1.EndpointPickerRef{Kind: "Service", Name: infv1.ObjectName(name + "-epp"), Port: &infv1.Port{Number: 9002}},
			},
		})
		o.Services = append(o.Services, service(name+"-epp", 9002, intstr.FromString("grpc")))
		o.Pods = append(o.Pods,
			pod(name, fmt.Sprintf("127.9.2.%d1", i+1)), pod(name, fmt.Sprintf("127.9.2.%d2", i+1)),
			pod(name+"-epp", fmt.Sprintf("127.9.2.%d3", i+1)))
	}
	o.Services = append(o.Services, service("plain", 80, intstr.FromInt32(8080)))
	o.Pods = append(o.Pods, pod("plain", "127.9.2.31"))
	return o
}

func service(name string, port int32, target intstr.IntOrString) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: port, TargetPort: target}},
		},
	}
}

// pod is a ready Pod whose container port 9100 is named grpc.
func pod(app, ip string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: app + "-" + ip, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: 9100}}}}},
		Status: corev1.PodStatus{
			PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

func poolRef(name string, weight int32) gwv1.HTTPBackendRef {
	return gwv1.HTTPBackendRef{BackendRef: gwv1.BackendRef{Weight: &weight, BackendObjectReference: gwv1.BackendObjectReference{
		Group: ptr.To(gwv1.Group(infv1.GroupName)), Kind: ptr.To(gwv1.Kind("InferencePool")), Name: gwv1.ObjectName(name),
	}}}
}

func serviceRef(name string, port gwv1.PortNumber) gwv1.HTTPBackendRef {
	return gwv1.HTTPBackendRef{BackendRef: gwv1.BackendRef{BackendObjectReference: gwv1.BackendObjectReference{
		Name: gwv1.ObjectName(name), Port: &port,
	}}}
}

// route adds HTTPRoute default/NAME to the world, of one rule unless rules are given.
func (o *Objects) route(name string, refs []gwv1.HTTPBackendRef, rules ...gwv1.HTTPRouteRule) *gwv1.HTTPRoute {
	if len(rules) == 0 {
		rules = []gwv1.HTTPRouteRule{{BackendRefs: refs}}
	}
	r := &gwv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Generation: 7,
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1000+len(o.Routes)), 0)),
		},
		Spec: gwv1.HTTPRouteSpec{
			CommonRouteSpec: gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: "gw"}}},
			Rules:           rules,
		},
	}
	o.Routes = append(o.Routes, r)
	return r
}

// said is "Type=Status/Reason …" of conditions, and their generations.
func said(conditions []metav1.Condition) string {
	words := make([]string, len(conditions))
	for i, c := range conditions {
		words[i] = fmt.Sprintf("%s=%s/%s@%d", c.Type, c.Status, c.Reason, c.ObservedGeneration)
	}
	return strings.Join(words, " ")
}

// shares is "backend:weight …" of a route, "!" for an unusable member.
func shares(r Route) string {
	words := make([]string, len(r.Members))
	for i, m := range r.Members {
		backend := m.Backend
		if backend == "" {
			backend = "!"
		}
		words[i] = fmt.Sprintf("%s:%d", backend, m.Weight)
	}
	return strings.Join(words, " ")
}
