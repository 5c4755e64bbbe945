package translate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func selectTeam(team string) *gwv1.AllowedRoutes {
	return &gwv1.AllowedRoutes{Namespaces: &gwv1.RouteNamespaces{
		From:     ptr.To(gwv1.NamespacesFromSelector),
		Selector: metav1.SetAsLabelSelector(labels.Set{"team": team}),
	}}
}

// poolA translates a world in which a route names pool a.
func poolA(o *Objects) (Backend, string) {
	o.route("chat", []gwv1.HTTPBackendRef{poolRef("a", 1)})
	ir, statuses := Translate(*o)
	parents := statuses.Pools[types.NamespacedName{Namespace: "default", Name: "a"}]
	for _, b := range ir.Backends {
		if b.Name == "pool/default/a" {
			return b, said(parents[0].Conditions)
		}
	}
	return Backend{}, said(parents[0].Conditions)
}

func TestPickers(t *testing.T) {
	t.Parallel()
	const ok = "Accepted=True/Accepted@2 ResolvedRefs=True/ResolvedRefs@2"
	const unresolved = "Accepted=True/Accepted@2 ResolvedRefs=False/InvalidExtensionRef@2"
	for _, row := range []struct {
		rule   string
		change func(*Objects)
		picker string // endpoints, mode, TLS
		said   string
	}{
		{"a named targetPort, TLS, FailClose", func(*Objects) {}, "[127.9.2.13:9100] open=false tls=true", ok},
		{"FailOpen", func(o *Objects) { o.Pools[0].Spec.EndpointPickerRef.FailureMode = infv1.EndpointPickerFailOpen }, "[127.9.2.13:9100] open=true tls=true", ok},
		{"appProtocol h2c is plain text", func(o *Objects) {
			o.Services[0].Spec.Ports[0].AppProtocol = ptr.To("kubernetes.io/h2c")
		}, "[127.9.2.13:9100] open=false tls=false", ok},
		{"--secure-serving=false is plain text", func(o *Objects) {
			o.Pods[2].Spec.Containers[0].Args = []string{"--pool-name=a", "--secure-serving=false"}
		}, "[127.9.2.13:9100] open=false tls=false", ok},
		{"no picker Pod is ready", func(o *Objects) { o.Pods[2].Status.Conditions = nil }, "[] open=false tls=true", ok},
		{"the Service is missing", func(o *Objects) { o.Services = o.Services[1:] }, "[] open=false tls=true", unresolved},
		{"the Service has no such port", func(o *Objects) { o.Services[0].Spec.Ports[0].Port = 1 }, "[] open=false tls=true", unresolved},
		{"not a Service", func(o *Objects) { o.Pools[0].Spec.EndpointPickerRef.Kind = "Deployment" }, "[] open=false tls=true", unresolved},
		{
			"no endpointPickerRef", func(o *Objects) { o.Pools[0].Spec.EndpointPickerRef = nil }, "none",
			"Accepted=False/EndpointPickerRefMissing@2 ResolvedRefs=True/ResolvedRefs@2",
		},
		{
			"the route is not accepted", func(o *Objects) { o.Gateways[0].Spec.Listeners[0].AllowedRoutes = selectTeam("x") },
			"[127.9.2.13:9100] open=false tls=true", "Accepted=False/HTTPRouteNotAccepted@2 ResolvedRefs=True/ResolvedRefs@2",
		},
	} {
		o := world()
		row.change(o)
		b, status := poolA(o)
		got := "none"
		if b.Picker != nil {
			got = fmt.Sprintf("%v open=%v tls=%v", b.Picker.Endpoints, b.Picker.FailOpen, b.Picker.TLS)
		}
		if got != row.picker || status != row.said {
			t.Errorf("%s: got %s, %s; want %s, %s", row.rule, got, status, row.picker, row.said)
		}
	}
}

func TestEndpointsAreReadyPods(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		change func(*corev1.Pod)
		want   string
	}{
		{"a ready Pod counts", func(*corev1.Pod) {}, "[127.9.2.11:8000 127.9.2.12:8000]"},
		{"not ready", func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }, "[127.9.2.12:8000]"},
		{"terminating", func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.Now()) }, "[127.9.2.12:8000]"},
		{"without an address", func(p *corev1.Pod) { p.Status.PodIP = "" }, "[127.9.2.12:8000]"},
		{"other labels", func(p *corev1.Pod) { p.Labels = nil }, "[127.9.2.12:8000]"},
		{"another namespace", func(p *corev1.Pod) { p.Namespace = "other" }, "[127.9.2.12:8000]"},
	} {
		o := world()
		row.change(o.Pods[0])
		b, _ := poolA(o)
		if got := fmt.Sprint(b.Endpoints); got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
	}
}

