package rollout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// crash is what a fake panics with where the process is to die.
type crash struct{}

// world is the cluster: it outlives the processes that work on it, and checks
// the ceiling after every write.
type world struct {
	t           *testing.T
	now         time.Time
	share       rollout.Goal // Baseline, or percent
	stamp       string
	accepted    bool
	record      []byte
	shares      []rollout.Goal // every share ever written
	calls       int
	dieAt       int  // the call to die at, 0 for never
	dieAfter    bool // die after the call took effect
	fail        func(call string) error
	canary      func(w *world) rollout.Arm
	looks       int
	stableReady int
	asked       []rollout.Request
	phase       rollout.Phase
	foreign     bool         // somebody else writes the share: not ours to judge
	last        rollout.Goal // the share the watcher saw last
	loseAt      int          // the call whose answer is lost, 0 for none
	plan        rollout.Plan
	highest     int  // ceiling of the present run, as the watcher saw it
	down        bool // the watcher saw RollingBack in the present run
	run         string
	onLook      func(w *world)
}

func newWorld(t *testing.T) *world {
	return &world{plan: plan(), stableReady: 2, t: t, now: time.Unix(1_700_000_000, 0), share: rollout.Baseline, accepted: true}
}

// call counts one call to the cluster, and dies or fails where it was told to.
func (w *world) call(name string, effect func() error) error {
	w.calls++
	if w.calls == w.dieAt && !w.dieAfter {
		panic(crash{})
	}
	if w.fail != nil {
		if err := w.fail(name); err != nil {
			return err
		}
	}
	err := effect()
	w.watch()
	if w.calls == w.dieAt {
		panic(crash{})
	}
	if w.calls == w.loseAt {
		return errDown
	}
	return err
}

func (w *world) stored() rollout.Record {
	var r rollout.Record
	if len(w.record) > 0 {
		if err := json.Unmarshal(w.record, &r); err != nil {
			w.t.Fatalf("journal: %v", err)
		}
	}
	return r
}

// write changes the share.
func (w *world) write(goal rollout.Goal) {
	w.share = goal
	w.shares = append(w.shares, goal)
}

// watch is the independent watcher: after every call it holds journal and
// share against the promise, at every prefix of what happened.
func (w *world) watch() {
	r := w.stored()
	if r.Run != w.run {
		w.run, w.highest, w.down, w.phase = r.Run, 0, false, ""
	}
	switch {
	case w.foreign:
	case int(w.share) > r.Ceiling:
		w.t.Errorf("call %d: share %v is over the recorded ceiling of %d%%", w.calls, w.share, r.Ceiling)
	case r.Ceiling < w.highest:
		w.t.Errorf("call %d: the ceiling fell from %d%% to %d%%", w.calls, w.highest, r.Ceiling)
	case w.down && r.Phase != rollout.RollingBack && r.Phase != rollout.RolledBack:
		w.t.Errorf("call %d: phase %s after RollingBack", w.calls, r.Phase)
	case r.Phase == rollout.RolledBack && w.share != rollout.Baseline && r.Run != "":
		w.t.Errorf("call %d: RolledBack is recorded while the share is %v", w.calls, w.share)
	case int(r.Goal) > r.Ceiling:
		w.t.Errorf("call %d: goal %s over the ceiling of %d%%", w.calls, r.Goal, r.Ceiling)
	case !listed(w.phase, r.Phase):
		w.t.Errorf("call %d: phase %s after %s is not in the table", w.calls, r.Phase, w.phase)
	case w.down && w.share > w.last:
		w.t.Errorf("call %d: share rose to %v while rolling back", w.calls, w.share)
	}
	w.highest, w.last, w.phase = r.Ceiling, w.share, r.Phase
	w.down = w.down || r.Phase == rollout.RollingBack
}

// process is one process's view of the world: it holds a stamp.
type process struct {
	*world
	stamp string
}

func (p *process) Seize(_ context.Context, stamp string) error {
	return p.call("seize", func() error {
		p.world.stamp, p.stamp = stamp, stamp
		return nil
	})
}

func (p *process) Read(_ context.Context, goal rollout.Goal) (rollout.Standing, error) {
	var standing rollout.Standing
	err := p.call("read", func() error {
		standing = rollout.Standing{
			Share: max(0, float64(p.share)), AtGoal: p.share == goal, Accepted: p.accepted,
			Fenced: p.stamp != "" && p.world.stamp != p.stamp,
		}
		return nil
	})
	return standing, err
}

