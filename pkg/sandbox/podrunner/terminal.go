package podrunner

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// terminal is a pseudo-terminal: what is written to the outer end is what the
// command at the inner end reads as typed, and the other way round.
type terminal struct{ outer, inner *os.File }

func openTerminal() (*terminal, error) {
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	var number uint32
	err = control(outer, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetUint32(fd, unix.TIOCGPTN)
		return err
	})
	if err != nil {
		outer.Close()
		return nil, fmt.Errorf("unlock a terminal: %w", err)
	}
	inner, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		outer.Close()
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	return &terminal{outer: outer, inner: inner}, nil
}

// control runs do on a file's descriptor, which stays in the poller's hands.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inside error
	if err := raw.Control(func(fd uintptr) { inside = do(int(fd)) }); err != nil {
		return err
	}
	return inside
}

func (t *terminal) resize(size remotecommand.TerminalSize) {
	_ = control(t.outer, func(fd int) error { // a size that is not taken only looks bad
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: size.Width, Row: size.Height})
	})
}

// run runs a command in the terminal and returns how it ended once its output
// was copied, or outputAfterExit has passed.
func (t *terminal) run(cmd *exec.Cmd, in io.Reader, out io.Writer, sizes <-chan remotecommand.TerminalSize) error {
	defer t.outer.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.inner, t.inner, t.inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	// The kernel's promise to kill the child with us is bound to this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	t.inner.Close()
	if err != nil {
		return err
	}
	if in != nil {
		go func() { _, _ = io.Copy(t.outer, in) }() // ends with the stream, which is closed when we return
	}
	ended, copied := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(out, t.outer) // ends with EIO when the last one at the inner end is gone
	}()
	go func() {
		for {
			select {
			case size, more := <-sizes:
				if !more {
					return
				}
				t.resize(size)
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	select {
	case <-copied:
	case <-time.After(outputAfterExit):
	}
	return err
}
