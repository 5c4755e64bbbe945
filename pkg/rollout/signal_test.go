package rollout_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// silence is a cluster, metrics included, that answers no call from one on; with
// that call comes a signal.
type silence struct {
	from, calls int
	signal      func()
	since       time.Time
}

// ask waits for an answer: not at all before the silence, and for ever in it.
func (s *silence) ask(ctx context.Context) error {
	if s.calls++; s.calls < s.from {
		return nil
	}
	if s.calls == s.from {
		s.since = time.Now()
		s.signal()
	}
	<-ctx.Done()
	return ctx.Err()
}

type silentTarget struct {
	rollout.Target
	*silence
}

func (t silentTarget) Seize(ctx context.Context, stamp string) error {
	if err := t.ask(ctx); err != nil {
		return err
	}
	return t.Target.Seize(ctx, stamp)
}

func (t silentTarget) Read(ctx context.Context, goal rollout.Goal) (rollout.Standing, error) {
	if err := t.ask(ctx); err != nil {
		return rollout.Standing{}, err
	}
	return t.Target.Read(ctx, goal)
}

func (t silentTarget) Move(ctx context.Context, from, goal rollout.Goal) error {
	if err := t.ask(ctx); err != nil {
		return err
	}
	return t.Target.Move(ctx, from, goal)
}

func (t silentTarget) Release(ctx context.Context) error {
	if err := t.ask(ctx); err != nil {
		return err
	}
	return t.Target.Release(ctx)
}

type silentJournal struct {
	rollout.Journal
	*silence
}

func (j silentJournal) Save(ctx context.Context, r rollout.Record) error {
	if err := j.ask(ctx); err != nil {
		return err
	}
	return j.Journal.Save(ctx, r)
}

func (j silentJournal) Requests(ctx context.Context) ([]rollout.Request, error) {
	if err := j.ask(ctx); err != nil {
		return nil, err
	}
	return j.Journal.Requests(ctx)
}

type silentEvidence struct {
	rollout.Evidence
	*silence
}

func (e silentEvidence) Look(ctx context.Context) rollout.Sample {
	if e.ask(ctx) != nil {
		return rollout.Sample{Stable: rollout.Arm{Blind: "timeout"}, Canary: rollout.Arm{Blind: "timeout"}}
	}
	return e.Evidence.Look(ctx)
}

// TestASignalEndsARunInSecondsAtEveryCall silences the cluster at each call of a
// run in turn. The engine must end within three seconds of the signal, so that
// with two for giving up the lease the program ends within five. Time is that of
// a bubble: no machine is too slow for it.
func TestASignalEndsARunInSecondsAtEveryCall(t *testing.T) {
	t.Parallel()
	const most = 1000 // calls a run may take before it counts as endless
	calls := 0
	for n, ended := 1, false; n < most && !ended && !t.Failed(); n++ {
		synctest.Test(t, func(t *testing.T) {
			w := references()[0].world(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := &silence{from: n, signal: cancel}
			result, _ := w.live(ctx, start(t, w, "a"), func(d *rollout.Deps) {
				d.Targets[0] = silentTarget{d.Targets[0], s}
				d.Journal, d.Evidence = silentJournal{d.Journal, s}, silentEvidence{d.Evidence, s}
			})
			if ended = s.since.IsZero(); ended {
				return
			}
			calls++
			if took := time.Since(s.since); result.Outcome != rollout.Interrupted || took > 3*time.Second {
				t.Errorf("call %d: %s after %v: %s", n, result.Outcome, took, result.Why)
			}
			if r := w.stored(); int(w.share) > r.Ceiling {
				t.Errorf("call %d: share %v over the ceiling of %d%%", n, w.share, r.Ceiling)
			}
		})
	}
	if t.Logf("%d calls", calls); calls < 20 || calls >= most-1 {
		t.Errorf("%d calls", calls)
	}
}
