package cluster_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// line is a TCP line to the API server that can be cut and mended: connections
// are refused meanwhile, as they are while an API server restarts.
type line struct {
	address, to string
	mu          sync.Mutex
	listener    net.Listener
	open        []net.Conn
}

// throughLine is kubeconfig with a line before its server.
func throughLine(t *testing.T, kubeconfig string) (*line, string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{address: "127.0.0.1:0"}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			t.Fatal(err)
		}
		l.to = server.Host
		l.mend(t)
		cluster.TLSServerName, server.Host = server.Hostname(), l.address
		cluster.Server = server.String()
	}
	t.Cleanup(l.cut)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return l, path
}

func (l *line) mend(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.listener, l.address = listener, listener.Addr().String()
	l.mu.Unlock()
	go func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", l.to)
			if err != nil {
				_ = here.Close()
				continue
			}
			l.mu.Lock()
			if l.listener != listener { // cut meanwhile
				_, _ = here.Close(), there.Close()
			}
			l.open = append(l.open, here, there)
			l.mu.Unlock()
			for _, pair := range [][2]net.Conn{{here, there}, {there, here}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_, _ = pair[0].Close(), pair[1].Close()
				}()
			}
		}
	}()
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		_ = l.listener.Close()
	}
	l.listener = nil
	for _, c := range l.open {
		_ = c.Close()
	}
	l.open = nil
}

// TestARunOutlivesARestartOfTheAPIServer takes the API server away for longer
// than a lease allows writes without a renewal. Nothing may move meanwhile, and
// the run must go on by itself afterwards.
func TestARunOutlivesARestartOfTheAPIServer(t *testing.T) {
	t.Parallel()
	watch(t)
	newRoute(t, "rough-restart", 100, 0)
	api, kubeconfig := throughLine(t, shared.s.restricted)
	_, ended := beginAs(t, kubeconfig, "rough-restart", "--bake", "3s", "--lease-duration", "15s")
	api.cut()
	back := time.NewTimer(6 * time.Second)
	defer back.Stop()
	for away := true; away; {
		select {
		case out := <-ended:
			t.Fatalf("the run ended while the API server was away: %v", out)
		case <-back.C:
			away = false
		}
	}
	if w := canaryWeight(getRoute(t, "rough-restart")); w != 50 {
		t.Errorf("canary weight %d while the API server was away", w)
	}
	api.mend(t)
	out := <-ended
	if after := getRoute(t, "rough-restart"); out.code != 0 || canaryWeight(after) != 100 || len(after.GetAnnotations()) > 0 {
		t.Errorf("canary weight %d, annotations %v: %v", canaryWeight(after), after.GetAnnotations(), out)
	}
	if !strings.Contains(out.stderr, "connection refused") {
		t.Errorf("the outage is not told: %v", out)
	}
}

