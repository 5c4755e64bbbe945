package cluster_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCrashAtEachAPICall ends the plugin with SIGKILL at each call it makes to
// the API server in one plan of two steps: at every other call before the
// server sees it, at the rest after the server carried it out and before the
// plugin learns of it. What follows is, by turns, an abort or the same command
// again, and must end at the baseline or at the goal.
func TestCrashAtEachAPICall(t *testing.T) {
	watch(t)
	const lanes = 4
	var next sync.Mutex
	call, last := 0, -1
	take := func() (int, bool) {
		next.Lock()
		defer next.Unlock()
		call++
		return call, last < 0 || call <= last
	}
	t.Cleanup(func() { t.Logf("killed at each of %d calls", last) })
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			for {
				n, more := take()
				if !more || t.Failed() {
					return
				}
				if died := crashAt(t, n); !died {
					next.Lock()
					if last < 0 || n-1 < last {
						last = n - 1
					}
					next.Unlock()
				}
			}
		})
	}
}

// crashAt runs the plan once and kills it at call n; false if it ended before.
func crashAt(t *testing.T, n int) (died bool) {
	t.Helper()
	t.Run(fmt.Sprintf("call %d", n), func(t *testing.T) {
		name := fmt.Sprintf("crash-%d", n)
		before := given(newRoute(t, name, 100, 0))
		proxy := newKiller(t, n)
		cmd := shared.s.prepareCommand(t.Context(), proxy.kubeconfig, quick(name, "50,100")...)
		proxy.start(t, cmd.Start, func() {
			if err := cmd.Process.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		}, cmd.Wait)
		died = proxy.fired()
		if !died {
			if code := cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("a run that was not killed ended with exit code %d", code)
			}
			return
		}
		checkCeiling(t, name)
		recoverFrom(t, name, before, n)
	})
	return died
}

// checkCeiling holds the promise: what traffic gets is what the journal allows.
func checkCeiling(t *testing.T, name string) {
	t.Helper()
	weight := canaryWeight(getRoute(t, name))
	cm, err := shared.s.clients.Core.CoreV1().ConfigMaps(namespace).Get(t.Context(), "infer-httproute-"+name, metav1.GetOptions{})
	if err != nil || cm.Data["record.json"] == "" {
		if weight != 0 {
			t.Errorf("canary weight is %d without a journal", weight)
		}
		return
	}
	var record struct{ Ceiling int64 }
	if err := json.Unmarshal([]byte(cm.Data["record.json"]), &record); err != nil {
		t.Fatal(err)
	}
	if weight > record.Ceiling {
		t.Errorf("canary weight is %d, over the journal's ceiling of %d", weight, record.Ceiling)
	}
}

func recoverFrom(t *testing.T, name, before string, n int) {
	t.Helper()
	if n%4 < 2 {
		out := shared.s.command(t.Context(), "canary", "abort", "httproute/"+name, "--lease-duration", "1s")
		after := getRoute(t, name)
		if out.code == 0 && given(after) != before {
			t.Errorf("abort: the route is not as before\nbefore %s\nafter  %s\n%v", before, given(after), out)
		}
		// Nothing begun, or everything done: there is nothing to abort.
		if out.code == 1 && (len(after.GetAnnotations()) > 0 || (given(after) != before && canaryWeight(after) != 100)) {
			t.Errorf("abort refused, and the route is neither at the baseline nor at the goal: %v", out)
		}
		if out.code > 1 {
			t.Errorf("abort: %v", out)
		}
		return
	}
	out := shared.s.command(t.Context(), quick(name, "50,100")...)
	after := getRoute(t, name)
	if out.code != 0 || canaryWeight(after) != 100 || len(after.GetAnnotations()) > 0 {
		t.Errorf("new run: canary weight %d, annotations %v: %v", canaryWeight(after), after.GetAnnotations(), out)
	}
}

// killer is a proxy to the API server that kills a process at its nth call.
type killer struct {
	kubeconfig string
	n          int
	mu         sync.Mutex
	calls      int
	hit        bool
	kill       func()
	gone       chan struct{}
}

func newKiller(t *testing.T, n int) *killer {
	t.Helper()
	k := &killer{n: n, gone: make(chan struct{})}
	k.kubeconfig = proxied(t, k.serve)
	return k
}

func (k *killer) serve(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.calls++
	due := k.calls == k.n
	k.hit = k.hit || due
	k.mu.Unlock()
	if !due {
		forward.ServeHTTP(w, r)
		return
	}
	if k.n%2 == 0 { // carried out, and never answered
		forward.ServeHTTP(httptest.NewRecorder(), r)
	}
	k.kill()
	<-k.gone
	panic(http.ErrAbortHandler)
}

// start runs the process to its end, killed or not.
func (k *killer) start(t *testing.T, start func() error, kill func(), wait func() error) {
	t.Helper()
	started := make(chan struct{})
	k.kill = func() { <-started; kill() }
	if err := start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	_ = wait() // its exit status is looked at by the caller
	close(k.gone)
}

func (k *killer) fired() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hit
}
