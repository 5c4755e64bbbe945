package cluster_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// proxied is a kubeconfig for a proxy to the API server, whose calls are the
// restricted user's and go through serve.
func proxied(t *testing.T, serve func(forward http.Handler, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	return proxiedAs(t, httptest.NewServer, "{}", serve)
}

// proxiedAs is proxied by a server that start makes, with these credentials in
// the kubeconfig: they are sent to a server with TLS only.
func proxiedAs(t *testing.T, start func(http.Handler) *httptest.Server, user string, serve func(forward http.Handler, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.s.restricted)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	host, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(host) },
		Transport:     transport,
		FlushInterval: -1, // watches
	}
	server := start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(forward, w, r) }))
	t.Cleanup(server.Close)
	authority := ""
	if c := server.Certificate(); c != nil {
		authority = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: %s}}]
users: [{name: u, user: %s}]
current-context: c
`, server.URL, authority, namespace, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// answerStatus is an error as an API server writes it.
func answerStatus(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"injected","reason":%q,"code":%d}`, reason, code)
}

// rough is an API server having a bad day: of the calls after the lease was
// taken, a third fails, in every way there is.
type rough struct {
	mu     sync.Mutex
	rng    *rand.Rand
	begun  bool
	faults map[string]int
}

func (f *rough) serve(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := ""
	if f.begun && f.rng.IntN(3) == 0 {
		fault = []string{"409", "422", "429", "500", "503", "cut", "lost", "expired"}[f.rng.IntN(8)]
		f.faults[fault]++
	}
	f.begun = f.begun || (r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/leases/"))
	f.mu.Unlock()
	status := map[string]struct {
		code   int
		reason string
	}{
		"409": {409, "Conflict"}, "422": {422, "Invalid"}, "429": {429, "TooManyRequests"},
		"500": {500, "InternalError"}, "503": {503, "ServiceUnavailable"}, "expired": {410, "Expired"},
	}[fault]
	switch {
	case fault == "":
		forward.ServeHTTP(w, r)
	case fault == "cut":
		panic(http.ErrAbortHandler)
	case fault == "lost" && r.URL.Query().Get("watch") == "": // carried out, and never answered
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case fault == "lost":
		panic(http.ErrAbortHandler)
	default:
		if fault == "429" {
			w.Header().Set("Retry-After", "1")
		}
		answerStatus(w, status.code, status.reason)
	}
}

// TestARunGetsThroughAnAPIServerInTrouble fails a third of all calls. The run
// must end where the plan ends, or at the baseline, with nothing left behind.
func TestARunGetsThroughAnAPIServerInTrouble(t *testing.T) {
	t.Parallel()
	watch(t)
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("rough-%d", seed)
			newRoute(t, name, 100, 0)
			api := &rough{rng: rand.New(rand.NewPCG(seed, 7)), faults: map[string]int{}}
			args := append(quick(name, "50,100"), "--lease-duration", "15s")
			out := collect(shared.s.prepareCommand(t.Context(), proxied(t, api.serve), args...))
			after := getRoute(t, name)
			if out.code != 0 || canaryWeight(after) != 100 || len(after.GetAnnotations()) > 0 {
				t.Errorf("canary weight %d, annotations %v: %v", canaryWeight(after), after.GetAnnotations(), out)
			}
			t.Logf("faults: %v", api.faults)
		})
	}
}
