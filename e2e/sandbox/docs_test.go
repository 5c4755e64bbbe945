package sandbox

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

// TestTheCommandsOfTheDocs runs the first block of docs/sandbox.md in a shell,
// with the page's two placeholders filled in.
func TestTheCommandsOfTheDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(string(page))
	if block == nil || !strings.Contains(block[1], "KUBECONFIG=…") || !strings.Contains(block[1], "-- COMMAND") {
		t.Fatalf("docs/sandbox.md has no such block: %q", block)
	}
	c := newCache(t)
	script := strings.NewReplacer("KUBECONFIG=…", "KUBECONFIG="+filepath.Join(c.folder("default"), "kubeconfig"), "-- COMMAND", "-- kubectl get gateways").Replace(block[1])
	t.Cleanup(func() { _ = c.prepare(context.WithoutCancel(t.Context()), t, "down").Run() }) // when it did not come so far
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	kubectl, err := store.Find(t.Context(), assets.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-exc", script)
	cmd.Dir = "../.."
	path := strings.Join([]string{filepath.Dir(kubectl.Path), filepath.Dir(programPath(t)), os.Getenv("PATH")}, string(os.PathListSeparator))
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+c.dir, "HOME="+c.dir, "KUBECTL_INFER_SANDBOX=", "PATH="+path)
	if out := collect(t, cmd); out.code != 0 {
		t.Errorf("%s", out)
	}
}
