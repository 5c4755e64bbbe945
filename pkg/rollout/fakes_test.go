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
	spot                // of the first target
	others      []*spot // of the rest
	t           *testing.T
	now         time.Time
	accepted    bool
	record      rollout.Record
	written     []byte         // the record, as the next process reads it
	shares      []rollout.Goal // every share ever written to the first target
	calls       int
	dieAt       int  // the call to die at, 0 for never
	dieAfter    bool // die after the call took effect
	fail        func(call string) error
	canary      func(w *world) rollout.Arm
	stable      func(w *world) rollout.Arm
	looks       int
	stableReady int
	asked       []rollout.Request
	phase       rollout.Phase
	foreign     bool // somebody else writes the share: not ours to judge
	loseAt      int  // the call whose answer is lost, 0 for none
	plan        rollout.Plan
	started     uint64 // requests on both arms so far
	lopsided    bool   // the gateway sends every arm half, whatever the weights say
	simple      bool   // judged by a tally instead of the real gates
	highest     int    // ceiling of the present run, as the watcher saw it
	down        bool   // the watcher saw RollingBack in the present run
	run         string
	onLook      func(w *world)
	longest     int // decisions a run may take before it counts as endless
	warnings    func(w *world) []string
}

// spot is one target as the cluster has it.
type spot struct {
	name  string
	share rollout.Goal // Baseline, or percent
	stamp string
	last  rollout.Goal // the share the watcher saw last
}

func newWorld(t *testing.T) *world {
	return &world{spot: spot{share: rollout.Baseline}, plan: plan(), stableReady: 2, t: t, now: time.Unix(1_700_000_000, 0), accepted: true, longest: 5_000}
}

// with adds n targets that move with the first.
func (w *world) with(n int) *world {
	for i := range n {
		name := fmt.Sprintf("httproute/chat-%d", i)
		w.plan.Also = append(w.plan.Also, name)
		w.others = append(w.others, &spot{name: " " + name, share: rollout.Baseline})
	}
	return w
}

func (w *world) spots() []*spot { return append([]*spot{&w.spot}, w.others...) }

