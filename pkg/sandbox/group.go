package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
)

// group runs the parts of a sandbox that live and die together: the first to
// end, with an error or without, ends them all.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	parts  sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	g := &group{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// ErrDown, returned by Options.Ready, takes the sandbox down without an error.
var ErrDown = errors.New("the sandbox is told to go down")

func (g *group) start(name string, run func(context.Context) error) {
	g.parts.Go(func() {
		err := run(g.ctx)
		switch {
		case g.ctx.Err() != nil: // it ended because all do
		case err == nil:
			g.cancel(fmt.Errorf("%s ended by itself", name))
		case errors.Is(err, ErrDown):
			g.cancel(ErrDown)
		default:
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// wait returns when every part has ended: nil after the outer context did,
// else what the first part to end said.
func (g *group) wait() error {
	g.parts.Wait()
	cause := context.Cause(g.ctx)
	g.cancel(nil)
	if errors.Is(cause, context.Canceled) || errors.Is(cause, ErrDown) {
		return nil
	}
	return cause
}

// children knows the core children's process ids and how often each was
// started again, for State.
type children struct {
	mu       sync.Mutex
	pids     map[string]int
	restarts map[string]int
	changed  func(pids, restarts map[string]int) // nil until State is written
}

func newChildren() *children {
	return &children{pids: map[string]int{}, restarts: map[string]int{}}
}

// set records the pid of a child that was started, and reports whether it had
// been before.
func (c *children) set(name string, pid int) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, again = c.pids[name]; again {
		c.restarts[name]++
	}
	c.pids[name] = pid
	if c.changed != nil {
		c.changed(maps.Clone(c.pids), maps.Clone(c.restarts))
	}
	return again
}

// onChange sets what is called at every change from now on, and returns what is
// known now.
func (c *children) onChange(changed func(pids, restarts map[string]int)) (pids, restarts map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = changed
	return maps.Clone(c.pids), maps.Clone(c.restarts)
}
