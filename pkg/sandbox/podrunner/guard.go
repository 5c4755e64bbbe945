package podrunner

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// guard waits for the startup probe, then watches the liveness probe, and ends
// the process when either says so; the restart policy does the rest.
func (c *container) guard(ctx context.Context, p child) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	if c.startup != nil {
		if !c.awaitStartup(ctx) {
			c.endUnhealthy(ctx, p, "startup")
			return
		}
		c.update(func(s *corev1.ContainerStatus) { s.Started = new(true) })
	}
	if c.liveness != nil && c.dies(ctx) {
		c.endUnhealthy(ctx, p, "liveness")
	}
}

// awaitStartup probes eagerly, for as long as the probe's thresholds allow, and
// reports whether it passed.
func (c *container) awaitStartup(ctx context.Context) bool {
	limit := c.startup.delay + time.Duration(c.startup.failures)*c.startup.period
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(eager)
	defer tick.Stop()
	for !c.startup.passes(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// dies returns true once the liveness probe has failed as often as it may, and
// false when ctx ends.
func (c *container) dies(ctx context.Context) bool {
	timer := time.NewTimer(max(c.liveness.delay, c.liveness.period))
	defer timer.Stop()
	for failed := int32(0); ; {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
		if c.liveness.passes(ctx) {
			failed = 0
		} else if failed++; failed >= c.liveness.failures {
			return ctx.Err() == nil
		}
		timer.Reset(c.liveness.period)
	}
}

func (c *container) endUnhealthy(ctx context.Context, p child, which string) {
	if ctx.Err() != nil {
		return // it ended, or is being ended, for another reason
	}
	c.say(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("container %s failed its %s probe and is restarted", c.status.Name, which))
	_ = p.Stop(c.killGrace) // that it had to be killed shows in its exit code
}
