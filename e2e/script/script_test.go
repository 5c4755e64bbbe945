package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	bin      = "../../bin"
	patience = 30 * time.Second // of until
	limit    = 3 * time.Minute  // of all sessions on the sandbox
)

// TestOffline runs the sessions that need no cluster, against an empty cache.
func TestOffline(t *testing.T) {
	t.Parallel()
	path := searchPath(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/offline", Cmds: commands(), RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", path)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "nowhere.yaml"))
			return os.WriteFile(filepath.Join(env.WorkDir, "nowhere.yaml"), []byte(nowhere), 0o600)
		},
	})
}

// nowhere is a kubeconfig of a cluster that does not answer.
const nowhere = `apiVersion: v1
kind: Config
current-context: nowhere
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
users: [{name: nobody}]
`

// TestSandbox runs the sessions of testdata/sandbox one after the other on one
// sandbox.
func TestSandbox(t *testing.T) {
	path := searchPath(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	example, err := filepath.Abs("../../manifests/example")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("script-%d", os.Getpid())
	kubeconfig := up(t, name)
	params := testscript.Params{
		Dir: "testdata/sandbox", Cmds: commands(), RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", path)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", cache)
			env.Setenv("KUBECONFIG", kubeconfig)
			env.Setenv("KUBECTL_INFER_SANDBOX", name)
			env.Setenv("EXAMPLE", example)
			return nil
		},
	}
	params.Deadline = time.Now().Add(limit)
	testscript.RunT(inOrder{t}, params)
}

// inOrder runs scripts one by one, where testscript would run them together.
type inOrder struct{ *testing.T }

// Parallel implements testscript.T.
func (inOrder) Parallel() {}

// Verbose implements testscript.T.
func (inOrder) Verbose() bool { return testing.Verbose() }

// Run implements testscript.T.
func (o inOrder) Run(name string, f func(testscript.T)) {
	o.T.Run(name, func(t *testing.T) { f(inOrder{t}) })
}

// up brings a sandbox up until the test ends, and returns its kubeconfig.
func up(t *testing.T, name string) string {
	t.Helper()
	sandbox := func(args ...string) []byte {
		var stderr strings.Builder
		cmd := exec.Command(filepath.Join(bin, "kubectl-infer-sandbox"), append(args, "--name", name)...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("sandbox %s: %v\n%s", args[0], err, stderr.String())
		}
		return out
	}
	sandbox("up", "--detach")
	t.Cleanup(func() { sandbox("down") })
	var states []struct{ Kubeconfig string }
	out := sandbox("status", "-o", "json")
	if err := json.Unmarshal(out, &states); err != nil || len(states) != 1 {
		t.Fatalf("sandbox status: %v\n%s", err, out)
	}
	return states[0].Kubeconfig
}

// searchPath is PATH with our programs and the real kubectl in front.
func searchPath(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "kubectl-infer-sandbox"), "assets", "-o", "json").Output()
	if err != nil {
		t.Fatalf("find kubectl: %v (run `make build` first)", err)
	}
	var assets []struct{ Name, Path string }
	if err := json.Unmarshal(out, &assets); err != nil {
		t.Fatal(err)
	}
	for _, a := range assets {
		if a.Name == "kubectl" {
			return strings.Join([]string{dir, filepath.Dir(a.Path), os.Getenv("PATH")}, string(os.PathListSeparator))
		}
	}
	t.Fatalf("no kubectl among the assets:\n%s", out)
	return ""
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "until": until}
}

// exits runs a program and wants its exact exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// until runs a program again until its output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN PROGRAM [ARG...]")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("after %v %s did not print %s: %v", patience, strings.Join(args[1:], " "), args[0], err)
		}
		<-tick.C
	}
}