func (p *process) Move(_ context.Context, from, goal rollout.Goal) error {
	return p.call("move", func() error {
		if p.world.stamp != p.stamp {
			return rollout.ErrSuperseded
		}
		if goal != rollout.Baseline && p.share != from && p.share != goal {
			return fmt.Errorf("share is %v: %w", p.share, rollout.ErrDrift)
		}
		p.write(goal)
		return nil
	})
}

func (p *process) Release(context.Context) error {
	return p.call("release", func() error {
		if p.world.stamp == p.stamp {
			p.world.stamp = ""
		}
		return nil
	})
}

func (p *process) Load(context.Context) (rollout.Record, error) {
	var r rollout.Record
	err := p.call("load", func() error {
		r = p.stored()
		return nil
	})
	return r, err
}

func (p *process) Save(_ context.Context, r rollout.Record) error {
	return p.call("save", func() error {
		if old := p.stored(); old.Epoch > r.Epoch || (old.Epoch == r.Epoch && old.Run != r.Run) {
			return rollout.ErrSuperseded
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		p.record = raw
		return nil
	})
}

func (p *process) Requests(context.Context) ([]rollout.Request, error) { return p.asked, nil }

func (p *process) Look(context.Context) rollout.Sample {
	p.looks++
	if p.onLook != nil {
		p.onLook(p.world)
	}
	canary := healthy(100)
	if p.canary != nil {
		canary = p.canary(p.world)
	}
	stable := healthy(100)
	stable.Ready = p.stableReady
	return rollout.Sample{Stable: stable, Canary: canary}
}

// Now and Wait are the world's clock.
func (p *process) Now() time.Time { return p.now }

func (p *process) Wait(_ context.Context, d time.Duration) { p.world.now = p.world.now.Add(d) }

// healthy is an arm that finished n requests, none of them bad.
func healthy(n uint64) rollout.Arm { return arm(n, 0) }

// arm finished n requests, bad of them over the limit of the only gate.
func arm(n, bad uint64) rollout.Arm {
	return rollout.Arm{
		Started: n, Finished: n, Progress: n, Ready: 2,
		Values: [][]uint64{{n - bad, bad}},
	}
}

type silent struct{}

func (silent) Transition(rollout.Record, string)        {}
func (silent) Looked(rollout.State, rollout.Sample)     {}
func (silent) Trouble(record rollout.Record, err error) {}

func plan() rollout.Plan {
	return rollout.Plan{
		Target: "httproute/chat", Namespace: "default", Stable: "v1", Canary: "v2",
		Steps: []int{25, 100}, Gates: []string{"errors < 1%"},
		Bake: 20 * time.Second, Settle: 4 * time.Second, ScrapeInterval: 2 * time.Second,
		MinRequests: 200, Alpha: 0.01,
	}.Complete()
}

// start is what the command does before the loop: a fresh record, or the
// recorded one under a new epoch.
func start(t *testing.T, w *world, run string) rollout.State {
	t.Helper()
	r := w.stored()
	if r.Run == "" || r.Phase.Finished() {
		r = rollout.Record{
			Format: rollout.RecordFormat, Run: run, Epoch: r.Epoch, Plan: w.plan, StableReady: 2, Baseline: json.RawMessage(`{}`),
			Phase: rollout.Ready, Goal: rollout.Baseline, From: rollout.Baseline, Started: w.now, Updated: w.now,
		}
	}
	r.Epoch++
	r.Holder = run
	return rollout.Begin(r, judge(t, w.plan, r.Gates))
}

// startAbort is what `canary abort` does before the loop.
func startAbort(t *testing.T, w *world) rollout.State {
	t.Helper()
	r := w.stored()
	r.Epoch++
	r.Phase, r.Goal, r.Cause, r.Holder = rollout.RollingBack, rollout.Baseline, rollout.ByRequest, "abort"
	return rollout.Begin(r, nil)
}

func judge(t *testing.T, plan rollout.Plan, recorded []byte) rollout.Gates {
	t.Helper()
	g, err := rollout.NewGates(plan, [][]float64{nil}, recorded)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// live runs a process to its end; died reports that it crashed on the way.
func (w *world) live(ctx context.Context, s rollout.State, change ...func(*rollout.Deps)) (result rollout.Result, died bool) {
	p := &process{world: w}
	deps := rollout.Deps{Targets: rollout.Group{p}, Journal: p, Evidence: p, Clock: p, Reporter: silent{}}
	for _, c := range change {
		c(&deps)
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			died = true
		}
	}()
	return rollout.Run(ctx, s, deps), false
}

var errDown = errors.New("connection refused")
