package podrunner

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// child is the running process as a container needs it; *process.Process is one.
type child interface {
	Done() <-chan struct{}
	Err() error
	Kill()
	Stop(grace time.Duration) error
}

// container keeps one process running. Its goroutine is keep; everything else
// may be called from anywhere.
type container struct {
	start     func() (child, error)
	env       []string // of the process, and of what is executed beside it
	logPath   string
	probe     probe
	startup   *probe // nil: started at once
	liveness  *probe // nil: alive while its process is
	faultsURL string // "" for what is no simulated model server
	client    *http.Client
	policy    corev1.RestartPolicy
	killGrace time.Duration                      // after a failed liveness or startup probe
	changed   func()                             // called after the status changed
	say       func(kind, reason, message string) // records an event of the Pod

	kick chan struct{} // the wanted faults changed
	done chan struct{} // keep has returned, the process is gone

	mu      sync.Mutex
	status  corev1.ContainerStatus
	wanted  modelsim.Faults
	problem error // of the last attempt to apply the faults
	grace   time.Duration
	run     int     // which run of the process this is, from 1
	log     logSpan // of this run
	lastLog logSpan // of the run before
}

// snapshot is the container's status as of now.
func (c *container) snapshot() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.status.DeepCopy()
}

func (c *container) faults() modelsim.Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

// want sets the faults that shall hold.
func (c *container) want(f modelsim.Faults) {
	c.mu.Lock()
	same := c.wanted == f
	c.wanted = f
	c.mu.Unlock()
	if !same {
		select {
		case c.kick <- struct{}{}:
		default: // a look is due already
		}
	}
}

func (c *container) setGrace(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grace = d
}

func (c *container) update(change func(*corev1.ContainerStatus)) {
	c.mu.Lock()
	change(&c.status)
	c.mu.Unlock()
	c.changed()
}

// keep starts the process again and again until ctx ends or the restart policy
// says that it is over.
func (c *container) keep(ctx context.Context) {
	defer c.changed()
	defer close(c.done)
	var delay backoff
	for ctx.Err() == nil {
		if c.faults().Dead {
			c.waiting("Dead", "kept down by the annotation "+FaultsAnnotation)
			c.pause(ctx, nil)
			continue
		}
		began := time.Now()
		if err := c.once(ctx); c.policy == corev1.RestartPolicyNever || (err == nil && c.policy == corev1.RestartPolicyOnFailure) {
			return
		}
		if ctx.Err() != nil || c.faults().Dead {
			continue
		}
		wait := delay.next(time.Since(began))
		c.say(corev1.EventTypeWarning, "BackOff", "container "+c.status.Name+" ended and is started again with a growing back-off")
		c.waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s before the process is started again", wait))
		timer := time.NewTimer(wait)
		c.pause(ctx, timer.C)
		timer.Stop()
	}
}

// pause returns when ctx ends, the faults change, or timer fires.
func (c *container) pause(ctx context.Context, timer <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-c.kick:
	case <-timer:
	}
}

// once runs the process to its end and returns how it ended.
func (c *container) once(ctx context.Context) error {
	c.beginLog()
	p, err := c.start()
	if err != nil {
		c.terminated(metav1.Now(), err)
		return err
	}
	began := metav1.Now()
	c.update(func(s *corev1.ContainerStatus) {
		if s.LastTerminationState.Terminated != nil {
			s.RestartCount++
		}
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
		s.Started = new(c.startup == nil)
	})
	c.say(corev1.EventTypeNormal, "Started", "started container "+c.status.Name)
	guarded := make(chan struct{})
	go func() {
		defer close(guarded)
		c.guard(ctx, p)
	}()
	c.watch(ctx, p)
	<-guarded
	err = p.Err()
	c.terminated(began, err)
	return err
}

// watch probes the process and applies faults until it has ended; it ends it
// when ctx does, or when it shall be dead.
func (c *container) watch(ctx context.Context, p child) {
	state := readiness{successThreshold: c.probe.success, failureThreshold: c.probe.failures}
	applied := modelsim.Faults{}
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return
		case <-ctx.Done():
			c.mu.Lock()
			grace := c.grace
			c.mu.Unlock()
			_ = p.Stop(grace) // that it had to be killed shows in its exit code
			return
		case <-c.kick:
			if c.faults().Dead {
				p.Kill()
				<-p.Done()
				return
			}
		case <-tick.C:
		}
		ok := c.started() && c.probe.passes(ctx)
		// Ready only with its faults, so that a restarted server is never seen
		// healthy; and whatever the probe says, so that a hung one can be mended.
		ok = c.apply(ctx, &applied, c.faults()) && ok
		if state.observe(ok) {
			c.update(func(s *corev1.ContainerStatus) { s.Ready = state.ready })
		}
		tick.Reset(c.interval(state.ready, applied))
	}
}

func (c *container) interval(ready bool, applied modelsim.Faults) time.Duration {
	if !ready || (c.faultsURL != "" && applied != c.faults()) {
		return eager
	}
	return c.probe.period
}

// apply brings a simulator's faults to what is wanted and reports whether they are.
func (c *container) apply(ctx context.Context, applied *modelsim.Faults, wanted modelsim.Faults) bool {
	if c.faultsURL == "" || *applied == wanted {
		return true
	}
	err := putFaults(ctx, c.client, c.faultsURL, wanted)
	c.mu.Lock()
	c.problem = err
	c.mu.Unlock()
	if err == nil {
		*applied = wanted
	}
	return err == nil
}

func (c *container) waiting(reason, message string) {
	c.update(func(s *corev1.ContainerStatus) {
		s.Ready = false
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	})
}

func (c *container) terminated(began metav1.Time, err error) {
	c.update(func(s *corev1.ContainerStatus) {
		s.Ready = false
		end := termination(began, err)
		s.State = corev1.ContainerState{Terminated: end}
		s.LastTerminationState = corev1.ContainerState{Terminated: end.DeepCopy()}
	})
}

// beginLog marks where in the log a new run begins.
func (c *container) beginLog() {
	var size int64
	if info, err := os.Stat(c.logPath); err == nil {
		size = info.Size()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastLog = logSpan{start: c.log.start, end: size}
	c.log = logSpan{start: size, end: -1}
	c.run++
}

// span is where in the log the present run is, or the one before, and the run's
// number; 0 when there is none. While the process is down, the run before is the
// one that just ended, as with a kubelet.
func (c *container) span(previous bool) (int, logSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if previous && c.status.State.Running != nil {
		return c.run - 1, c.lastLog
	}
	return c.run, c.log
}

// runs reports whether that run of the process is still on.
func (c *container) runs(run int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run == run && c.status.State.Running != nil
}

// started reports whether the startup probe has passed.
func (c *container) started() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.Started != nil && *c.status.Started
}

// succeeded reports whether the process ended well and stays down.
func (c *container) succeeded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.status.State.Terminated
	return end != nil && end.ExitCode == 0
}
