package rollout_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// TestTheGatesLookOnWhileTheJournalCannotBeWritten cuts off the journal alone,
// from each watched phase on. A canary that goes bad meanwhile is decided upon
// at once and goes back as soon as the decision can be written.
func TestTheGatesLookOnWhileTheJournalCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, phase := range []rollout.Phase{rollout.Raising, rollout.Settling, rollout.Baking} {
		t.Run("after "+string(phase), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var down, back time.Time
			w.fail = func(call string) error {
				if call != "save" || w.stored().Phase != phase || w.share != 25 || !back.IsZero() {
					return nil
				}
				if down.IsZero() {
					down = w.now
				}
				if w.now.Sub(down) < 40*time.Second {
					return errDown
				}
				back = w.now
				return nil
			}
			looks := 0
			w.canary = func(w *world) rollout.Arm {
				if down.IsZero() {
					return healthy(10)
				}
				if back.IsZero() {
					looks++
				}
				return arm(100, 50)
			}
			w.plan.StepDeadline = time.Hour
			result, _ := w.live(t.Context(), start(t, w, "a"))
			if result.Outcome != rollout.FailedGate || looks == 0 {
				t.Fatalf("%s after %d looks without a journal: %s", result.Outcome, looks, result.Why)
			}
			if slices.Contains(w.shares, 100) {
				t.Errorf("shares written: %v", w.shares)
			}
			if phase != rollout.Raising && w.now.Sub(back) > 2*time.Second {
				t.Errorf("back at the baseline only %v after the journal was", w.now.Sub(back))
			}
		})
	}
}

// TestASignalDuringAFailedCallGoesBackWhereAsked fails the very call that a signal
// comes with.
func TestASignalDuringAFailedCallGoesBackWhereAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.fail = func(call string) error {
		if call == "save" && w.share == 25 && w.stored().Phase == rollout.Settling && ctx.Err() == nil {
			cancel()
			return errDown
		}
		return nil
	}
	result, _ := w.live(ctx, start(t, w, "a"), func(d *rollout.Deps) { d.RollBackOnInterrupt = true })
	if result.Outcome != rollout.Returned || !w.at(rollout.Baseline) {
		t.Errorf("%s at %v: %s", result.Outcome, w.share, result.Why)
	}
}

// TestAReplacedTargetIsDriftAndNoTakeover takes the stamp away, as somebody does
// who deletes the target and creates it anew: a raise holds, a rollback stamps it
// and goes on.
func TestAReplacedTargetIsDriftAndNoTakeover(t *testing.T) {
	t.Parallel()
	replace := func(w *world) { w.stamp, w.foreign = "", true }
	t.Run("while baking", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.onLook = func(w *world) {
			if w.looks == 6 {
				replace(w)
			}
		}
		if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != rollout.Drifted || !strings.Contains(result.Why, "was replaced by") {
			t.Errorf("%s: %s", result.Outcome, result.Why)
		}
	})
	t.Run("while going back", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.canary = func(*world) rollout.Arm { return arm(100, 50) }
		replaced := false
		w.fail = func(call string) error {
			if call == "move" && w.stored().Phase == rollout.RollingBack && !replaced {
				replaced = true
				replace(w)
			}
			return nil
		}
		if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != rollout.FailedGate || !replaced || !w.at(rollout.Baseline) {
			t.Errorf("%s at %v: %s", result.Outcome, w.share, result.Why)
		}
	})
}

func TestADriftIsWrittenOverOnlyWhereAskedAndNotForEver(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reverts int
		outcome rollout.Outcome
		share   rollout.Goal
	}{
		"one revert":                   {1, rollout.Done, 100},
		"a reverter that does not end": {1000, rollout.Drifted, 7},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := 0
			w.onLook = func(w *world) {
				if w.looks > 5 && n < tt.reverts {
					n++
					w.share, w.foreign = 7, true
				}
			}
			result, _ := w.live(t.Context(), start(t, w, "a"), func(d *rollout.Deps) { d.ReassertDrift = true })
			if result.Outcome != tt.outcome || w.share != tt.share {
				t.Errorf("%s at %v: %s", result.Outcome, w.share, result.Why)
			}
		})
	}
}

// TestADriftIsJudgedWithinTwoSecondsOfTheLookThatSawIt counts on the clock of the
// run: what follows the watch event or the scrape is three reads.
func TestADriftIsJudgedWithinTwoSecondsOfTheLookThatSawIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var written time.Time
	w.onLook = func(w *world) {
		if w.looks == 6 {
			w.share, w.foreign, written = 7, true, w.now
		}
	}
	w.plan.ScrapeInterval, w.plan.Bake = 30*time.Second, time.Hour
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if took := w.now.Sub(written); result.Outcome != rollout.Drifted || took > 2*time.Second {
		t.Errorf("%s after %v: %s", result.Outcome, took, result.Why)
	}
}

// TestWrongReadsMustFollowEachOther has every third read of the target answered
// by a server that lags behind.
func TestWrongReadsMustFollowEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reads := 0
	result, _ := w.live(t.Context(), start(t, w, "a"), func(d *rollout.Deps) {
		d.Targets[0] = lagging{d.Targets[0], func(s rollout.Standing) rollout.Standing {
			if reads++; reads > 6 && reads%3 == 0 && s.AtGoal {
				s.AtGoal, s.Share = false, 0
			}
			return s
		}}
	})
	if result.Outcome != rollout.Done || reads < 20 {
		t.Errorf("%s after %d reads: %s", result.Outcome, reads, result.Why)
	}
}

// lagging answers reads as it likes.
type lagging struct {
	rollout.Target
	answer func(rollout.Standing) rollout.Standing
}

func (l lagging) Read(ctx context.Context, goal rollout.Goal) (rollout.Standing, error) {
	s, err := l.Target.Read(ctx, goal)
	return l.answer(s), err
}
