package sandbox

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// twoPods is enough for a sandbox to have Pods' processes, one of which has a
// child of its own.
const twoPods = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  replicas: 1
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers: [{name: server, image: model-server-sim, args: [--model, m], ports: [{containerPort: 8000}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: sleeper}
spec:
  containers: [{name: sleeper, image: busybox, command: [sleep, infinity]}]
`

// TestEveryEndingLeavesNothing ends sandboxes in each way there is. SOAK_ROUNDS
// repeats it.
func TestEveryEndingLeavesNothing(t *testing.T) {
	t.Parallel()
	kill := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	endings := []struct {
		rule string
		end  func(t *testing.T, c cache, s sandbox.State)
		told string // by the next verb that names it; "" is nothing
	}{
		{"down", func(t *testing.T, c cache, s sandbox.State) { c.must(t, "down", "--name", s.Name) }, ""},
		{"SIGKILL of the supervisor", func(t *testing.T, _ cache, s sandbox.State) { kill(t, s.PID) }, ""},
		{"SIGKILL of etcd", func(t *testing.T, _ cache, s sandbox.State) { kill(t, s.PIDs["etcd"]) }, "etcd ended: signal: killed"},
		{"SIGKILL of kube-apiserver", func(t *testing.T, _ cache, s sandbox.State) { kill(t, s.PIDs["kube-apiserver"]) }, "kube-apiserver ended: signal: killed"},
	}
	for range rounds(t) {
		for _, tt := range endings {
			t.Run(tt.rule, func(t *testing.T) {
				c := newCache(t)
				s := c.up(t, "ending")
				apply(t, s, twoPods)
				mustKubectl(t, s, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")
				mustKubectl(t, s, "wait", "--for=condition=Available", "deployment/server", "--timeout=30s")
				if all := processes(t, s); len(all) < 7 { // supervisor, etcd, API server, Envoy, body router, two Pods
					t.Fatalf("only these processes are found to be the sandbox's:\n%s", strings.Join(all, "\n"))
				}
				if len(listening(t, s)) < 5 { // or assertGone would find nothing whatever was left
					t.Fatalf("only these ports are found to be the sandbox's: %v", listening(t, s))
				}
				tt.end(t, c, s)
				c.assertGone(t, s)
				out := c.run(t, "logs", "--name", s.Name)
				if out.code == 0 || !strings.Contains(out.stderr, tt.told) {
					t.Errorf("whoever asks is not told %q: %s", tt.told, out)
				}
			})
		}
	}
}

func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SOAK_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SOAK_ROUNDS is %q, not a number above 0", text)
	}
	return n
}
