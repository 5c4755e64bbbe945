package demo_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemo runs what `make demo` runs. The script itself fails when a client
// request failed, an exit code is not the promised one, or the route is not
// given back byte for byte; here its output, time and leftovers are checked.
func TestDemo(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	before := sandboxes(t, bin)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./run.sh", bin)
	cmd.Env = append(os.Environ(), "TMPDIR="+home)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("the demo took %v", time.Since(began).Round(time.Second))
	for _, want := range []string{
		"exit 0\nPROMOTED", "exit 10\nROLLEDBACK", " 0 failed",
		"spec, labels and annotations of the route are as before, byte for byte",
		"from the deciding scrape to the restored route",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	left, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("left behind: %s", f.Name())
	}
	if after := sandboxes(t, bin); after != before {
		t.Errorf("sandboxes before:\n%s\nafter:\n%s", before, after)
	}
}

// sandboxes lists what runs, so that what the demo started can be told apart.
func sandboxes(t *testing.T, bin string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, "kubectl-infer-sandbox"), "status").Output()
	if err != nil {
		return ""
	}
	var names []string
	for _, line := range strings.Split(string(out), "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(fields[0], "run-") {
			names = append(names, fields[0])
		}
	}
	return strings.Join(names, "\n")
}
