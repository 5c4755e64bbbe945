package rollout_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// TestOneTargetThatCannotMoveTakesTheOthersBack fails each target of two to
// four at each step, by an error and by a foreign write.
func TestOneTargetThatCannotMoveTakesTheOthersBack(t *testing.T) {
	t.Parallel()
	for n := 2; n <= 4; n++ {
		for i := range n {
			for _, step := range []rollout.Goal{25, 100} {
				before := rollout.Baseline
				if step == 100 {
					before = 25
				}
				t.Run(fmt.Sprintf("target %d of %d refuses %v", i+1, n, step), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t).with(n - 1)
					w.fail = func(call string) error {
						if call == "move"+w.spots()[i].name && w.spots()[i].share == before && w.stored().Goal == step {
							return errDown
						}
						return nil
					}
					result, _ := w.live(t.Context(), start(t, w, "a"))
					if result.Outcome != rollout.Held || !w.at(before) {
						t.Errorf("%s with the first at %v: %s", result.Outcome, w.share, result.Why)
					}
				})
				t.Run(fmt.Sprintf("target %d of %d was changed before %v", i+1, n, step), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t).with(n - 1)
					w.fail = func(string) error {
						if w.stored().Goal == step && !w.foreign {
							w.foreign, w.spots()[i].share = true, 17
						}
						return nil
					}
					result, _ := w.live(t.Context(), start(t, w, "a"))
					w.spots()[i].share = before
					if result.Outcome != rollout.Drifted || !w.at(before) {
						t.Errorf("%s with the first at %v: %s", result.Outcome, w.share, result.Why)
					}
				})
			}
		}
	}
}

func TestTheHighestShareGoesBackFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t).with(2)
	w.canary = func(w *world) rollout.Arm { return arm(100, 50) }
	var order []string
	w.fail = func(call string) error {
		if r := w.stored(); r.Phase == rollout.RollingBack {
			if len(order) == 0 { // as a process that died halfway would leave them
				w.share, w.others[0].share, w.others[1].share = 5, 25, 10
				w.spot.last, w.others[0].last, w.others[1].last = 5, 25, 10
				order = append(order, "begin")
			}
			if strings.HasPrefix(call, "move") {
				order = append(order, call)
			}
		}
		return nil
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	want := "begin,move httproute/chat-0,move httproute/chat-1,move"
	if got := strings.Join(order, ","); result.Outcome != rollout.FailedGate || got != want {
		t.Errorf("%s after %s, want %s", result.Outcome, got, want)
	}
}

func TestOneTargetThatCannotGoBackKeepsNoOtherUp(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"read", "move"} {
		for i := range 3 {
			t.Run(fmt.Sprintf("%s of target %d", call, i+1), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t).with(2)
				w.canary = func(w *world) rollout.Arm { return arm(100, 50) }
				w.fail = func(c string) error {
					if c == call+w.spots()[i].name && w.stored().Phase == rollout.RollingBack && w.spots()[i].share == 25 {
						return errDown
					}
					return nil
				}
				result, _ := w.live(t.Context(), start(t, w, "a"))
				stuck := w.spots()[i].share
				w.spots()[i].share = rollout.Baseline
				if !w.at(rollout.Baseline) {
					t.Error("another target was kept up")
				}
				if want := rollout.RollbackIncomplete; call == "move" && (result.Outcome != want || stuck != 25) {
					t.Errorf("%s: %s", result.Outcome, result.Why)
				}
			})
		}
	}
}
