package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// crash is what a fake panics with where the process is to die.
type crash struct{}

var errDown = errors.New("the cluster is away")

// world is the cluster: it outlives the processes that work on it, and checks
// after every call that no copy is made which the journal does not know of.
type world struct {
	t       *testing.T
	now     time.Time
	record  Record
	percent rollout.Goal // Baseline, or what is copied
	stamp   string
	service bool
	gone    bool // the route was deleted

	calls, dieAt, loseAt int
	dieAfter             bool
	fail                 func(call string) error
	looks                int
	onLook               func(w *world)
	primary, shadow      func(w *world) rollout.Arm
	refused              bool // the gateway does not accept the filter
	asked                []rollout.Request
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: time.Unix(1_700_000_000, 0), percent: rollout.Baseline}
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
	w.watch(name)
	if w.calls == w.dieAt {
		panic(crash{})
	}
	if w.calls == w.loseAt {
		return errDown
	}
	return err
}

// watch holds route and Service against the journal.
func (w *world) watch(name string) {
	r := w.record
	switch {
	case w.percent != rollout.Baseline && r.Phase != Mirroring && r.Phase != Removing:
		w.t.Errorf("call %d (%s): %s is copied while the journal says %q", w.calls, name, w.percent, r.Phase)
	case w.service && r.Made == "":
		w.t.Errorf("call %d (%s): the Service is not in the journal", w.calls, name)
	case w.percent != rollout.Baseline && !w.service && r.Made != "":
		w.t.Errorf("call %d (%s): copies go to a Service that is not there", w.calls, name)
	case r.Phase == Done && w.service:
		w.t.Errorf("call %d (%s): Done is recorded while the Service is there", w.calls, name)
	}
}

// process is one process's view of the world.
type process struct {
	*world
	stamp string
}

func (p *process) Seize(_ context.Context, stamp string) error {
	return p.call("seize", func() error {
		if p.gone {
			return rollout.ErrDrift
		}
		p.world.stamp, p.stamp = stamp, stamp
		return nil
	})
}

func (p *process) Read(_ context.Context, goal rollout.Goal) (rollout.Standing, error) {
	var s rollout.Standing
	err := p.call("read", func() error {
		if p.gone {
			return rollout.ErrDrift
		}
		s = rollout.Standing{
			Share: max(0, float64(p.percent)), AtGoal: p.percent == goal, Accepted: !p.refused, Waiting: "ResolvedRefs is False",
			Fenced:    p.stamp != "" && p.world.stamp != "" && p.world.stamp != p.stamp,
			Unstamped: p.stamp != "" && p.world.stamp == "",
		}
		s.AtGoal = s.AtGoal && !s.Unstamped
		return nil
	})
	return s, err
}

func (p *process) Move(_ context.Context, _, goal rollout.Goal) error {
	return p.call("move", func() error {
		switch {
		case p.gone:
			return rollout.ErrDrift
		case p.world.stamp != p.stamp:
			return rollout.ErrSuperseded
		}
		p.percent = goal
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

func (p *process) Make(context.Context) error {
	return p.call("make", func() error { p.service = true; return nil })
}

func (p *process) Remove(context.Context) error {
	return p.call("remove", func() error { p.service = false; return nil })
}

func (p *process) Load(context.Context) (Record, error) {
	var r Record
	err := p.call("load", func() error { r = p.record; return nil })
	return r, err
}

func (p *process) Save(_ context.Context, r Record) error {
	return p.call("save", func() error {
		if p.record.Epoch > r.Epoch {
			return rollout.ErrSuperseded
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		p.record = Record{} // only what survives being written down
		return json.Unmarshal(raw, &p.record)
	})
}

func (p *process) Requests(context.Context) ([]rollout.Request, error) { return p.asked, nil }
func (p *process) Moved()                                              {}
func (p *process) Now() time.Time                                      { return p.now }
func (p *process) Wait(_ context.Context, d time.Duration)             { p.now = p.now.Add(d) }

func (p *process) Look(context.Context) rollout.Sample {
	p.looks++
	if p.onLook != nil {
		p.onLook(p.world)
	}
	s := rollout.Sample{Stable: arm(100, 0), Canary: arm(0, 0)}
	if p.percent != rollout.Baseline {
		s.Canary = arm(100, 0)
	}
	if p.primary != nil {
		s.Stable = p.primary(p.world)
	}
	if p.shadow != nil && p.percent != rollout.Baseline {
		s.Canary = p.shadow(p.world)
	}
	return s
}

// arm finished n requests of ten tokens, bad of them as errors.
func arm(n, bad uint64) rollout.Arm {
	return rollout.Arm{
		Started: n, Finished: n, Progress: n, Ready: 2, Answered: n, PromptTokens: 4 * n, AnswerTokens: 6 * n,
		Values: [][]uint64{{n - bad, bad}},
	}
}

type silent struct{}

func (silent) Transition(Record, string)    {}
func (silent) Looked(State, rollout.Sample) {}
func (silent) Trouble(Record, error)        {}

func plan() Plan {
	return Plan{
		Target: "httproute/chat", Namespace: "default", Primary: "v1", Shadow: "service/v2", Percent: 50, MaxTokensPerSecond: 10_000,
		Duration: 10 * time.Second, Settle: 4 * time.Second, Calibrate: 4 * time.Second, ScrapeInterval: 2 * time.Second,
		Gates: []string{"errors < 1%"}, MinRequests: 200, Alpha: 0.01,
	}
}

// start is what `mirror start` does before the loop, with a change of the plan.
func (w *world) start(change func(*Plan)) State {
	w.t.Helper()
	p := plan()
	if change != nil {
		change(&p)
	}
	judge, err := rollout.NewGates(p.Judging(), [][]float64{nil}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return Begin(Record{
		Format: RecordFormat, Run: "a", Epoch: 1, Write: 1, Holder: "first", Plan: p, Made: "infer-mirror-chat",
		Baseline: json.RawMessage(`{}`), Phase: Ready, Started: w.now, Updated: w.now,
	}, judge)
}

// stop is what `mirror stop` does for a process that is gone.
func (w *world) stop() State {
	return Begin(w.record.TakeOver(w.now, "second", "stopped by second"), nil)
}

// live runs one process until it ends or dies.
func (w *world) live(ctx context.Context, s State) (end End, died bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			died = true
		}
	}()
	p := &process{world: w}
	return Run(ctx, s, Deps{Target: p, Shadow: p, Journal: p, Evidence: p, Clock: p, Reporter: silent{}}), false
}

// clean says that nothing of ours is left.
func (w *world) clean() bool { return w.percent == rollout.Baseline && !w.service && w.stamp == "" }
