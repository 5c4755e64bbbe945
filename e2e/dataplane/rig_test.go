package dataplane

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/envoy"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends any request of a test, so that one that hangs fails its own test
// and not the whole suite.
const patience = 2 * time.Minute

// rig is one Envoy with its xDS server, one listener and a body router.
type rig struct {
	t        *testing.T
	xds      *xds.Server
	settings xds.Settings
	address  netip.AddrPort
	client   *http.Client
	dir      string
}

// newRig starts an Envoy that serves ir's hosts on a listener of its own.
func newRig(t *testing.T, settings xds.Settings) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "dataplane")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	settings.BodyRouter = startBodyRouter(t, settings.BodyRouterTLS)
	settings.AccessLog = filepath.Join(dir, "access.json")
	server, err := xds.Listen(context.WithoutCancel(t.Context()), filepath.Join(dir, "xds.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	starter := process.NewStarter()
	t.Cleanup(starter.Close)
	proxy, err := envoy.Start(starter, envoy.Options{
		Path: envoyPath(t), Dir: dir, LogPath: filepath.Join(dir, "envoy.log"),
		Socket: filepath.Join(dir, "xds.sock"), Admin: freeAddress(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Stop(5 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Envoy said:\n%s", proxy.LogTail(20))
		}
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &rig{
		t: t, xds: server, settings: settings, dir: dir,
		address: freeAddress(t), client: &http.Client{Transport: transport, Timeout: patience},
	}
}

// push serves one catch-all route over the given members and waits for Envoy.
func (r *rig) push(backends []translate.Backend, members ...translate.Member) {
	r.t.Helper()
	if err := r.tryPush(backends, catchAll(members...)); err != nil {
		r.t.Fatal(err)
	}
}

func catchAll(members ...translate.Member) translate.Route {
	return translate.Route{
		Name: "test/route/0/0", Match: translate.Match{PathKind: translate.PathPrefix, Path: "/"}, Members: members,
	}
}

func (r *rig) tryPush(backends []translate.Backend, routes ...translate.Route) error {
	r.t.Helper()
	snapshot, err := xds.Render(translate.IR{
		Listeners: []translate.Listener{{
			Name: "test/gateway/80", Address: r.address,
			Hosts: []translate.VirtualHost{{Domain: "*", Routes: routes}},
		}},
		Backends: backends,
	}, r.settings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	return r.xds.Push(ctx, snapshot)
}

func (r *rig) url(path string) string { return "http://" + r.address.String() + path }

// pool is an InferencePool backend with a picker in plain text.
func pool(name string, p *picker, failOpen bool, endpoints ...*upstream) translate.Backend {
	b := translate.Backend{
		Name:  "pool/test/" + name,
		Owner: types.NamespacedName{Namespace: "test", Name: name},
		Picker: &translate.Picker{
			Name: "picker/test/" + name, Authority: name + "-picker.test.svc:9002", FailOpen: failOpen,
		},
	}
	for _, u := range endpoints {
		b.Endpoints = append(b.Endpoints, u.address)
	}
	if p != nil {
		b.Picker.Endpoints = []netip.AddrPort{p.address}
	}
	return b
}

func member(b translate.Backend, weight uint32) translate.Member {
	return translate.Member{Weight: weight, Ref: b.Owner.String(), Backend: b.Name, Picker: b.Name}
}

func envoyPath(t *testing.T) string { return findAsset(t, assets.Envoy) }

// findAsset fails the test when a program is not there; nothing is skipped.
func findAsset(t *testing.T, name string) string {
	t.Helper()
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	asset, err := store.Find(t.Context(), name)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	return asset.Path
}

// freeAddress is a loopback address that nothing listens on.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	return freeAddresses(t, 1)[0]
}

// freeAddresses are ports of one loopback address that nobody else has: on 127.0.0.1
// any connection of another test could take a port before its server does.
func freeAddresses(t *testing.T, n int) []netip.AddrPort {
	t.Helper()
	own := netip.AddrFrom4([4]byte{127, byte(64 + rand.IntN(64)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
	list := make([]netip.AddrPort, n)
	for i := range list {
		l := listenAt(t, own)
		defer l.Close()
		list[i] = addressOf(l)
	}
	return list
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	return listenAt(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

func listenAt(t *testing.T, at netip.Addr) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func addressOf(l net.Listener) netip.AddrPort {
	return netip.MustParseAddrPort(l.Addr().String())
}

// eventually polls until cond holds; it fails the test after ten seconds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still not so after 10s: %s", what)
		}
	}
}
