package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	infclient "sigs.k8s.io/gateway-api-inference-extension/client-go/clientset/versioned"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// cluster is a real API server with the gateway controller on it.
type cluster struct {
	t       *testing.T
	network string
	config  *rest.Config
	core    kubernetes.Interface
	gw      gwclient.Interface
	inf     infclient.Interface
	starter *recordingStarter
	ended   chan error // of Gateway.Run
	late    [][]byte   // definitions that come after the gateway
}

// recordingStarter remembers the Envoy it started, so that a test can end it.
type recordingStarter struct {
	*process.Starter
	mu   sync.Mutex
	last *process.Process
}

func (s *recordingStarter) Start(spec process.Spec) (*process.Process, error) {
	p, err := s.Starter.Start(spec)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = p
	return p, err
}

func (s *recordingStarter) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Kill()
}

// claimNetwork reserves a 127.N as a sandbox does: by its lock address.
func claimNetwork(t *testing.T) string {
	t.Helper()
	for n := 130; n < 170; n++ {
		if lock, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9999", n)); err == nil {
			t.Cleanup(func() { lock.Close() })
			return fmt.Sprintf("127.%d", n)
		}
	}
	t.Fatal("every 127.N.0.0/16 from 130 to 169 is taken")
	return ""
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, network: claimNetwork(t), starter: &recordingStarter{Starter: process.NewStarter()}, ended: make(chan error, 1)}
	t.Cleanup(c.starter.Close)
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	crds, err := store.Obtain(t.Context(), nil, assets.Definitions()...)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	dir := t.TempDir()
	plane, err := controlplane.Start(t.Context(), controlplane.Options{
		Starter: c.starter.Starter, Etcd: findAsset(t, assets.Etcd), KubeAPIServer: findAsset(t, assets.KubeAPIServer),
		Dir: filepath.Join(dir, "state"), LogDir: filepath.Join(dir, "logs"), Address: c.network + ".0.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plane.Stop)
	c.config = plane.AdminConfig()
	var definitions [][]byte
	for _, file := range crds {
		body, err := os.ReadFile(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name == assets.EnvoyGatewayCRDs || file.Name == assets.InferenceModelCRDs {
			c.late = append(c.late, body)
		} else {
			definitions = append(definitions, body)
		}
	}
	if err := controlplane.InstallCRDs(t.Context(), c.config, definitions...); err != nil {
		t.Fatal(err)
	}
	c.clients()
	c.runGateway(dir)
	return c
}

func (c *cluster) clients() {
	c.t.Helper()
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.CloseIdleConnections)
	c.core = kubernetes.NewForConfigOrDie(c.config)
	c.gw = gwclient.NewForConfigOrDie(c.config)
	c.inf = infclient.NewForConfigOrDie(c.config)
}

func (c *cluster) runGateway(dir string) {
	c.t.Helper()
	g, err := gateway.New(gateway.Options{
		RESTConfig: c.config, EnvoyPath: envoyPath(c.t), Dir: filepath.Join(dir, "g"), Network: c.network, ProvisionPickers: true,
		BodyRouterAddress: startBodyRouter(c.t, false).String(), Starter: c.starter,
		Log: slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.ended <- g.Run(ctx) }()
	c.t.Cleanup(func() { cancel(); <-done })
	select {
	case <-g.Ready():
	case err := <-c.ended:
		c.t.Fatalf("the gateway ended: %v", err)
	case <-time.After(30 * time.Second):
		c.t.Fatal("the gateway is not ready after 30s")
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// readyPod makes a Pod that is ready at 127.0.0.1.
func (c *cluster) readyPod(app string) {
	c.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: app, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}
	pod = must[*corev1.Pod](c.t)(c.core.CoreV1().Pods("default").Create(c.t.Context(), pod, metav1.CreateOptions{}))
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP, pod.Status.PodIPs = "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	must[*corev1.Pod](c.t)(c.core.CoreV1().Pods("default").UpdateStatus(c.t.Context(), pod, metav1.UpdateOptions{}))
}

// pool makes an InferencePool of one Pod with a picker of its own.
func (c *cluster) pool(name string, u *upstream, p *picker) {
	c.t.Helper()
	c.readyPod(name)
	c.readyPod(name + "-epp")
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-epp"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name + "-epp"},
			Ports: []corev1.ServicePort{{
				Port: 9002, TargetPort: intstr.FromInt32(int32(p.address.Port())), AppProtocol: ptr.To("kubernetes.io/h2c"),
			}},
		},
	}
	must[*corev1.Service](c.t)(c.core.CoreV1().Services("default").Create(c.t.Context(), service, metav1.CreateOptions{}))
	pool := &infv1.InferencePool{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: infv1.InferencePoolSpec{
			Selector:          infv1.LabelSelector{MatchLabels: map[infv1.LabelKey]infv1.LabelValue{"app": infv1.LabelValue(name)}},
			TargetPorts:       []infv1.Port{{Number: infv1.PortNumber(u.address.Port())}},
			EndpointPickerRef: &infv1.EndpointPickerRef{Name: infv1.ObjectName(name + "-epp"), Port: &infv1.Port{Number: 9002}},
		},
	}
	must[*infv1.InferencePool](c.t)(c.inf.InferenceV1().InferencePools("default").Create(c.t.Context(), pool, metav1.CreateOptions{}))
}

func (c *cluster) class() {
	c.t.Helper()
	class := &gwv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "sandbox"},
		Spec:       gwv1.GatewayClassSpec{ControllerName: translate.ControllerName},
	}
	must[*gwv1.GatewayClass](c.t)(c.gw.GatewayV1().GatewayClasses().Create(c.t.Context(), class, metav1.CreateOptions{}))
}

