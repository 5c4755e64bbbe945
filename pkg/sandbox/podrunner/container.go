package podrunner

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

const (
	backoffFirst  = time.Second
	backoffMost   = 30 * time.Second
	backoffForget = 60 * time.Second
)

// child is the running process as a container needs it; *process.Process is one.
type child interface {
	Done() <-chan struct{}
	Err() error
	Kill()
	Stop(grace time.Duration) error
}

// container keeps one process running. Its goroutine is run; everything else
// may be called from anywhere.
type container struct {
	start     func() (child, error)
	probe     probe
	faultsURL string // "" for what is no simulated model server
	client    *http.Client
	policy    corev1.RestartPolicy
	changed   func() // called after the status changed

	kick chan struct{} // the wanted faults changed
	done chan struct{} // run has returned, the process is gone

	mu      sync.Mutex
	status  corev1.ContainerStatus
	wanted  modelsim.Faults
	problem error // of the last attempt to apply the faults
	grace   time.Duration
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

// run starts the process again and again until ctx ends or the restart policy
// says that it is over.
func (c *container) run(ctx context.Context) {
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
	})
	c.watch(ctx, p)
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
		ok := c.check(ctx)
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

func (c *container) check(ctx context.Context) bool {
	if c.probe.check == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, c.probe.timeout)
	defer cancel()
	return c.probe.check(ctx) == nil
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

// backoff is the wait before a restart: doubled each time, and forgotten after
// a run that lasted.
type backoff struct{ last time.Duration }

func (b *backoff) next(ran time.Duration) time.Duration {
	switch {
	case b.last == 0 || ran >= backoffForget:
		b.last = backoffFirst
	default:
		b.last = min(2*b.last, backoffMost)
	}
	return b.last
}
