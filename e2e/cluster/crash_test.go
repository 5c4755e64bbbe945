package cluster_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reference is a plan whose runs are killed at each of their calls.
type reference struct {
	name   string
	steps  string
	more   []string // flags beside quick's
	stable int64    // weight the route is made with
	canary int64
	twins  bool  // a second route moves with the first
	code   int   // how an undisturbed run ends, once approved
	ends   int64 // the canary's weight then; -1 is not listed
}

// harmful are the flags of a rollout that its gate takes back: no answer of the
// example keeps the lowest limit that the buckets show, and the bake leaves time
// to see that.
func harmful(more ...string) []string {
	return append(more, "--gate", "ttft p95 < 5ms", "--bake", "1m")
}

// references are the plans of pkg/rollout's crash test that can be had without
// changing what the pools answer.
func references() []reference {
	return []reference{
		{"two-steps", "50,100", nil, 100, 0, false, 0, 100},
		{"one-step", "100", nil, 100, 0, false, 0, 100},
		{"four-steps", "5,25,50,100", nil, 100, 0, false, 0, 100},
		{"short-of-the-end", "10,50", nil, 100, 0, false, 0, 50},
		{"not-listed", "50,100", []string{"--add-backend"}, 100, -1, false, 0, 100},
		{"fails", "50,100", harmful(), 100, 0, false, 10, 0},
		{"not-listed-and-fails", "50,100", harmful("--add-backend"), 100, -1, false, 10, -1},
		{"approved", "50:approve,100", []string{"--wait=false"}, 100, 0, false, 0, 100},
		{"two-routes", "50,100", nil, 100, 0, true, 0, 100},
	}
}

// command is the run of the plan on the route called name.
func (ref reference) command(name string) []string {
	more := ref.more
	if ref.twins {
		more = append([]string{"httproute/" + twin(name)}, more...)
	}
	return quick(name, ref.steps, more...)
}

// twin is the route that moves with name, whose journal is name's.
func twin(name string) string { return name + twinSuffix }

const twinSuffix = "-twin"

// routes are the names of the plan's routes.
func (ref reference) routes(name string) []string {
	if ref.twins {
		return []string{name, twin(name)}
	}
	return []string{name}
}

// TestCrashAtEachAPICall ends the plugin with SIGKILL at each call it makes to
// the API server in one plan of two steps; all reference plans are in the soak.
func TestCrashAtEachAPICall(t *testing.T) {
	t.Parallel()
	watch(t)
	crashMatrix(t, references()[0], func(int) bool { return true })
}

// crashMatrix kills runs of ref at each call n that is chosen: at every other
// call before the server sees it, at the rest after the server carried it out
// and before the plugin learns of it. What follows is, by turns, an abort or the
// same command again, and must end at the baseline or where the plan ends.
func crashMatrix(t *testing.T, ref reference, chosen func(n int) bool) {
	t.Helper()
	var next sync.Mutex
	call, last, killed := 0, -1, 0
	take := func() (int, bool) {
		next.Lock()
		defer next.Unlock()
		for call++; !chosen(call); {
			call++
		}
		return call, last < 0 || call <= last
	}
	t.Cleanup(func() {
		t.Logf("%s: %d runs killed, each at another call; the shortest whole run made %d", ref.name, killed, last)
	})
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			for {
				n, more := take()
				if !more || t.Failed() {
					return
				}
				died := ref.crashAt(t, n)
				next.Lock()
				if died {
					killed++
				} else if last < 0 || n-1 < last {
					last = n - 1
				}
				next.Unlock()
			}
		})
	}
}

// crashAt runs the plan once and kills it at call n; false if it ended before.
func (ref reference) crashAt(t *testing.T, n int) (died bool) {
	t.Helper()
	t.Run(fmt.Sprintf("call %d", n), func(t *testing.T) {
		name := fmt.Sprintf("crash-%s-%d", ref.name, n)
		var before []string
		for _, route := range ref.routes(name) {
			before = append(before, given(newRoute(t, route, ref.stable, ref.canary)))
		}
		grant(t, ref.routes(name)...)
		proxy := newKiller(t, n)
		cmd := shared.s.prepareCommand(t.Context(), proxy.kubeconfig, ref.command(name)...)
		proxy.start(t, cmd.Start, func() {
			if err := cmd.Process.Kill(); err != nil {
				t.Errorf("kill: %v", err)
			}
		}, cmd.Wait)
		died = proxy.fired()
		if !died {
			if code := cmd.ProcessState.ExitCode(); code != ref.code && code != 17 {
				t.Errorf("a run that was not killed ended with exit code %d", code)
			}
			return
		}
		for _, route := range ref.routes(name) {
			checkCeiling(t, route)
		}
		ref.recoverFrom(t, name, before, n)
	})
	return died
}

// checkCeiling holds the promise: what traffic gets is what the journal allows.
func checkCeiling(t *testing.T, name string) {
	t.Helper()
	weight := canaryWeight(getRoute(t, name))
	if record := recorded(t, strings.TrimSuffix(name, twinSuffix)); weight > record.Ceiling {
		t.Errorf("canary weight is %d, over the journal's ceiling of %d", weight, record.Ceiling)
	}
}

// record is what of a journal the tests look at; the zero value is none.
type record struct {
	Phase             string
	Ceiling           int64
	Decided, Restored time.Time
}

// recorded is what the journal of the route has.
func recorded(t *testing.T, route string) record {
	t.Helper()
	var r record
	cm, err := shared.s.clients.Core.CoreV1().ConfigMaps(namespace).Get(t.Context(), "infer-httproute-"+route, metav1.GetOptions{})
	if err != nil || cm.Data["record.json"] == "" {
		return r
	}
	if err := json.Unmarshal([]byte(cm.Data["record.json"]), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// recoverFrom is what somebody does after the crash: by turns an abort, or the
// same command.
func (ref reference) recoverFrom(t *testing.T, name string, before []string, n int) {
	t.Helper()
	if n%4 < 2 {
		ref.abort(t, name, before)
		return
	}
	out := shared.s.command(t.Context(), ref.command(name)...)
	for range 2 { // the steps of the plan that wait for approval, and one asked for twice
		if out.code == 17 {
			verb(t, 0, "", "promote", "httproute/"+name)
			out = shared.s.command(t.Context(), ref.command(name)...)
		}
	}
	for _, route := range ref.routes(name) {
		after := getRoute(t, route)
		if out.code != ref.code || canaryWeight(after) != ref.ends || len(after.GetAnnotations()) > 0 {
			t.Errorf("new run: %s has canary weight %d, annotations %v: %v", route, canaryWeight(after), after.GetAnnotations(), out)
		}
	}
}

func (ref reference) abort(t *testing.T, name string, before []string) {
	t.Helper()
	out := shared.s.command(t.Context(), "canary", "abort", "httproute/"+name, "--lease-duration", "1s")
	if out.code > 1 {
		t.Errorf("abort: %v", out)
	}
	for i, route := range ref.routes(name) {
		after := getRoute(t, route)
		if out.code == 0 && given(after) != before[i] {
			t.Errorf("abort: %s is not as before\nbefore %s\nafter  %s\n%v", route, before[i], given(after), out)
		}
		// Nothing begun, or everything done: there is nothing to abort.
		if out.code == 1 && (len(after.GetAnnotations()) > 0 || (given(after) != before[i] && canaryWeight(after) != ref.ends)) {
			t.Errorf("abort refused, and %s is neither at the baseline nor at the goal: %v", route, out)
		}
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
