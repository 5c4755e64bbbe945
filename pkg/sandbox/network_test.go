package sandbox

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestAPortThatAnotherProgramHoldsIsNamed(t *testing.T) {
	t.Parallel()
	w := network{n: 101} // no sandbox has it
	if err := w.checkPorts(); err != nil {
		t.Fatalf("with all ports free: %v", err)
	}
	for _, port := range w.ports() {
		held, err := net.Listen("tcp", port.String())
		if err != nil {
			t.Fatal(err)
		}
		err = w.checkPorts()
		held.Close()
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), port.String()) || !strings.Contains(hint.Of(err), "ss -ltnp") {
			t.Errorf("%s is held: got %v (hint: %s)", port, err, hint.Of(err))
		}
	}
}

func TestAFullDiskHasItsHint(t *testing.T) {
	t.Parallel()
	home := Home{Dir: "/cache/sandboxes"}
	for _, row := range []struct {
		rule string
		err  error
		want string
	}{
		{"our own write", &net.OpError{Err: unix.ENOSPC}, "XDG_CACHE_HOME"},
		{"a child's last words, over another hint", hint.Errorf("other", "etcd ended: wal: no space left on device"), "XDG_CACHE_HOME"},
		{"another error keeps its hint", hint.Errorf("other", "etcd ended"), "other"},
		{"no error", nil, ""},
	} {
		if got := hint.Of(adviseOnDisk(row.err, home)); !strings.Contains(got, row.want) || (got == "") != (row.want == "") {
			t.Errorf("%s: hint %q", row.rule, got)
		}
	}
}
