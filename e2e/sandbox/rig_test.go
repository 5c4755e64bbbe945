package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

const (
	bin     = "../../bin"
	program = "kubectl-infer-sandbox"
	patient = 30 * time.Second
)

// cache is a cache folder of a test's own, whose assets are the machine's.
type cache struct {
	dir     string
	program string
	user    *syscall.Credential // runs the program; nil is us
}

// newCache keeps its path short: a unix socket's is at most 108 bytes.
func newCache(t *testing.T) cache {
	t.Helper()
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ki")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(filepath.Join(dir, "kubectl-infer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(store.Dir, filepath.Join(dir, "kubectl-infer", "assets")); err != nil {
		t.Fatal(err)
	}
	return cache{dir: dir, program: programPath(t)}
}

func programPath(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(bin, program))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (c cache) folder(name string) string {
	return filepath.Join(c.dir, "kubectl-infer", "sandboxes", name)
}

// output is what a program said and how it ended.
type output struct {
	stdout, stderr string
	code           int
}

func (o output) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", o.code, o.stdout, o.stderr)
}

func (c cache) prepare(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+c.dir, "HOME="+c.dir, "KUBECTL_INFER_SANDBOX=")
	if c.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
	}
	return cmd
}

func (c cache) run(t *testing.T, args ...string) output {
	t.Helper()
	return collect(t, c.prepare(t.Context(), t, args...))
}

// must is run for what has to succeed.
func (c cache) must(t *testing.T, args ...string) output {
	t.Helper()
	out := c.run(t, args...)
	if out.code != 0 {
		t.Fatalf("%s: %s", strings.Join(args, " "), out)
	}
	return out
}

func collect(t *testing.T, cmd *exec.Cmd) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := output{stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		out.code = exit.ExitCode()
	case err != nil:
		t.Fatalf("run %s: %v (run `make build` first)", cmd.Path, err)
	}
	return out
}

// up brings a sandbox up in the background and takes it down with the test.
func (c cache) up(t *testing.T, name string, flags ...string) sandbox.State {
	t.Helper()
	c.must(t, append([]string{"up", "--detach", "--name", name}, flags...)...)
	t.Cleanup(func() { // most tests have ended it themselves
		_ = c.prepare(context.WithoutCancel(t.Context()), t, "down", "--name", name).Run()
	})
	return c.state(t, name)
}

func (c cache) state(t *testing.T, name string) sandbox.State {
	t.Helper()
	var states []sandbox.State
	out := c.must(t, "status", "--name", name, "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &states); err != nil || len(states) != 1 {
		t.Fatalf("status of %s: %v\n%s", name, err, out)
	}
	return states[0]
}

// kubectl runs the real kubectl on a sandbox.
func kubectl(t *testing.T, s sandbox.State, args ...string) output {
	t.Helper()
	return collect(t, prepareKubectl(t.Context(), t, s, args...))
}

func prepareKubectl(ctx context.Context, t *testing.T, s sandbox.State, args ...string) *exec.Cmd {
	t.Helper()
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	asset, err := store.Find(ctx, assets.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, asset.Path, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "HOME="+t.TempDir())
	return cmd
}

func mustKubectl(t *testing.T, s sandbox.State, args ...string) string {
	t.Helper()
	out := kubectl(t, s, args...)
	if out.code != 0 {
		t.Fatalf("kubectl %s: %s", strings.Join(args, " "), out)
	}
	return out.stdout
}

// apply gives kubectl a manifest.
func apply(t *testing.T, s sandbox.State, manifest string) {
	t.Helper()
	cmd := prepareKubectl(t.Context(), t, s, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out := collect(t, cmd); out.code != 0 {
		t.Fatalf("apply: %s", out)
	}
}

// processes lists what of a sandbox still runs: whatever works in its folder,
// or names its folder or an address of its network.
func processes(t *testing.T, s sandbox.State) []string {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	prefix := strings.TrimSuffix(s.Network, "0.0/16")
	var found []string
	for _, dir := range entries {
		text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(text) == 0 {
			continue // it has just ended
		}
		line := strings.ReplaceAll(strings.TrimRight(string(text), "\x00"), "\x00", " ")
		cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
		if err != nil {
			continue
		}
		if strings.Contains(line, string(s.Folder)) || strings.Contains(line, prefix) || strings.HasPrefix(cwd, string(s.Folder)) ||
			strings.Contains(line, program+" up --name "+s.Name) {
			found = append(found, filepath.Base(dir)+" "+line)
		}
	}
	return found
}

// assertGone waits until no process, no port and no file of a sandbox is left.
func (c cache) assertGone(t *testing.T, s sandbox.State) {
	t.Helper()
	var left []string
	// A process that is ending loses its command line before its sockets.
	eventually(t, "no process and no port is left", func() bool {
		left = append(processes(t, s), listening(t, s)...)
		return len(left) == 0
	}, func() string { return strings.Join(left, "\n") })
	lock, err := net.Listen("tcp", strings.TrimSuffix(s.Network, "0.0/16")+"255.254:9999")
	if err != nil {
		t.Errorf("its network is still held: %v", err)
	} else {
		lock.Close()
	}
	c.run(t, "status") // clears away what a killed one left
	if _, err := os.Stat(c.folder(s.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
}

// listening lists the addresses of a sandbox's network that somebody listens on,
// as the kernel writes them: the first number last.
func listening(t *testing.T, s sandbox.State) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(s.Network, "127.%d.", &n); err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		const listen = "0A"
		if len(fields) > 3 && fields[3] == listen && strings.HasPrefix(fields[1][4:], fmt.Sprintf("%02X7F", n)) {
			found = append(found, fields[1])
		}
	}
	return found
}

func eventually(t *testing.T, what string, ok func() bool, last func() string) {
	t.Helper()
	deadline := time.NewTimer(patient)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after %v still not so: %s\n%s", patient, what, last())
		}
	}
}
