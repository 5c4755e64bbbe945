package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

const poll = 50 * time.Millisecond

// detach starts `up` in a session of its own, shows its progress, and returns
// when it is ready or has ended.
func (c *cli) detach(ctx context.Context, name string, flags []string) error {
	if err := sandbox.CheckName(name); err != nil {
		return err
	}
	home, err := sandbox.NewHome()
	if err != nil {
		return err
	}
	if _, held := home.Look(name); held {
		return sandbox.AlreadyRunning(name)
	}
	child, log, err := launch(name, flags, home.Folder(name).StartLog())
	if err != nil {
		return err
	}
	defer log.Close()
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for interrupt := ctx.Done(); ; {
		select {
		case <-ended:
			c.copyLog(log) // it has said why
			return &exitError{code: ExitError}
		case <-interrupt:
			interrupt = nil // from now on we wait for its end
			_ = child.Process.Signal(syscall.SIGTERM)
		case <-tick.C:
		}
		state, held := home.Look(name)
		c.copyLog(log)
		if held && state.Phase == sandbox.Running && state.PID == child.Process.Pid && ctx.Err() == nil {
			describe(c.Out, state)
			return nil
		}
	}
}

func (c *cli) copyLog(log io.Reader) {
	_, _ = io.Copy(c.ErrOut, log) // it is read again at the next tick
}

// launch starts the child with its output in a log, which is returned for reading.
func launch(name string, flags []string, path string) (*exec.Cmd, *os.File, error) {
	const advice = "set XDG_CACHE_HOME to a folder you can write to"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, hint.Errorf(advice, "make the log folder of sandbox %q: %w", name, err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, hint.Errorf(advice, "make the log of sandbox %q: %w", name, err)
	}
	defer out.Close()
	log, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the log of sandbox %q: %w", name, err)
	}
	executable, err := os.Executable()
	if err != nil {
		log.Close()
		return nil, nil, fmt.Errorf("find our own executable: %w", err)
	}
	child := exec.Command(executable, append([]string{"up", "--name", name}, flags...)...)
	child.Stderr = out
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		log.Close()
		return nil, nil, fmt.Errorf("start the supervisor of sandbox %q: %w", name, err)
	}
	return child, log, nil
}
