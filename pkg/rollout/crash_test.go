package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// reference is a plan and what happens while it runs.
type reference struct {
	name   string
	change func(*rollout.Plan)
	setUp  func(*world)
	ends   rollout.Goal // where an undisturbed run leaves the share
}

func failsAt(share rollout.Goal) func(*world) {
	return func(w *world) {
		w.canary = func(w *world) rollout.Arm {
			if w.share >= share {
				return arm(100, 50)
			}
			return healthy(100)
		}
	}
}

// asks puts a request into the journal at the nth look of the world.
func asks(n int, wishes ...rollout.Wish) func(*world) {
	return func(w *world) {
		w.onLook = func(w *world) {
			if w.looks != n {
				return
			}
			for _, wish := range wishes {
				w.asked = append(w.asked, rollout.Request{Seq: int64(len(w.asked)) + 1, Run: w.stored().Run, Wish: wish, User: "someone"})
			}
		}
	}
}

func references() []reference {
	steps := func(s ...int) func(*rollout.Plan) { return func(p *rollout.Plan) { p.Steps = s } }
	nothing := func(*world) {}
	return []reference{
		{"two steps", steps(25, 100), nothing, 100},
		{"one step to the end", steps(100), nothing, 100},
		{"four steps", steps(5, 25, 50, 100), nothing, 100},
		{"short of the end", steps(10, 50), nothing, 50},
		{"canary not listed yet", func(p *rollout.Plan) { p.AddBackend = true }, nothing, 100},
		{"fails at the first step", steps(25, 100), failsAt(25), rollout.Baseline},
		{"fails at the last step", steps(25, 100), failsAt(100), rollout.Baseline},
		{"not listed, and fails", func(p *rollout.Plan) { p.AddBackend = true }, failsAt(25), rollout.Baseline},
		{"approved step", func(p *rollout.Plan) { p.Approve = []int{25} }, asks(9, rollout.WishPromote), 100},
		{"paused and resumed", steps(25, 100), asks(3, rollout.WishPause, rollout.WishResume), 100},
		{"promoted past the middle", steps(5, 25, 50, 100), asks(5, rollout.WishFull), 100},
		{"aborted on request", steps(25, 100), asks(9, rollout.WishAbort), rollout.Baseline},
		{"three targets", steps(25, 100), func(w *world) { w.with(2) }, 100},
		{"two targets that fail at the last step", steps(25, 100), func(w *world) { failsAt(100)(w.with(1)) }, rollout.Baseline},
	}
}

func (ref reference) world(t *testing.T) *world {
	w := newWorld(t)
	w.simple, w.plan.Bake, w.plan.Settle = true, 4*time.Second, 2*time.Second
	ref.change(&w.plan)
	ref.setUp(w)
	return w
}

// TestCrashAtEveryCall kills the process before and after every call it makes
// to the cluster, or loses the answer and lets it live, in every reference
// plan; then either a new run of the same plan or an abort must bring the
// share to where the plan ends or to the baseline. The watcher checks the
// promise after each call.
func TestCrashAtEveryCall(t *testing.T) {
	t.Parallel()
	modes := map[string]func(*world, int){
		"call lost":               func(w *world, n int) { w.dieAt = n },
		"killed after the call":   func(w *world, n int) { w.dieAt, w.dieAfter = n, true },
		"answer lost, process on": func(w *world, n int) { w.loseAt = n },
	}
	for _, ref := range references() {
		for mode, arrange := range modes {
			for _, then := range []string{"run", "abort"} {
				if mode == "answer lost, process on" && then == "abort" {
					continue // nothing died
				}
				t.Run(ref.name+", "+mode+", then "+then, func(t *testing.T) {
					t.Parallel()
					cases := 0
					for n := 1; n <= 301 && !t.Failed(); n++ {
						w := ref.world(t)
						arrange(w, n)
						result, died := w.live(t.Context(), start(t, w, "first"))
						if !died && w.calls < n {
							break
						}
						cases++
						if !died && !w.at(ref.ends) {
							t.Errorf("answer %d lost: ended %s at %v, want %v: %s", n, result.Outcome, w.share, ref.ends, result.Why)
						}
						if died {
							ref.recover(t, w, then)
						}
					}
					if cases < 10 || cases > 300 {
						t.Errorf("%d calls", cases)
					}
				})
			}
		}
	}
}

// recover is the next process after a crash.
func (ref reference) recover(t *testing.T, w *world, then string) {
	t.Helper()
	at := fmt.Sprintf("died at call %d", w.dieAt)
	w.dieAt = 0
	before := w.stored()
	switch {
	case before.Phase.Finished():
	case then == "abort" && before.Run != "":
		if result, _ := w.live(t.Context(), startAbort(t, w)); result.Outcome != rollout.Returned && result.Outcome != rollout.FailedGate {
			t.Errorf("%s: abort ended %s: %s", at, result.Outcome, result.Why)
		}
		if !w.at(rollout.Baseline) {
			t.Errorf("%s: share is %v after the abort", at, w.share)
		}
		return
	default:
		// A person asks again for what nobody obeyed.
		wake := w.onLook
		w.onLook = func(w *world) {
			if wake != nil {
				wake(w)
			}
			if r := w.stored(); r.Phase == rollout.Waiting && len(w.asked) == 0 {
				asks(w.looks, rollout.WishPromote)(w)
				w.onLook(w)
			}
		}
		result, _ := w.live(t.Context(), start(t, w, "second"))
		if !slices.Contains([]rollout.Outcome{rollout.Done, rollout.FailedGate, rollout.Returned}, result.Outcome) {
			t.Errorf("%s: the new run ended %s: %s", at, result.Outcome, result.Why)
		}
	}
	if !w.at(ref.ends) && (ref.name != "aborted on request" || !w.at(100)) {
		t.Errorf("%s: share is %v, want %v", at, w.share, ref.ends)
	}
}

func TestASignalAtEveryLookHoldsAnApprovedShare(t *testing.T) {
	t.Parallel()
	for n := 1; n < 40; n++ {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.onLook = func(w *world) {
			if w.looks == n {
				cancel()
			}
		}
		result, _ := w.live(ctx, start(t, w, "a"))
		cancel()
		if result.Outcome == rollout.Done {
			return
		}
		if result.Outcome != rollout.Interrupted {
			t.Fatalf("look %d: %s: %s", n, result.Outcome, result.Why)
		}
	}
}
