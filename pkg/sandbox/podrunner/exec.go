package podrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// outputAfterExit is how long the output of what a command left behind is
// still copied.
const outputAfterExit = 500 * time.Millisecond

// executor runs a command of this machine as if inside a container: with its
// environment, in its Pod's folder, and no longer than the Pod.
type executor struct {
	i *instance
	c *container
}

// ExecInContainer returns the command's exit status as utilexec.ExitError.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, errOut io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if len(command) == 0 {
		return errors.New("no command is given")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.i.ctx, cancel)()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Dir = e.c.env, e.i.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputAfterExit
	if tty {
		t, err := openTerminal()
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "TERM=xterm") // as container runtimes have it
		return exitStatus(command[0], t.run(cmd, in, out, sizes))
	}
	if out != nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	if errOut != nil {
		cmd.Stderr = errOut
	}
	if in != nil {
		pipe, err := cmd.StdinPipe() // with Stdin, Wait would wait for the client's last word
		if err != nil {
			return err
		}
		go func() { // ends with the stream, which is closed when we return
			_, _ = io.Copy(pipe, in)
			pipe.Close()
		}()
	}
	// The kernel's promise to kill the child with us is bound to this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return exitStatus(command[0], cmd.Run())
}

// exitStatus says an exit status as kubectl's protocol wants it: 127 for what is
// not there, 128+N for a signal.
func exitStatus(name string, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s is not on this machine's PATH, where a sandbox's commands run", name)
	case !errors.As(err, &exit):
		return err
	}
	code := exit.ExitCode()
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return utilexec.CodeExitError{Err: err, Code: code}
}

// AttachContainer copies what the container's process prints from now on, until
// it ends. Nothing can be typed into it.
func (e executor) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	if in != nil {
		return errors.New("a sandbox's containers have no stdin: attach without -i, or use exec")
	}
	run, span := e.c.span(false)
	file, err := os.Open(e.c.logPath)
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", e.c.status.Name, err)
	}
	defer file.Close()
	return copyLog(ctx, out, file, span, logOptions{follow: true, limit: -1}, func() bool { return e.c.runs(run) })
}
