package drive

import (
	"context"
	"time"
)

// Clock is the machine's monotonic clock.
type Clock struct{}

// Now implements rollout.Clock.
func (Clock) Now() time.Time { return time.Now() }

// Wait implements rollout.Clock.
func (Clock) Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// wakeGap is the least time between two early looks: a client that writes the
// target all the time must not turn a bake into a busy loop.
const wakeGap = 200 * time.Millisecond

// Waking is the machine's monotonic clock, whose waits end early when a
// target is written in a way that matters. So drift is noticed within a watch
// event; it is judged by reading, and a watch that breaks costs no more than
// the time to the next scrape.
type Waking struct {
	Clock
	changed chan struct{}
}

// Followed is a target whose writes are told, until ctx ends.
type Followed interface {
	Follow(ctx context.Context, changed func())
}

// Wake follows every target until ctx ends.
func Wake[T Followed](ctx context.Context, targets ...T) *Waking {
	c := &Waking{changed: make(chan struct{}, 1)}
	for _, t := range targets {
		go t.Follow(ctx, c.wake)
	}
	return c
}

// wake ends the present wait, or else the next.
func (c *Waking) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Wait implements rollout.Clock.
func (c *Waking) Wait(ctx context.Context, d time.Duration) {
	if d <= wakeGap {
		c.Clock.Wait(ctx, d)
		return
	}
	c.Clock.Wait(ctx, wakeGap)
	timer := time.NewTimer(d - wakeGap)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-c.changed:
	}
}