// TestAnExpiredTokenIsRefreshed lets a token expire in the middle of a run, whose
// kubeconfig gets tokens from an exec plugin.
func TestAnExpiredTokenIsRefreshed(t *testing.T) {
	t.Parallel()
	newRoute(t, "expired", 100, 0)
	dir := t.TempDir()
	var mu sync.Mutex
	valid, refused, renewed := "first", 0, 0
	issue := func(token string) {
		credential := fmt.Sprintf(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":%q}}`, token)
		if err := os.WriteFile(filepath.Join(dir, "credential"), []byte(credential), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue(valid)
	user := fmt.Sprintf("{exec: {apiVersion: client.authentication.k8s.io/v1, command: cat, args: [%q], interactiveMode: Never}}", filepath.Join(dir, "credential"))
	kubeconfig := proxiedAs(t, httptest.NewTLSServer, user, func(forward http.Handler, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ok := r.Header.Get("Authorization") == "Bearer "+valid
		if !ok {
			refused++
		} else if valid != "first" {
			renewed++
		}
		mu.Unlock()
		if !ok {
			answerStatus(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		r.Header.Del("Authorization") // the proxy has its own
		forward.ServeHTTP(w, r)
	})
	_, ended := beginAs(t, kubeconfig, "expired", "--bake", "2s", "--lease-duration", "15s")
	issue("second")
	mu.Lock()
	valid = "second"
	mu.Unlock()
	out := <-ended
	mu.Lock()
	defer mu.Unlock()
	if out.code != 0 || canaryWeight(getRoute(t, "expired")) != 100 || refused == 0 || renewed == 0 {
		t.Errorf("canary weight %d, %d calls with the old token, %d with the new: %v", canaryWeight(getRoute(t, "expired")), refused, renewed, out)
	}
}

// TestACompactedWatchCostsNoDrift answers every watch with 410 Gone, as after a
// compaction. What the watch cannot tell the next look finds.
func TestACompactedWatchCostsNoDrift(t *testing.T) {
	t.Parallel()
	newRoute(t, "compacted", 100, 0)
	var mu sync.Mutex
	gone := 0
	kubeconfig := proxied(t, func(forward http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			forward.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		gone++
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old resource version","reason":"Expired","code":410}}`)
	})
	_, ended := beginAs(t, kubeconfig, "compacted", "--bake", "10m", "--scrape-interval", "500ms")
	_, err := shared.s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace).Patch(t.Context(), "compacted", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":33}]`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 13 || canaryWeight(getRoute(t, "compacted")) != 33 {
		t.Errorf("canary weight %d: %v", canaryWeight(getRoute(t, "compacted")), out)
	}
	mu.Lock()
	defer mu.Unlock()
	if gone == 0 {
		t.Error("no watch was begun")
	}
}

// TestARollbackThatCannotBeWrittenSaysHowToFinishByHand refuses every patch once
// the canary has traffic. The command that is printed must restore the route.
func TestARollbackThatCannotBeWrittenSaysHowToFinishByHand(t *testing.T) {
	t.Parallel()
	before := given(newRoute(t, "by-hand", 100, 0))
	var mu sync.Mutex
	refuse := false
	kubeconfig := proxied(t, func(forward http.Handler, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		no := refuse && r.Method == http.MethodPatch
		mu.Unlock()
		if no {
			answerStatus(w, http.StatusInternalServerError, "InternalError")
			return
		}
		forward.ServeHTTP(w, r)
	})
	cmd, ended := beginAs(t, kubeconfig, "by-hand", "--bake", "10m", "--lease-duration", "15s", "--on-interrupt", "rollback", "--rollback-limit", "2s")
	mu.Lock()
	refuse = true
	mu.Unlock()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	out := <-ended
	_, command, found := strings.Cut(out.stderr, "\nkubectl patch ")
	command, _, _ = strings.Cut(command, "\n")
	if out.code != 15 || !found || !strings.Contains(out.stderr, "act now: kubectl infer canary abort httproute/by-hand -n default") {
		t.Fatalf("a rollback that cannot be written: %v", out)
	}
	if w := canaryWeight(getRoute(t, "by-hand")); w != 50 {
		t.Errorf("canary weight %d, want the 50 that could not be taken back", w)
	}
	if done := shared.s.shell(t.Context(), "kubectl patch "+command); done.code != 0 || canaryWeight(getRoute(t, "by-hand")) != 0 {
		t.Errorf("the printed command: canary weight %d: %v", canaryWeight(getRoute(t, "by-hand")), done)
	}
	verb(t, 0, "", "abort", "httproute/by-hand", "--lease-duration", "1s")
	if after := given(getRoute(t, "by-hand")); after != before {
		t.Errorf("the route is not as before\nbefore %s\nafter  %s", before, after)
	}
}

// TestAStepThatCannotBeJudgedHoldsAtItsDeadline asks for more requests than
// there are.
func TestAStepThatCannotBeJudgedHoldsAtItsDeadline(t *testing.T) {
	t.Parallel()
	newRoute(t, "undecided", 100, 0)
	out := shared.s.command(t.Context(), quick("undecided", "50,100", "--min-requests", "1000000", "--step-deadline", "2s")...)
	if out.code != 11 || !strings.Contains(out.stderr, "inconclusive at the step's deadline") || !strings.Contains(out.stdout, "HELD") {
		t.Errorf("a step that cannot be judged: %v", out)
	}
	if w := canaryWeight(getRoute(t, "undecided")); w != 50 {
		t.Errorf("canary weight %d, want the 50 that was approved", w)
	}
}
