package cluster_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// transcript is what a program printed so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// hanging is a proxy to an API server that answers no call from the nth on; with
// n 0, from the next after begin.
type hanging struct {
	kubeconfig string
	mu         sync.Mutex
	calls, n   int
}

func newHanging(t *testing.T, n int) *hanging {
	t.Helper()
	h := &hanging{n: n}
	over := make(chan struct{})
	h.kubeconfig = proxied(t, func(forward http.Handler, w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.calls++
		hang := h.n > 0 && h.calls >= h.n
		h.mu.Unlock()
		if hang { // until the client gives up, which an unread body would hide
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-r.Context().Done():
			case <-over:
			}
			return
		}
		forward.ServeHTTP(w, r)
	})
	t.Cleanup(func() { close(over) })
	return h
}

func (h *hanging) hangs() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n > 0 && h.calls >= h.n
}

func (h *hanging) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n = h.calls + 1
}

// TestASignalEndsTheProgramWhileTheAPIServerHangs stops answering at a call and
// sends a signal, which must end the program within seconds; where a rollback is
// still being tried, the second must end it at once. That it is five seconds at
// every call is proved on a fake clock, in pkg/rollout.
func TestASignalEndsTheProgramWhileTheAPIServerHangs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		call   int
		more   []string
		second bool
	}{
		{"in preflight", 3, nil, false},
		{"around the first raise", 20, nil, false},
		{"while baking", 40, nil, false},
		{"in a rollback", 0, []string{"--on-interrupt", "rollback"}, true}, // from the first raise on
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("hang-%d-%v", tt.call, tt.second)
			newRoute(t, name, 100, 0)
			h := newHanging(t, tt.call)
			cmd := shared.s.prepareCommand(t.Context(), h.kubeconfig, quick(name, "50,100", append([]string{"--bake", "10m"}, tt.more...)...)...)
			var said transcript
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.call == 0 {
				eventually(t, time.Minute, "the canary has half of the traffic", func() bool { return canaryWeight(getRoute(t, name)) == 50 })
				h.begin()
			}
			eventually(t, time.Minute, "the API server hangs", h.hangs)
			began := time.Now()
			signal := func() {
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Errorf("signal: %v", err)
				}
			}
			signal()
			if tt.second {
				eventually(t, time.Minute, "the rollback is tried", func() bool { return strings.Contains(said.String(), "ROLLBACK") })
				began = time.Now()
				signal()
			}
			_ = cmd.Wait() // its status is looked at below
			took := time.Since(began).Round(time.Millisecond)
			t.Logf("ended %v after the signal", took)
			if took > 15*time.Second {
				t.Errorf("ended only %v after the signal:\n%s", took, said.String())
			}
			status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if tt.second && (!ok || status.Signal() != syscall.SIGINT) || !tt.second && cmd.ProcessState.ExitCode() != 12 {
				t.Errorf("ended as %v:\n%s", cmd.ProcessState, said.String())
			}
		})
	}
}
