package canary

import (
	"context"
	"time"
)

// wakeGap is the least time between two early looks: a client that writes the
// target all the time must not turn a bake into a busy loop.
const wakeGap = 200 * time.Millisecond

// wakingClock is the machine's monotonic clock, whose waits end early when a
// target is written in a way that matters. So drift is noticed within a watch
// event; it is judged by reading, and a watch that breaks costs no more than
// the time to the next scrape.
type wakingClock struct {
	systemClock
	changed chan struct{}
}

// watchTargets follows every target until ctx ends.
func watchTargets(ctx context.Context, list targets) *wakingClock {
	c := &wakingClock{changed: make(chan struct{}, 1)}
	for _, o := range list {
		go o.Follow(ctx, c.wake)
	}
	return c
}

// wake ends the present wait, or else the next.
func (c *wakingClock) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Wait implements rollout.Clock.
func (c *wakingClock) Wait(ctx context.Context, d time.Duration) {
	if d <= wakeGap {
		c.systemClock.Wait(ctx, d)
		return
	}
	c.systemClock.Wait(ctx, wakeGap)
	timer := time.NewTimer(d - wakeGap)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-c.changed:
	}
}
