package process

import (
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is one running or ended child.
type Process struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // written before done is closed

	mu     sync.Mutex
	reaped bool // the pid is no longer ours to signal
}

// Name is the Spec's name.
func (p *Process) Name() string { return p.name }

// PID is the child's process id and the id of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended: nil while it runs and after exit status 0.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// LogTail returns the last lines of the child's log, at most n.
func (p *Process) LogTail(n int) string { return tail(p.logPath, n) }

// Kill sends SIGKILL to the child's group and does not wait.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Stop sends SIGTERM to the child's group, SIGKILL once grace has passed, and
// waits until the child is gone; an ended child needs neither. The error says that it had to be killed.
func (p *Process) Stop(grace time.Duration) error {
	if !p.signal(syscall.SIGTERM) {
		<-p.done
		return nil
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	killed := p.signal(syscall.SIGKILL)
	<-p.done
	if !killed {
		return nil
	}
	return fmt.Errorf("stop %s: still running %s after SIGTERM, so it was killed", p.name, grace)
}

// signal reports whether the child was still there to be signalled.
func (p *Process) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return false
	}
	signalGroup(p.PID(), sig)
	return true
}

// wait reaps the child. Until it does, the pid stays reserved, so the rest of
// the group can be killed without hitting a stranger with a recycled number.
func (p *Process) wait() {
	awaitExit(p.PID())
	p.mu.Lock()
	defer p.mu.Unlock()
	signalGroup(p.PID(), syscall.SIGKILL)
	if err := p.cmd.Wait(); err != nil {
		p.err = fmt.Errorf("%s ended: %w", p.name, err)
	}
	p.reaped = true
}
