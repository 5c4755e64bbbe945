package cluster_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// begin starts a rollout that stays at its first step, and waits until it is there.
func begin(t *testing.T, name string, more ...string) (*exec.Cmd, <-chan output) {
	t.Helper()
	return beginAs(t, shared.s.restricted, name, more...)
}

// beginAs is begin with a kubeconfig of the test's own.
func beginAs(t *testing.T, kubeconfig, name string, more ...string) (*exec.Cmd, <-chan output) {
	t.Helper()
	cmd := shared.s.prepareCommand(t.Context(), kubeconfig, quick(name, "50,100", more...)...)
	ended := make(chan output, 1)
	go func() { ended <- collect(cmd) }()
	eventually(t, time.Minute, "the canary has half of the traffic", func() bool {
		select {
		case out := <-ended:
			t.Fatalf("the run ended too early: %v", out)
		default:
		}
		return canaryWeight(getRoute(t, name)) == 50
	})
	return cmd, ended
}

func TestTheSecondStarterIsToldWhoHoldsTheLease(t *testing.T) {
	t.Parallel()
	newRoute(t, "second", 100, 0)
	cmd, ended := begin(t, "second", "--bake", "10m", "--lease-duration", "15s")
	out := shared.s.command(t.Context(), quick("second", "50,100", "--bake", "10m", "--lease-duration", "15s")...)
	if out.code != 14 || !strings.Contains(out.stderr, "another process drives this rollout") || !strings.Contains(out.stderr, "(pid ") {
		t.Errorf("the second starter: %v", out)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 12 {
		t.Errorf("the first: %v", out)
	}
}

// TestAHolderPausedPastItsLeaseCannotWrite stops a process, lets an abort take
// the rollout over from what looks dead, and wakes the process again.
func TestAHolderPausedPastItsLeaseCannotWrite(t *testing.T) {
	t.Parallel()
	before := given(newRoute(t, "asleep", 100, 0))
	cmd, ended := begin(t, "asleep", "--bake", "10m", "--lease-duration", "2s")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if out := shared.s.command(t.Context(), "canary", "abort", "httproute/asleep"); out.code != 0 {
		t.Errorf("abort: %v", out)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 19 && out.code != 14 {
		t.Errorf("the process that slept: %v", out)
	}
	if after := given(getRoute(t, "asleep")); after != before {
		t.Errorf("the route is not as before\nbefore %s\nafter  %s", before, after)
	}
}

// TestALiveLeaseIsTakenOverOnlyWhenAsked has a run that is alive and would obey an
// abort only at its next look, in half a minute: --take-over does not ask it.
func TestALiveLeaseIsTakenOverOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	before := given(newRoute(t, "taken", 100, 0))
	_, ended := begin(t, "taken", "--bake", "10m", "--lease-duration", "15s", "--scrape-interval", "30s")
	out := shared.s.command(t.Context(), "canary", "abort", "httproute/taken", "--take-over")
	if out.code != 0 || !strings.Contains(out.stderr, "taking over from") || strings.Contains(out.stderr, ": requested by") {
		t.Errorf("abort --take-over: %v", out)
	}
	if after := given(getRoute(t, "taken")); after != before {
		t.Errorf("the route is not as before\nbefore %s\nafter  %s", before, after)
	}
	if out := <-ended; out.code != 19 && out.code != 14 {
		t.Errorf("the run that lost its lease: %v", out)
	}
}

// TestASleeperDoesNotWakeAfterGCAndANewRun goes further: the journal was
// emptied and another run has begun meanwhile.
func TestASleeperDoesNotWakeAfterGCAndANewRun(t *testing.T) {
	t.Parallel()
	newRoute(t, "forgotten", 100, 0)
	cmd, ended := begin(t, "forgotten", "--bake", "10m", "--lease-duration", "2s")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"canary", "abort", "httproute/forgotten"},
		{"canary", "gc", "httproute/forgotten", "--keep", "0s"},
		quick("forgotten", "60,70"),
	} {
		if out := shared.s.command(t.Context(), args...); out.code != 0 {
			t.Errorf("%v: %v", args, out)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 14 {
		t.Errorf("the process that slept: %v", out)
	}
	if w := canaryWeight(getRoute(t, "forgotten")); w != 70 {
		t.Errorf("canary weight %d, want the new run's 70", w)
	}
}
