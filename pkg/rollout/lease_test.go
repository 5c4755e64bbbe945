package rollout_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestALeaseIsJudgedByWatchingIt(t *testing.T) {
	t.Parallel()
	type look struct {
		after  time.Duration
		holder string
		write  string // the object's version
		want   rollout.LeaseVerdict
	}
	tests := map[string][]look{
		"nobody's lease is free at once":    {{0, "", "1", rollout.LeaseFree}},
		"our own lease is free":             {{0, "me", "1", rollout.LeaseFree}},
		"one renewal proves a living owner": {{0, "a", "1", rollout.LeaseUnknown}, {3 * time.Second, "a", "2", rollout.LeaseHeld}},
		"a dead owner lasts one period": {
			{0, "a", "1", rollout.LeaseUnknown},
			{14 * time.Second, "a", "1", rollout.LeaseUnknown},
			{time.Second, "a", "1", rollout.LeaseFree},
		},
		"a release ends the wait":               {{0, "a", "1", rollout.LeaseUnknown}, {time.Second, "", "2", rollout.LeaseFree}},
		"another owner starts the period again": {{0, "a", "1", rollout.LeaseUnknown}, {14 * time.Second, "b", "2", rollout.LeaseHeld}, {2 * time.Second, "b", "2", rollout.LeaseUnknown}},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(0, 0)
			var judge rollout.LeaseJudge
			for i, l := range looks {
				now = now.Add(l.after)
				var got rollout.LeaseVerdict
				judge, got = judge.See(now, "me", rollout.LeaseView{Holder: l.holder, Version: l.write, Period: 15 * time.Second})
				if got != l.want {
					t.Errorf("look %d: %s, want %s", i, got, l.want)
				}
			}
		})
	}
}

func TestAWriteNeedsARenewalWithinAThirdOfThePeriod(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	tests := map[string]struct {
		renewed time.Time
		fresh   bool
	}{
		"never renewed":      {time.Time{}, false},
		"five seconds old":   {now.Add(-5 * time.Second), true},
		"older than a third": {now.Add(-5*time.Second - 1), false},
	}
	for name, tt := range tests {
		if got := rollout.Fresh(now, tt.renewed, 15*time.Second); got != tt.fresh {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// lock is a Lock that says what a test tells it.
type lock func() error

func (l lock) Check() error { return l() }

func TestNothingIsWrittenWithoutAFreshLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began, shares := w.now, 0
	result, _ := w.live(t.Context(), start(t, w, "a"), func(d *rollout.Deps) {
		d.Lock = lock(func() error {
			if w.share == 25 && w.now.Sub(began) < 5*time.Minute {
				return rollout.ErrUnlocked
			}
			return nil
		})
		d.Reporter = watchful{func(r rollout.Record, err error) {
			if errors.Is(err, rollout.ErrUnlocked) {
				shares = max(shares, int(w.share))
			}
		}}
	})
	if result.Outcome != rollout.Done || shares != 25 {
		t.Errorf("%s at %d%% while the lease was stale: %s", result.Outcome, shares, result.Why)
	}
}

// watchful is a Reporter for trouble.
type watchful struct {
	trouble func(rollout.Record, error)
}

func (watchful) Transition(rollout.Record, string)        {}
func (watchful) Looked(rollout.State, rollout.Sample)     {}
func (w watchful) Trouble(record rollout.Record, e error) { w.trouble(record, e) }

func TestAStaleLeaseDoesNotStarveARollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	harmed := false
	w.canary = func(w *world) rollout.Arm {
		harmed = w.stored().Phase == rollout.Baking
		return arm(50, 50)
	}
	result, _ := w.live(t.Context(), start(t, w, "a"), func(d *rollout.Deps) {
		d.Lock = lock(func() error {
			if harmed && w.share == 25 {
				return rollout.ErrUnlocked
			}
			return nil
		})
	})
	if result.Outcome != rollout.FailedGate || w.share != rollout.Baseline {
		t.Errorf("%s at %v: %s", result.Outcome, w.share, result.Why)
	}
}

func TestALostLeaseEndsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	result, _ := w.live(t.Context(), start(t, w, "a"), func(d *rollout.Deps) {
		d.Lock = lock(func() error {
			if w.looks > 3 {
				return rollout.ErrSuperseded
			}
			return nil
		})
	})
	if result.Outcome != rollout.TakenOver || w.share != 25 {
		t.Errorf("%s at %v: %s", result.Outcome, w.share, result.Why)
	}
}