func TestGateways(t *testing.T) {
	t.Parallel()
	const ok = "Accepted=True/Accepted@5 Programmed=True/Programmed@5"
	const listener = "Accepted=True/Accepted@5 Programmed=True/Programmed@5 ResolvedRefs=True/ResolvedRefs@5 Conflicted=False/NoConflicts@5"
	one := func(port gwv1.PortNumber, protocol gwv1.ProtocolType) gwv1.Listener {
		return gwv1.Listener{Name: gwv1.SectionName(fmt.Sprint(port)), Port: port, Protocol: protocol}
	}
	for _, row := range []struct {
		rule      string
		lowest    int32
		listeners []gwv1.Listener
		said      string
		first     string
		served    string
	}{
		{"an HTTP listener", 0, []gwv1.Listener{one(8080, "HTTP")}, ok, listener, "127.9.1.1:8080"},
		{"a port below 1024 is served 8000 higher", 0, []gwv1.Listener{one(80, "HTTP")}, ok, listener, "127.9.1.1:8080"},
		{"one that may be bound is served as it is", 80, []gwv1.Listener{one(80, "HTTP")}, ok, listener, "127.9.1.1:80"},
		{"one below those that may be bound is not", 80, []gwv1.Listener{one(79, "HTTP")}, ok, listener, "127.9.1.1:8079"},
		{"80 and 8080 do not collide where both may be bound", 1, []gwv1.Listener{one(8080, "HTTP"), one(80, "HTTP")}, ok, listener, "127.9.1.1:80 127.9.1.1:8080"},
		{"two ports", 0, []gwv1.Listener{one(8080, "HTTP"), one(9090, "HTTP")}, ok, listener, "127.9.1.1:8080 127.9.1.1:9090"},
		{
			"80 and 8080 collide", 0,
			[]gwv1.Listener{one(8080, "HTTP"), one(80, "HTTP")},
			"Accepted=True/ListenersNotValid@5 Programmed=True/Programmed@5", listener, "127.9.1.1:8080",
		},
		{
			"a kind of route that is not served", 0,
			[]gwv1.Listener{{Name: "x", Port: 8080, Protocol: "HTTP", AllowedRoutes: &gwv1.AllowedRoutes{Kinds: []gwv1.RouteGroupKind{{Kind: "GRPCRoute"}, {Kind: "HTTPRoute"}}}}},
			ok, strings.Replace(listener, "ResolvedRefs=True/ResolvedRefs", "ResolvedRefs=False/InvalidRouteKinds", 1), "127.9.1.1:8080",
		},
		{
			"HTTPS is not served", 0,
			[]gwv1.Listener{one(8443, "HTTPS")},
			"Accepted=False/ListenersNotValid@5 Programmed=False/Invalid@5",
			"Accepted=False/UnsupportedProtocol@5 Programmed=False/Invalid@5 ResolvedRefs=True/ResolvedRefs@5 Conflicted=False/NoConflicts@5", "",
		},
	} {
		o := world()
		o.Gateways[0].Spec.Listeners, o.FirstPort = row.listeners, row.lowest
		ir, statuses := Translate(*o)
		var served []string
		for _, l := range ir.Listeners {
			served = append(served, l.Address.String())
		}
		status := statuses.Gateways[types.NamespacedName{Namespace: "default", Name: "gw"}]
		if got := strings.Join(served, " "); got != row.served || said(status.Conditions) != row.said {
			t.Errorf("%s: got %s at %q", row.rule, said(status.Conditions), got)
		}
		if got := said(status.Listeners[0].Conditions); got != row.first {
			t.Errorf("%s: listener got %s", row.rule, got)
		}
	}
}

func TestAListenerAndAGatewaySayWhatIsNotAsWritten(t *testing.T) {
	t.Parallel()
	o := world()
	o.Gateways[0].Spec.Listeners = []gwv1.Listener{{Name: "http", Port: 80, Protocol: "HTTP"}}
	o.Gateways[0].Spec.Infrastructure = &gwv1.GatewayInfrastructure{ParametersRef: &gwv1.LocalParametersReference{Kind: "EnvoyProxy"}}
	_, statuses := Translate(*o)
	status := statuses.Gateways[types.NamespacedName{Namespace: "default", Name: "gw"}]
	if got := status.Conditions[0].Message; !strings.Contains(got, "spec.infrastructure has no effect") {
		t.Errorf("the Gateway says %q", got)
	}
	if got := status.Listeners[0].Conditions[1].Message; !strings.Contains(got, "port 80 is served at 8080") {
		t.Errorf("the listener says %q", got)
	}
}

func TestOrderOfObjectsDoesNotMatter(t *testing.T) {
	t.Parallel()
	o := world()
	for i := range 5 {
		o.route(fmt.Sprint("r", i), []gwv1.HTTPBackendRef{poolRef("a", int32(i)), poolRef("b", 1), serviceRef("plain", 80)})
	}
	ir, statuses := Translate(*o)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		shuffle(random, o.Routes)
		shuffle(random, o.Pools)
		shuffle(random, o.Pods)
		shuffle(random, o.Services)
		again, statusesAgain := Translate(*o)
		if diff := cmp.Diff(ir, again, cmpopts.EquateComparable(ir.Listeners[0].Address)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(statuses, statusesAgain); diff != "" {
			t.Fatal(diff)
		}
	}
}

func shuffle[T any](random *rand.Rand, items []T) {
	random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
}
