package rollout_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestAHealthyCanaryIsPromotedStepByStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Done {
		t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
	}
	if want := []rollout.Goal{25, 100}; !slices.Equal(w.shares, want) {
		t.Errorf("shares written %v, want %v", w.shares, want)
	}
	if w.stamp != "" {
		t.Errorf("stamp %q was left", w.stamp)
	}
	for i, step := range result.Record.Steps {
		if step.Verdict != "Pass" || step.Requests < 200 {
			t.Errorf("step %d: verdict %s after %d requests", i, step.Verdict, step.Requests)
		}
		if step.Took < 24*time.Second {
			t.Errorf("step %d took %v, less than settle and bake", i, step.Took)
		}
	}
}

// ending is what ends a run, and how.
type ending struct {
	setUp   func(w *world, cancel context.CancelFunc)
	change  func(*rollout.Deps)
	outcome rollout.Outcome
	share   rollout.Goal
	why     string
}

func at25(w *world) bool { return w.share == 25 }

// byTheCanary are endings that its evidence brings about.
func byTheCanary() map[string]ending {
	return map[string]ending{
		"a failed gate restores the baseline": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.canary = func(w *world) rollout.Arm {
					if at25(w) {
						return arm(50, 20)
					}
					return healthy(50)
				}
			},
			outcome: rollout.FailedGate, share: rollout.Baseline, why: "errors < 1%",
		},
		"a canary without ready endpoints goes back while it still settles": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.canary = func(*world) rollout.Arm { return rollout.Arm{Blind: "refused"} }
			},
			outcome: rollout.FailedGate, share: rollout.Baseline, why: "no ready endpoint",
		},
		"a restarted canary goes back": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.canary = func(w *world) rollout.Arm {
					a := healthy(100)
					if w.looks > 5 {
						a.Restarts = 1
					}
					return a
				}
			},
			outcome: rollout.FailedGate, share: rollout.Baseline, why: "restarted",
		},
		"no traffic holds until the step's deadline": {
			setUp:   func(w *world, _ context.CancelFunc) { w.canary = func(*world) rollout.Arm { return healthy(0) } },
			outcome: rollout.Held, share: 25, why: "0 of 200 canary requests",
		},
		"metrics that cannot be read hold, and are no failure": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.canary = func(*world) rollout.Arm { return rollout.Arm{Blind: "refused", Ready: 2} }
			},
			outcome: rollout.Held, share: 25, why: "blind",
		},
	}
}

// byOthers are endings by users, other writers, the gateway and the API server.
func byOthers() map[string]ending {
	return map[string]ending{
		"an interrupt holds the approved share": {
			setUp: func(w *world, cancel context.CancelFunc) {
				w.onLook = func(w *world) {
					if w.looks == 6 {
						cancel()
					}
				}
			},
			outcome: rollout.Interrupted, share: 25, why: "25%",
		},
		"an interrupt with rollback restores the baseline": {
			setUp: func(w *world, cancel context.CancelFunc) {
				w.onLook = func(w *world) {
					if w.looks == 6 {
						cancel()
					}
				}
			},
			change:  func(d *rollout.Deps) { d.RollBackOnInterrupt = true },
			outcome: rollout.Returned, share: rollout.Baseline,
		},
		"a foreign weight is drift and is left alone": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.onLook = func(w *world) {
					if w.looks == 6 {
						w.share, w.foreign = 40, true
					}
				}
			},
			outcome: rollout.Drifted, share: 40, why: "40%",
		},
		"a foreign stamp without a rollback is a takeover": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.onLook = func(w *world) {
					if w.looks == 6 {
						w.stamp = "another"
					}
					if w.looks > 7 {
						w.t.Error("the foreign stamp was not noticed at the next look")
					}
				}
			},
			outcome: rollout.TakenOver, share: 25,
		},
		"a route the gateway never accepts goes back": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.accepted = false
			},
			outcome: rollout.FailedGate, share: rollout.Baseline, why: "did not accept",
		},
		"a rollback that cannot be written ends as incomplete": {
			setUp: func(w *world, _ context.CancelFunc) {
				w.canary = func(*world) rollout.Arm { return arm(50, 50) }
				w.fail = func(call string) error {
					if call == "move" && w.share == 25 {
						return errDown
					}
					return nil
				}
			},
			outcome: rollout.RollbackIncomplete, share: 25, why: "refused",
		},
	}
}

func TestWhatEndsARun(t *testing.T) {
	t.Parallel()
	tests := byTheCanary()
	maps.Copy(tests, byOthers())
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tt.setUp(w, cancel)
			var changes []func(*rollout.Deps)
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			result, _ := w.live(ctx, start(t, w, "a"), changes...)
			if result.Outcome != tt.outcome {
				t.Fatalf("outcome %s, want %s: %s", result.Outcome, tt.outcome, result.Why)
			}
			if w.share != tt.share {
				t.Errorf("share %v, want %v", w.share, tt.share)
			}
			if !strings.Contains(result.Why, tt.why) {
				t.Errorf("why %q does not say %q", result.Why, tt.why)
			}
		})
	}
}

func TestAnUnreachableClusterHoldsAndResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var down time.Time
	w.fail = func(string) error {
		if w.share != 25 {
			return nil
		}
		if down.IsZero() {
			down = w.now
		}
		if w.now.Sub(down) < 10*time.Minute {
			return errDown
		}
		return nil
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Done {
		t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
	}
	if got := w.now.Sub(down); got > 15*time.Minute {
		t.Errorf("the run ended %v after the outage began: it did not go on when the cluster was back", got)
	}
}

func TestAProcessThatSleptHasNotBaked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	baking := 0
	w.onLook = func(w *world) {
		if r := w.stored(); r.Phase == rollout.Baking && r.Goal == 25 {
			baking++
			if baking == 2 {
				w.now = w.now.Add(time.Hour / 4) // stopped, not watching
			}
		}
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Done {
		t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
	}
	if looks := baking; looks < 10 {
		t.Errorf("the first step passed after %d looks; the hour asleep was counted as bake time", looks)
	}
}

// TestAPassThatCouldNotBeRecordedForLongIsEarnedAnew cuts the cluster off in the
// moment the first step has passed. The canary goes bad meanwhile: what the
// gates said before the outage must not raise its share after it.
func TestAPassThatCouldNotBeRecordedForLongIsEarnedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var down time.Time
	w.fail = func(call string) error {
		if call != "save" || w.share != 25 || w.stored().Phase != rollout.Baking {
			return nil
		}
		if down.IsZero() {
			down = w.now
		}
		if w.now.Sub(down) < 10*time.Minute {
			return errDown
		}
		return nil
	}
	w.canary = func(w *world) rollout.Arm {
		if !down.IsZero() {
			return arm(100, 50)
		}
		return healthy(100)
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.FailedGate {
		t.Errorf("outcome %s: %s", result.Outcome, result.Why)
	}
	if slices.Contains(w.shares, 100) {
		t.Errorf("shares written: %v", w.shares)
	}
}
