package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestWhatARequestDoes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change  func(*rollout.Plan)
		setUp   func(*world)
		noWait  bool
		outcome rollout.Outcome
		shares  []rollout.Goal
		why     string
	}{
		"an abort restores the baseline": {
			setUp: asks(6, rollout.WishAbort), outcome: rollout.Returned, shares: []rollout.Goal{25, rollout.Baseline}, why: "abort requested by someone",
		},
		"an abort goes before what was asked earlier": {
			setUp: asks(6, rollout.WishFull, rollout.WishAbort), outcome: rollout.Returned, shares: []rollout.Goal{25, rollout.Baseline},
		},
		"full skips the steps between": {
			change: func(p *rollout.Plan) { p.Steps = []int{5, 25, 50, 100} },
			setUp:  asks(6, rollout.WishFull), outcome: rollout.Done, shares: []rollout.Goal{5, 100},
		},
		"an approval lets the step pass": {
			change: func(p *rollout.Plan) { p.Approve = []int{25} },
			setUp:  asks(30, rollout.WishPromote), outcome: rollout.Done, shares: []rollout.Goal{25, 100},
		},
		"without waiting, an unapproved step ends the run": {
			change: func(p *rollout.Plan) { p.Approve = []int{25} }, noWait: true,
			setUp: func(*world) {}, outcome: rollout.Unapproved, shares: []rollout.Goal{25}, why: "waits for approval",
		},
		"a canary that fails while it waits goes back": {
			change: func(p *rollout.Plan) { p.Approve = []int{25} },
			setUp: func(w *world) {
				w.canary = func(w *world) rollout.Arm {
					if w.looks > 60 {
						return arm(100, 50)
					}
					return healthy(100)
				}
			},
			outcome: rollout.FailedGate, shares: []rollout.Goal{25, rollout.Baseline},
		},
		"an unknown wish changes nothing": {
			setUp: asks(6, "dance"), outcome: rollout.Done, shares: []rollout.Goal{25, 100},
		},
		"another run's request is not obeyed": {
			setUp: func(w *world) { w.asked = []rollout.Request{{Seq: 9, Run: "earlier", Wish: rollout.WishAbort}} }, outcome: rollout.Done, shares: []rollout.Goal{25, 100},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.change != nil {
				tt.change(&w.plan)
			}
			tt.setUp(w)
			result, _ := w.live(t.Context(), start(t, w, "a"), func(d *rollout.Deps) { d.NoWait = tt.noWait })
			if result.Outcome != tt.outcome || !slices.Equal(w.shares, tt.shares) || !strings.Contains(result.Why, tt.why) {
				t.Errorf("%s after %v, want %s after %v: %s", result.Outcome, w.shares, tt.outcome, tt.shares, result.Why)
			}
		})
	}
}

func TestAPauseHoldsBeyondTheDeadlineUntilResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := w.now
	asks(6, rollout.WishPause)(w)
	first := w.onLook
	resumed := time.Time{}
	w.onLook = func(w *world) {
		first(w)
		if w.share == 100 && resumed.IsZero() {
			t.Error("a paused rollout was raised")
		}
		if w.now.Sub(began) > 2*time.Hour && resumed.IsZero() {
			resumed = w.now
			w.asked = append(w.asked, rollout.Request{Seq: 2, Run: w.stored().Run, Wish: rollout.WishResume})
		}
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Done {
		t.Errorf("%s: %s", result.Outcome, result.Why)
	}
}

func TestARaiseNeedsReadyEndpointsOnBothArms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ready, stable int
		capacity      float64
		outcome       rollout.Outcome
		why           string
	}{
		"enough canary endpoints":        {2, 2, 0.8, rollout.Done, ""},
		"one endpoint is not 80% of two": {1, 2, 0.8, rollout.Held, "canary has 1 ready endpoints and needs 2 for 100%"},
		"half the capacity is enough":    {1, 2, 0.5, rollout.Done, ""},
		"stable must not shrink":         {2, 1, 0.8, rollout.Held, "stable has 1 ready endpoints"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan.Capacity = tt.capacity
			w.canary = func(*world) rollout.Arm { a := healthy(100); a.Ready = tt.ready; return a }
			w.stableReady = tt.stable
			result, _ := w.live(t.Context(), start(t, w, "a"))
			if result.Outcome != tt.outcome || !strings.Contains(result.Why, tt.why) {
				t.Errorf("%s: %s", result.Outcome, result.Why)
			}
		})
	}
}

func TestParseSteps(t *testing.T) {
	t.Parallel()
	steps, approve, err := rollout.ParseSteps("5, 25%:approve,50")
	if err != nil || !slices.Equal(steps, []int{5, 25, 50}) || !slices.Equal(approve, []int{25}) {
		t.Errorf("%v %v %v", steps, approve, err)
	}
	for _, bad := range []string{"", "5,x", "5:later"} {
		if _, _, err := rollout.ParseSteps(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestARecordOfTheFirstFormatIsUnderstood(t *testing.T) {
	t.Parallel()
	plan := rollout.Plan{Steps: []int{5, 50}, AddBackend: true}
	for step, want := range map[int]rollout.Goal{-1: rollout.Baseline, 0: 0, 1: 5} {
		got := rollout.Record{Format: 1, Plan: plan, Step: step}.Upgrade()
		if got.From != want || got.Format != rollout.RecordFormat {
			t.Errorf("step %d: from %s in format %d, want %s", step, got.From, got.Format, want)
		}
	}
}

func TestAStepPassesOnlyWithTheShareItAskedFor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change  func(*world)
		outcome rollout.Outcome
		why     string
	}{
		"the share asked for":                      {func(*world) {}, rollout.Done, ""},
		"a gateway that ignores the weights holds": {func(w *world) { w.lopsided = true }, rollout.Held, "25% was asked for"},
		"unless the user knows of other traffic":   {func(w *world) { w.lopsided, w.plan.IgnoreShare = true, true }, rollout.Done, ""},
		"requests that finished only prove nothing": {func(w *world) {
			w.canary = func(*world) rollout.Arm { a := healthy(100); a.Started = 0; return a }
			w.lopsided = true
		}, rollout.Held, "the canary got 0"},
		"too few requests hold": {
			func(w *world) {
				w.plan.MinRequests, w.plan.StepDeadline = 1, 30*time.Second
				w.canary = func(*world) rollout.Arm { return healthy(1) }
				w.stable = func(*world) rollout.Arm { return healthy(1) }
			}, rollout.Held, "of the 50 that takes",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.change(w)
			result, _ := w.live(t.Context(), start(t, w, "a"))
			if result.Outcome != tt.outcome || !strings.Contains(result.Why, tt.why) {
				t.Errorf("%s: %s", result.Outcome, result.Why)
			}
		})
	}
}
