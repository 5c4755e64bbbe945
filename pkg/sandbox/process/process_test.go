package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const parentMode = "PROCESS_TEST_PARENT_LOG"

// TestMain also plays the parent that gets killed.
func TestMain(m *testing.M) {
	if log := os.Getenv(parentMode); log != "" {
		os.Exit(parent(log))
	}
	goleak.VerifyTestMain(m)
}

// parent starts a child, prints its pid, and waits for its own end. Threads
// come and go meanwhile: only the starter's own thread may matter.
func parent(log string) int {
	p, err := NewStarter().Start(Spec{Name: "sleep", Path: "/bin/sleep", Args: []string{"600"}, LogPath: log})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for range 8 {
		ended := make(chan struct{})
		go func() { defer close(ended); runtime.LockOSThread() }() // ends its thread
		<-ended
	}
	fmt.Println(p.PID())
	<-p.Done()
	return 2
}

func newStarter(t *testing.T) *Starter {
	t.Helper()
	s := NewStarter()
	t.Cleanup(s.Close)
	return s
}

func startShell(t *testing.T, script string) (*Process, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "logs", "sh.log")
	p, err := newStarter(t).Start(Spec{Name: "sh", Path: "/bin/sh", Args: []string{"-c", script}, LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	return p, log
}

// eventually polls cond until it holds or ten seconds have passed.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still waiting: %s", what)
		}
	}
}

func ended(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatalf("%s (%d) still runs", p.Name(), p.PID())
	}
}

func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestChildDiesWithAKilledParent(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), parentMode+"="+filepath.Join(t.TempDir(), "log"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if gone(pid) {
		t.Fatal("the child ended before its parent was killed")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the child follows its parent", func() bool { return gone(pid) })
}

func TestStopEndsAWillingChildWithSIGTERM(t *testing.T) {
	t.Parallel()
	p, _ := startShell(t, `trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	eventually(t, "the trap is set", func() bool { return p.LogTail(1) == "ready" })
	if err := p.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if !errors.As(p.Err(), &exit) || exit.ExitCode() != 3 {
		t.Errorf("Err() = %v, want exit status 3", p.Err())
	}
	if err := p.Stop(0); err != nil {
		t.Errorf("stopping an ended child: %v", err)
	}
}

func TestStopKillsAfterGrace(t *testing.T) {
	t.Parallel()
	p, _ := startShell(t, `trap '' TERM; echo ready; while :; do sleep 600; done`)
	eventually(t, "the trap is set", func() bool { return p.LogTail(1) == "ready" })
	err := p.Stop(20 * time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Stop() = %v, want it to say that it killed", err)
	}
	ended(t, p)
}

func TestTheGroupGoesWithItsLeader(t *testing.T) {
	t.Parallel()
	p, _ := startShell(t, `sleep 600 & echo $!; wait`)
	eventually(t, "the grandchild's pid is logged", func() bool { return p.LogTail(1) != "" })
	pid, err := strconv.Atoi(p.LogTail(1))
	if err != nil {
		t.Fatal(err)
	}
	// Only the leader is killed, as a stranger would do it.
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, p)
	eventually(t, "the grandchild follows", func() bool { return gone(pid) })
	if p.Err() == nil {
		t.Error("a killed child has an Err")
	}
}

func TestLogIsAppendedPrivately(t *testing.T) {
	t.Parallel()
	s, log := newStarter(t), filepath.Join(t.TempDir(), "deep", "log")
	for _, word := range []string{"one", "two"} {
		p, err := s.Start(Spec{Name: "sh", Path: "/bin/sh", Args: []string{"-c", "echo $0; echo " + word + " $GIVEN >&2"}, Env: []string{"GIVEN=env"}, LogPath: log})
		if err != nil {
			t.Fatal(err)
		}
		ended(t, p)
		if p.Err() != nil {
			t.Error(p.Err())
		}
	}
	if got, want := tail(log, 9), "/bin/sh\none env\n/bin/sh\ntwo env"; got != want {
		t.Errorf("log = %q, want %q", got, want)
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log mode = %v (%v), want 0600", info.Mode(), err)
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("old\nnew\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rotate(log, 8)
	if got := tail(log, 2); got != "old\nnew" {
		t.Errorf("a log at the limit stays, got %q", got)
	}
	rotate(log, 4)
	if got := tail(log, 2); got != "" {
		t.Errorf("a log above the limit is emptied, got %q", got)
	}
	if got := tail(log+".1", 2); got != "new" {
		t.Errorf("the newest part is kept beside it, got %q", got)
	}
}

func TestStartNamesWhatItCouldNotRun(t *testing.T) {
	t.Parallel()
	_, err := newStarter(t).Start(Spec{Name: "etcd", Path: "/no/such/etcd", LogPath: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start etcd (/no/such/etcd)") {
		t.Errorf("Start() = %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	s := NewStarter()
	p, err := s.Start(Spec{Name: "sleep", Path: "/bin/sleep", Args: []string{"600"}, LogPath: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if !gone(p.PID()) {
		t.Error("the child outlived Close")
	}
	if _, err := s.Start(Spec{Name: "late", Path: "/bin/true", LogPath: filepath.Join(t.TempDir(), "log")}); err == nil {
		t.Error("a closed starter started a child")
	}
}
