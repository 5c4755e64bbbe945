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

// pids collects the process ids of the core children for State.
type pids struct {
	mu sync.Mutex
	m  map[string]int
}

func newPIDs() *pids { return &pids{m: map[string]int{}} }

func (p *pids) set(name string, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m[name] = pid
}

func (p *pids) snapshot() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.m)
}
