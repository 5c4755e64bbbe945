package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

// TestAFullDiskIsAnErrorWithAHint gives sandboxes a disk of their own that is too
// small, in a mount namespace: it takes root, or user namespaces.
func TestAFullDiskIsAnErrorWithAHint(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, size, flag string }{
		{"from the start, detached", "4k", "--detach"},
		{"when etcd makes its files", "16m", "--detach=false"},
		{"the same, detached", "16m", "--detach"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			store, err := assets.NewStore()
			if err != nil {
				t.Fatal(err)
			}
			c := newCache(t)
			disk := filepath.Join(c.dir, "disk")
			if err := os.Mkdir(disk, 0o700); err != nil {
				t.Fatal(err)
			}
			const script = `mount -t tmpfs -o size=$1 tmpfs "$2" && mkdir "$2/kubectl-infer" && ln -s "$3" "$2/kubectl-infer/assets" &&
				XDG_CACHE_HOME="$2" exec "$4" up --name full "$5"`
			cmd := c.prepare(t.Context(), t)
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", script, "sh", row.size, disk, store.Dir, c.program, row.flag}
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			if user := os.Geteuid(); user != 0 {
				cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}}
				cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
			}
			out := collect(t, cmd)
			if out.code != 1 || !strings.Contains(out.stderr, "no space left on device") || !strings.Contains(out.stderr, "hint: free some space") {
				t.Errorf("got %s", out)
			}
		})
	}
}