// gateway makes a Gateway with one listener on port 80.
func (c *cluster) gateway(name string) {
	c.t.Helper()
	gw := &gwv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: gwv1.GatewaySpec{
			GatewayClassName: "sandbox",
			Listeners:        []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}},
		},
	}
	must[*gwv1.Gateway](c.t)(c.gw.GatewayV1().Gateways("default").Create(c.t.Context(), gw, metav1.CreateOptions{}))
}

func poolRef(name string, weight int32) gwv1.HTTPBackendRef {
	return gwv1.HTTPBackendRef{BackendRef: gwv1.BackendRef{
		BackendObjectReference: gwv1.BackendObjectReference{
			Group: ptr.To(gwv1.Group(infv1.GroupName)), Kind: ptr.To(gwv1.Kind("InferencePool")), Name: gwv1.ObjectName(name),
		},
		Weight: &weight,
	}}
}

func (c *cluster) route(refs ...gwv1.HTTPBackendRef) {
	c.t.Helper()
	route := &gwv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Name: "chat"},
		Spec: gwv1.HTTPRouteSpec{
			CommonRouteSpec: gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: "inference-gateway"}}},
			Rules:           []gwv1.HTTPRouteRule{{BackendRefs: refs}},
		},
	}
	must[*gwv1.HTTPRoute](c.t)(c.gw.GatewayV1().HTTPRoutes("default").Create(c.t.Context(), route, metav1.CreateOptions{}))
}

// weights moves the route's weights by JSON Patch, as a rollout does, and waits
// until the status speaks of the new generation.
func (c *cluster) weights(a, b int) {
	c.t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":%d},
		{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":%d}]`, a, b)
	must[*gwv1.HTTPRoute](c.t)(c.gw.GatewayV1().HTTPRoutes("default").Patch(
		c.t.Context(), "chat", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}))
	c.routeServed()
}

func (c *cluster) routeServed() *gwv1.HTTPRoute {
	c.t.Helper()
	var route *gwv1.HTTPRoute
	eventually(c.t, "httproute chat is accepted and resolved at its generation", func() bool {
		route = must[*gwv1.HTTPRoute](c.t)(c.gw.GatewayV1().HTTPRoutes("default").Get(c.t.Context(), "chat", metav1.GetOptions{}))
		for _, p := range route.Status.Parents {
			if p.ControllerName == translate.ControllerName {
				return trueAt(p.Conditions, route.Generation, "Accepted", "ResolvedRefs")
			}
		}
		return false
	})
	return route
}

func trueAt(conditions []metav1.Condition, generation int64, kinds ...string) bool {
	for _, kind := range kinds {
		c := meta.FindStatusCondition(conditions, kind)
		if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != generation {
			return false
		}
	}
	return true
}