// at says whether every target has the share.
func (w *world) at(share rollout.Goal) bool {
	for _, s := range w.spots() {
		if s.share != share {
			return false
		}
	}
	return true
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

// stored is the record as the journal has it.
func (w *world) stored() rollout.Record { return w.record }

// reread is the record as another process finds it: only what survives being
// written down.
func (w *world) reread(t *testing.T) rollout.Record {
	t.Helper()
	if w.record = (rollout.Record{}); w.written != nil {
		if err := json.Unmarshal(w.written, &w.record); err != nil {
			t.Fatal(err)
		}
	}
	return w.record
}

// watch is the independent watcher: after every call it holds journal and
// share against the promise, at every prefix of what happened.
func (w *world) watch() {
	r := w.stored()
	if r.Run != w.run {
		w.run, w.highest, w.down, w.phase = r.Run, 0, false, ""
	}
	for _, s := range w.spots() {
		switch {
		case w.foreign:
		case int(s.share) > r.Ceiling:
			w.t.Errorf("call %d: share %v%s is over the recorded ceiling of %d%%", w.calls, s.share, s.name, r.Ceiling)
		case r.Phase == rollout.RolledBack && s.share != rollout.Baseline && r.Run != "":
			w.t.Errorf("call %d: RolledBack is recorded while the share%s is %v", w.calls, s.name, s.share)
		case w.down && s.share > s.last:
			w.t.Errorf("call %d: share%s rose to %v while rolling back", w.calls, s.name, s.share)
		}
		s.last = s.share
	}
	switch {
	case w.foreign:
	case r.Ceiling < w.highest:
		w.t.Errorf("call %d: the ceiling fell from %d%% to %d%%", w.calls, w.highest, r.Ceiling)
	case w.down && r.Phase != rollout.RollingBack && r.Phase != rollout.RolledBack:
		w.t.Errorf("call %d: phase %s after RollingBack", w.calls, r.Phase)
	case int(r.Goal) > r.Ceiling:
		w.t.Errorf("call %d: goal %s over the ceiling of %d%%", w.calls, r.Goal, r.Ceiling)
	case !listed(w.phase, r.Phase):
		w.t.Errorf("call %d: phase %s after %s is not in the table", w.calls, r.Phase, w.phase)
	}
	w.highest, w.phase = r.Ceiling, r.Phase
	w.down = w.down || r.Phase == rollout.RollingBack
}

// process is one process's view of the world.
type process struct{ *world }

// hand is how a process holds one target: by the stamp it put there.
type hand struct {
	*world
	at    *spot
	stamp string
}

func (h *hand) Seize(_ context.Context, stamp string) error {
	return h.call("seize"+h.at.name, func() error {
		h.at.stamp, h.stamp = stamp, stamp
		return nil
	})
}

func (h *hand) Read(_ context.Context, goal rollout.Goal) (rollout.Standing, error) {
	var standing rollout.Standing
	err := h.call("read"+h.at.name, func() error {
		standing = rollout.Standing{
			Share: max(0, float64(h.at.share)), AtGoal: h.at.share == goal, Accepted: h.accepted,
			Fenced:    h.stamp != "" && h.at.stamp != h.stamp && h.at.stamp != "",
			Unstamped: h.stamp != "" && h.at.stamp == "",
		}
		return nil
	})
	return standing, err
}

func (h *hand) Move(_ context.Context, from, goal rollout.Goal) error {
	return h.call("move"+h.at.name, func() error {
		if h.at.stamp != h.stamp {
			return rollout.ErrSuperseded
		}
		if goal != rollout.Baseline && from != rollout.Anywhere && h.at.share != from && h.at.share != goal {
			return fmt.Errorf("share is %v: %w", h.at.share, rollout.ErrDrift)
		}
		h.at.share = goal
		if h.at == &h.world.spot {
			h.shares = append(h.shares, goal)
		}
		return nil
	})
}

func (h *hand) Release(context.Context) error {
	return h.call("release"+h.at.name, func() error {
		if h.at.stamp == h.stamp {
			h.at.stamp = ""
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
		p.record, p.written = r, raw
		return nil
	})
}

func (p *process) Requests(context.Context) ([]rollout.Request, error) { return p.asked, nil }

func (p *process) Moved() {}

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
	if p.stable != nil {
		stable = p.stable(p.world)
	}
	if all := canary.Started + stable.Started; !p.lopsided {
		before := p.started * uint64(max(0, p.share)) / 100
		p.started += all
		canary.Started = p.started*uint64(max(0, p.share))/100 - before
		stable.Started = all - canary.Started
	}
	sample := rollout.Sample{Stable: stable, Canary: canary}
	if p.warnings != nil {
		sample.Warnings = p.warnings(p.world)
	}
	return sample
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
	r := w.reread(t)
	if r.Run == "" || r.Phase.Finished() {
		r = rollout.Record{
			Format: rollout.RecordFormat, Run: run, Epoch: r.Epoch, Plan: w.plan, StableReady: 2, Baseline: json.RawMessage(`{}`),
			Phase: rollout.Ready, Goal: rollout.Baseline, From: rollout.Baseline, Started: w.now, Updated: w.now,
		}
	}
	r.Epoch++
	r.Holder = run
	if w.simple {
		return rollout.Begin(r, tally{})
	}
	return rollout.Begin(r, judge(t, w.plan, r.Gates))
}

// startAbort is what `canary abort` does before the loop.
func startAbort(t *testing.T, w *world) rollout.State {
	t.Helper()
	r := w.reread(t)
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

// endless is how a run ends that would not end by itself.
type endless struct{}

// live runs a process to its end; died reports that it crashed on the way. A run
// of more than w.longest decisions fails the test: it would never end.
func (w *world) live(ctx context.Context, s rollout.State, change ...func(*rollout.Deps)) (result rollout.Result, died bool) {
	p := &process{world: w}
	var hands rollout.Group
	for _, s := range w.spots() {
		hands = append(hands, &hand{world: w, at: s})
	}
	deps := rollout.Deps{Targets: hands, Journal: p, Evidence: p, Clock: p, Reporter: silent{}}
	decisions := 0
	deps.Trace = func(_ rollout.Observation, s rollout.State, _ rollout.Action) {
		if decisions++; decisions > w.longest || len(s.Steps) > 100 {
			panic(endless{})
		}
	}
	for _, c := range change {
		c(&deps)
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case crash:
			died = true
		case endless:
			w.t.Errorf("the run does not end: %d decisions, the last in phase %s at %v", decisions, w.stored().Phase, w.share)
		default:
			panic(r)
		}
	}()
	return rollout.Run(ctx, s, deps), false
}

var errDown = errors.New("connection refused")

// tally is a judge for tests that are not about gates: more than one bad
// request in a hundred is harm, two hundred requests are enough.
type tally struct{ requests, bad uint64 }

func (c tally) Survey(rollout.Sample) (rollout.Judge, string) { return c, "" }

func (tally) Enter(int) rollout.Judge { return tally{} }

func (c tally) Weigh(_ time.Time, sample rollout.Sample, gated bool) (rollout.Judge, rollout.Finding) {
	if !gated {
		return c, rollout.Finding{}
	}
	c.requests += sample.Canary.Finished
	c.bad += sample.Canary.Values[0][1]
	f := rollout.Finding{Pass: c.requests >= 200}
	if c.bad*100 > c.requests {
		f = rollout.Finding{Harm: "too many errors"}
	}
	return c, f
}

func (tally) Results() []rollout.GateResult { return nil }

func (tally) State() []byte { return nil }
