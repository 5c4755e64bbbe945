package plugin_test

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// startLimit is ten times the 60 ms that a start may take on a quiet machine, of
// CPU time: how long others keep the machine busy does not count.
const startLimit = 600 * time.Millisecond

// TestAStartIsCheap runs this test program as kubectl-infer version. It links all
// that kubectl-infer does, and package testing.
func TestAStartIsCheap(t *testing.T) {
	if os.Getenv("AS_KUBECTL_INFER") != "" {
		if code, out, stderr := run(t, "", "version"); code != 0 || out == "" {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		return
	}
	least := time.Hour
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAStartIsCheap$")
		cmd.Env = append(os.Environ(), "AS_KUBECTL_INFER=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		least = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	if least > startLimit {
		t.Errorf("a start takes %v of CPU time, more than %v", least, startLimit)
	}
	t.Logf("a start takes %v of CPU time", least)
}