func TestTheControllerServesWhatTheAPIServerSays(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	uA, uB := startUpstream(t), startUpstream(t)
	c.class()
	c.gateway("inference-gateway")
	pA := startPicker(t, uA)
	c.pool("a", uA, pA)
	c.pool("b", uB, startPicker(t, uB))
	c.route(poolRef("a", 100), poolRef("b", 0))
	c.routeServed()
	address := c.addressOf(t, "inference-gateway")
	if address.String() != c.network+".1.1:8080" {
		t.Fatalf("got endpoint %s, want %s.1.1:8080", address, c.network)
	}
	r := &rig{t: t, address: address, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(r.client.CloseIdleConnections)
	wantFrom := func(backend string, u *upstream) {
		t.Helper()
		if got := r.post([]byte(chat), nil); got.code != 200 || got.backend != backend || got.echo.Upstream != u.address.String() {
			t.Errorf("got %d from %q at %s, want %s", got.code, got.backend, got.echo.Upstream, backend)
		}
	}
	eventually(t, "the pool's endpoints are served", func() bool { return r.post([]byte(chat), nil).code == 200 })
	wantFrom("default/a", uA)
	for range 3 { // the status follows Envoy's acknowledgement: no waiting after it
		c.weights(0, 100)
		wantFrom("default/b", uB)
		c.weights(100, 0)
		wantFrom("default/a", uA)
	}
	t.Run("statuses", func(t *testing.T) { c.statuses(t) })
	t.Run("entries of others stay", func(t *testing.T) { c.foreignEntries(t) })
	t.Run("a refusal is shown and mended", func(t *testing.T) {
		c.refusal(t)
		wantFrom("default/a", uA)
	})
	t.Run("a route that Envoy refuses holds up no other", func(t *testing.T) { c.refusedRoute(t, r) })
	t.Run("Envoy's end is shown and healed", func(t *testing.T) {
		changes := must[watch.Interface](t)(c.gw.GatewayV1().Gateways("default").Watch(t.Context(), metav1.SingleObject(metav1.ObjectMeta{Name: "inference-gateway"})))
		defer changes.Stop()
		c.starter.kill()
		for _, want := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionTrue} { // the first is how it was
			event := <-changes.ResultChan()
			gw, _ := event.Object.(*gwv1.Gateway)
			if gw == nil {
				t.Fatalf("watching the Gateway: %v", event)
			}
			p := meta.FindStatusCondition(gw.Status.Conditions, "Programmed")
			l := meta.FindStatusCondition(gw.Status.Listeners[0].Conditions, "Programmed")
			if p.Status != want || l.Status != want || (want == metav1.ConditionFalse && !strings.Contains(p.Message, "Envoy ended")) {
				t.Errorf("the Gateway says %s %q, its listener %s, want %s", p.Status, p.Message, l.Status, want)
			}
		}
		eventually(t, "a new Envoy serves", func() bool {
			got, err := r.do(http.MethodPost, strings.NewReader(chat), nil)
			return err == nil && got.code == http.StatusOK
		})
		c.weights(0, 100) // and obeys
		wantFrom("default/b", uB)
		select {
		case err := <-c.ended:
			t.Errorf("the gateway ended: %v", err)
		default:
		}
	})
	t.Run("the manifests of an ACK guide, whose definitions come late", func(t *testing.T) { c.ack(t, uA, pA) })
	t.Run("counters", func(t *testing.T) { c.wantCounters(t) })
}

// addressOf is where a programmed Gateway's one listener is reached.
func (c *cluster) addressOf(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	var address netip.AddrPort
	eventually(t, "Gateway "+name+" is programmed", func() bool {
		gw := must[*gwv1.Gateway](t)(c.gw.GatewayV1().Gateways("default").Get(t.Context(), name, metav1.GetOptions{}))
		if trueAt(gw.Status.Conditions, gw.Generation, "Programmed") {
			address = netip.AddrPortFrom(netip.MustParseAddr(gw.Status.Addresses[0].Value), 8080) // 80 is served there, too
		}
		return address.IsValid()
	})
	return address
}

func (c *cluster) statuses(t *testing.T) {
	gw := must[*gwv1.Gateway](t)(c.gw.GatewayV1().Gateways("default").Get(t.Context(), "inference-gateway", metav1.GetOptions{}))
	l := gw.Status.Listeners[0]
	if !trueAt(gw.Status.Conditions, gw.Generation, "Accepted", "Programmed") ||
		!trueAt(l.Conditions, gw.Generation, "Accepted", "Programmed", "ResolvedRefs") || l.AttachedRoutes != 1 {
		t.Errorf("gateway status: %+v", gw.Status)
	}
	if m := meta.FindStatusCondition(l.Conditions, "Accepted").Message; !strings.Contains(m, "port 80 is served at 8080") {
		t.Errorf("the listener says %q about its port", m)
	}
	class := must[*gwv1.GatewayClass](t)(c.gw.GatewayV1().GatewayClasses().Get(t.Context(), "sandbox", metav1.GetOptions{}))
	if !trueAt(class.Status.Conditions, class.Generation, "Accepted") {
		t.Errorf("gatewayclass status: %+v", class.Status)
	}
	for _, name := range []string{"a", "b"} {
		pool := must[*infv1.InferencePool](t)(c.inf.InferenceV1().InferencePools("default").Get(t.Context(), name, metav1.GetOptions{}))
		if len(pool.Status.Parents) != 1 || !trueAt(pool.Status.Parents[0].Conditions, pool.Generation, "Accepted", "ResolvedRefs") {
			t.Errorf("pool %s status: %+v", name, pool.Status)
		}
	}
}

// foreignEntries writes a status entry as another controller would.
func (c *cluster) foreignEntries(t *testing.T) {
	route := c.routeServed()
	route.Status.Parents = append(route.Status.Parents, gwv1.RouteParentStatus{
		ParentRef: gwv1.ParentReference{Name: "other"}, ControllerName: "example.com/other",
		Conditions: []metav1.Condition{{Type: "Accepted", Status: "True", Reason: "Accepted", LastTransitionTime: metav1.Now()}},
	})
	must[*gwv1.HTTPRoute](t)(c.gw.GatewayV1().HTTPRoutes("default").UpdateStatus(t.Context(), route, metav1.UpdateOptions{}))
	c.weights(60, 40)
	if parents := c.routeServed().Status.Parents; len(parents) != 2 {
		t.Errorf("got %d status entries, want ours and the other controller's", len(parents))
	}
}
