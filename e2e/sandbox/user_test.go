package sandbox

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

const nobody = 65534

// newUnprivileged is a cache of a user without any right, with the assets in
// it; who runs the tests without rights is that user already.
func newUnprivileged(t *testing.T) cache {
	t.Helper()
	c := newCache(t)
	if os.Geteuid() != 0 {
		return c
	}
	link := filepath.Join(c.dir, "kubectl-infer", "assets")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	found, err := store.Obtain(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, asset := range found {
		from := filepath.Dir(asset.Path)
		if filepath.Dir(from) != store.Dir {
			continue // found elsewhere, as it will be again
		}
		plant(t, from, filepath.Join(link, filepath.Base(from)))
	}
	c.program = filepath.Join(c.dir, program)
	plantFile(t, programPath(t), c.program)
	c.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	err = filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !strings.HasSuffix(path, ".json") {
			return err // what is shared with the machine's cache is left alone
		}
		return os.Chown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func plant(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		plantFile(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
	}
}

// plantFile links a file, or copies it when it must change hands or cannot be linked.
func plantFile(t *testing.T, from, to string) {
	t.Helper()
	if !strings.HasSuffix(from, ".json") && os.Link(from, to) == nil {
		return
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, info.Mode())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(to, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func TestItRunsWithoutRights(t *testing.T) {
	t.Parallel()
	c := newUnprivileged(t)
	out := c.must(t, "run", "--", "sh", "-c", "id -u; kubectl run p --image=busybox --restart=Never --command -- sleep 0 >&2"+
		" && kubectl wait --for=jsonpath={.status.phase}=Succeeded pod/p --timeout=20s && curl -s -o /dev/null -w %{http_code} http://$GATEWAY/")
	if os.Geteuid() == 0 && !strings.HasPrefix(out.stdout, "65534\n") {
		t.Errorf("it ran as %s", out)
	}
	if !strings.HasSuffix(out.stdout, "404") {
		t.Errorf("its gateway does not answer: %s", out)
	}
}
