package krew

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

const root = "../.."

// machine is a home with kubectl, krew and git on PATH, and nothing of ours.
type machine struct{ env []string }

func newMachine(t *testing.T) machine {
	t.Helper()
	home, path := t.TempDir(), filepath.Join(t.TempDir(), "path")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	kubectl, err := store.Find(t.Context(), assets.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"kubectl": kubectl.Path, "kubectl-krew": tool(t, "krew"), "git": git} {
		if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	return machine{env: []string{
		"HOME=" + home, "KREW_ROOT=" + filepath.Join(home, "krew"), "XDG_CACHE_HOME=" + cache, "KREW_NO_UPGRADE_CHECK=1",
		"PATH=" + strings.Join([]string{filepath.Join(home, "krew", "bin"), path, "/usr/local/bin", "/usr/bin", "/bin"}, ":"),
	}}
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin/tools", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v (run `make packers` first)", err)
	}
	return path
}

// do runs a program of the machine within two minutes.
func (m machine) do(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (m machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/usr/bin/env", args...)
	cmd.Dir, cmd.Env = root, m.env
	return cmd
}

// pack makes archive and manifest of what `make build` built.
func (m machine) pack(t *testing.T) (archive, manifest string) {
	t.Helper()
	dist := t.TempDir()
	archive = filepath.Join(dist, "kubectl-infer_linux_"+runtime.GOARCH+".tar.gz")
	manifest = filepath.Join(dist, "infer.yaml")
	pack := func(to string) {
		m.do(t, tool(t, "release"), "archive", "--out", to, "bin/kubectl-infer", "bin/kubectl-infer-sandbox", "README.md")
	}
	pack(archive)
	again := filepath.Join(t.TempDir(), "again.tar.gz")
	pack(again)
	if digest(m.do(t, "sha256sum", archive)) != digest(m.do(t, "sha256sum", again)) {
		t.Error("the same programs made two different archives")
	}
	m.do(t, tool(t, "release"), "manifest", "--dist", dist, "--version", "v0.1.0", "--url", "https://example.com/v0.1.0", "--out", manifest)
	return archive, manifest
}

func digest(line string) string {
	sum, _, _ := strings.Cut(line, " ")
	return sum
}

// TestTheInstalledPluginRollsOut goes the way of a user: install, a sandbox, a
// canary, all by kubectl and what krew installed.
func TestTheInstalledPluginRollsOut(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	archive, manifest := m.pack(t)
	if said := m.do(t, tool(t, "validate-krew-manifest"), "-manifest", manifest, "-skip-install"); strings.Contains(said, "error") {
		t.Errorf("krew's validator said:\n%s", said)
	}
	m.do(t, "kubectl", "krew", "install", "--manifest", manifest, "--archive", archive)
	if help := m.do(t, "kubectl", "infer", "--help"); !strings.Contains(help, "kubectl infer canary run") {
		t.Errorf("the help does not say how it is called:\n%s", help)
	}
	m.env = append(m.env, fmt.Sprintf("KUBECTL_INFER_SANDBOX=krew-%d", os.Getpid()))
	said := m.do(t, "bash", "-euo", "pipefail", "-c", `
kubectl infer sandbox run --low-ports off -- bash -euo pipefail -c '
kubectl apply -k manifests/example
kubectl wait --for=condition=Available --timeout=60s deployment --all
kubectl wait --for=jsonpath="{.status.parents[0].conditions[?(@.type==\"ResolvedRefs\")].status}"=True --timeout=30s httproute/chat
kubectl infer sandbox load --model qwen=1 --rate 40 --duration 60s >/dev/null 2>&1 & load=$!
kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 --steps 50,100 --gate "errors < 5%" \
  --calibrate 0 --bake 1s --settle 200ms --scrape-interval 200ms --min-requests 5
kill $load
'`)
	if !strings.Contains(said, "PROMOTED") {
		t.Errorf("the canary was not promoted:\n%s", said)
	}
}
