package mirror

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// away makes calls of these names fail from the nth look on.
func away(n int, names ...string) func(*world) {
	return func(w *world) {
		w.fail = func(call string) error {
			for _, name := range names {
				if call == name && w.looks >= n {
					return errDown
				}
			}
			return nil
		}
	}
}

func shadowIs(a rollout.Arm) func(*world) {
	return func(w *world) { w.shadow = func(*world) rollout.Arm { return a } }
}

func TestEveryMirrorEndsInAVerdictAndLeavesNothing(t *testing.T) {
	t.Parallel()
	blind := rollout.Arm{Ready: 2, Blind: "refused"}
	for rule, tt := range map[string]struct {
		plan    func(*Plan)
		world   func(*world)
		verdict gate.Verdict
		why     string
	}{
		"a shadow that keeps every gate passes":       {nil, nil, gate.Pass, "no gate shows harm"},
		"one that breaks a gate fails":                {nil, shadowIs(arm(100, 50)), gate.Fail, "errors"},
		"one without a ready pod fails":               {nil, shadowIs(rollout.Arm{Values: [][]uint64{{0, 0}}}), gate.Fail, "no ready endpoint"},
		"too few copies are undecided":                {func(p *Plan) { p.MinRequests = 1e6 }, nil, gate.Inconclusive, "undecided at the end"},
		"more tokens than the budget end it":          {nil, shadowIs(rollout.Arm{Ready: 2, Progress: 1, PromptTokens: 200_000, Values: [][]uint64{{0, 0}}}), gate.Inconclusive, "tokens a second"},
		"a budget that cannot hold copies nothing":    {func(p *Plan) { p.MaxTokensPerSecond = 200 }, nil, gate.Inconclusive, "--percent 40 would fit"},
		"copies that never come are undecided":        {func(p *Plan) { p.Duration = time.Minute }, shadowIs(rollout.Arm{Ready: 2, Values: [][]uint64{{0, 0}}}), gate.Inconclusive, "no copy arrived"},
		"spending that cannot be read ends it":        {func(p *Plan) { p.Duration = time.Hour }, shadowIs(blind), gate.Inconclusive, "could not be read for 30s"},
		"a filter that is not accepted is taken off":  {nil, func(w *world) { w.refused = true }, gate.Inconclusive, "did not accept the filter"},
		"a filter that somebody changes is taken off": {nil, func(w *world) { w.onLook = at(6, func(w *world) { w.percent = 99 }) }, gate.Inconclusive, "changed to 99%"},
		"a route that is replaced is left clean":      {nil, func(w *world) { w.onLook = at(6, func(w *world) { w.stamp = "" }) }, gate.Inconclusive, "our stamp is gone"},
		"a route that is deleted keeps no Service": {nil, func(w *world) {
			w.onLook = at(6, func(w *world) { w.gone, w.percent, w.stamp = true, rollout.Baseline, "" })
		}, gate.Inconclusive, rollout.ErrDrift.Error()},
		"a request to stop is obeyed": {nil, func(w *world) {
			w.onLook = at(6, func(w *world) {
				w.asked = []rollout.Request{{Seq: 1, Run: "a", Wish: rollout.WishAbort, User: "someone"}}
			})
		}, gate.Inconclusive, "stop requested by someone"},
		"a request to another run is not": {nil, func(w *world) {
			w.onLook = at(6, func(w *world) { w.asked = []rollout.Request{{Seq: 1, Run: "b", Wish: rollout.WishAbort}} })
		}, gate.Pass, ""},
		"counts that cannot be saved cost nothing": {func(p *Plan) { p.Duration = 2 * time.Minute }, func(w *world) {
			w.fail = func(call string) error {
				if r := w.record; call == "save" && r.Phase == Mirroring && w.looks > 8 && w.looks < 40 {
					return errDown
				}
				return nil
			}
		}, gate.Pass, ""},
		"a Service that cannot be made ends it": {nil, away(0, "make"), gate.Inconclusive, "could not be written"},
		"a primary nobody asks is undecided": {
			func(p *Plan) {
				p.Gates = []string{"errors < 1%"}
				p.Calibrate = time.Hour
				p.Duration = 2 * time.Second
			},
			func(w *world) {
				w.primary = func(*world) rollout.Arm { return rollout.Arm{Ready: 1, Blind: "refused"} }
			}, gate.Inconclusive, "could not be measured",
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.world != nil {
				tt.world(w)
			}
			end, _ := w.live(t.Context(), w.start(tt.plan))
			if end.Outcome != Judged || end.Record.Verdict != tt.verdict || !strings.Contains(end.Why, tt.why) {
				t.Errorf("%s, %s: %s; want %s: %s", end.Outcome, end.Record.Verdict, end.Why, tt.verdict, tt.why)
			}
			if w.fail = nil; !w.clean() || w.record.Phase != Done {
				t.Errorf("left: %s copied, Service %v, stamp %q, phase %s", w.percent, w.service, w.stamp, w.record.Phase)
			}
		})
	}
}

// at does something at the nth look.
func at(n int, do func(*world)) func(*world) {
	return func(w *world) {
		if w.looks == n {
			do(w)
		}
	}
}

// TestACrashAtEveryCall kills the process before and after every call it makes
// to the cluster, or loses the answer and lets it live; then `mirror stop` must
// leave nothing. The watcher checks the order of writes after each call.
func TestACrashAtEveryCall(t *testing.T) {
	t.Parallel()
	for mode, arrange := range map[string]func(*world, int){
		"call lost":               func(w *world, n int) { w.dieAt = n },
		"killed after the call":   func(w *world, n int) { w.dieAt, w.dieAfter = n, true },
		"answer lost, process on": func(w *world, n int) { w.loseAt = n },
	} {
		for name, world := range map[string]func(*world){"passes": func(*world) {}, "fails": shadowIs(arm(100, 50))} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				cases := 0
				for n := 1; ; n++ {
					w := newWorld(t)
					world(w)
					arrange(w, n)
					_, died := w.live(t.Context(), w.start(nil))
					if !died && w.calls < n {
						break
					}
					cases++
					if died && w.record.Run != "" && w.record.Phase != Done {
						w.dieAt = 0
						if end, _ := w.live(t.Context(), w.stop()); end.Outcome != Judged {
							t.Errorf("call %d: stop ended %s: %s", n, end.Outcome, end.Why)
						}
					}
					if w.percent != rollout.Baseline || w.service {
						t.Errorf("call %d: %s copied, Service %v", n, w.percent, w.service)
					}
				}
				if cases < 10 {
					t.Errorf("only %d calls", cases)
				}
			})
		}
	}
}

func TestASignalAtEveryLookTakesTheMirrorAway(t *testing.T) {
	t.Parallel()
	for n := 1; n < 40; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWorld(t)
		w.onLook = at(n, func(*world) { cancel() })
		end, _ := w.live(ctx, w.start(nil))
		cancel()
		if !w.clean() {
			t.Fatalf("look %d: %s copied, Service %v, stamp %q", n, w.percent, w.service, w.stamp)
		}
		if end.Record.Verdict == gate.Pass {
			return
		}
		if end.Outcome != Judged || end.Why != "interrupted" {
			t.Fatalf("look %d: %s: %s", n, end.Outcome, end.Why)
		}
	}
	t.Error("no run went on to its end")
}

func TestAProcessThatSleptThroughAStopWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.onLook = at(6, func(w *world) {
		if end, _ := w.live(t.Context(), w.stop()); end.Outcome != Judged {
			t.Errorf("stop ended %s: %s", end.Outcome, end.Why)
		}
	})
	end, _ := w.live(t.Context(), w.start(nil))
	if end.Outcome != TakenOver || !strings.Contains(end.Why, "ended by second") || !w.clean() || w.record.Holder != "second" {
		t.Errorf("%s: %s; %s copied by %s", end.Outcome, end.Why, w.percent, w.record.Holder)
	}
}

func TestAFilterThatCannotBeTakenOffIsIncomplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	away(7, "move")(w)
	end, _ := w.live(t.Context(), w.start(nil))
	if end.Outcome != Incomplete || w.percent == rollout.Baseline || w.record.Phase != Removing {
		t.Errorf("%s: %s; %s copied, phase %s", end.Outcome, end.Why, w.percent, w.record.Phase)
	}
}

func TestSimilarity(t *testing.T) {
	t.Parallel()
	for rule, tt := range map[string]struct {
		a, b string
		want float64
	}{
		"the same words agree, whatever is between them": {"a b\nc", "a  b c", 1},
		"two empty texts agree":                          {"", " ", 1},
		"nothing in common is 0":                         {"a b", "c d", 0},
		"one word of three is another":                   {"a b c", "a x c", 2.0 / 3},
		"order counts":                                   {"a b", "b a", 0.5},
	} {
		if got := Similarity(tt.a, tt.b); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", rule, got, tt.want)
		}
	}
	a := Answers{}.Add("a b", "a b").Add("a b", "c d")
	if a.Asked != 2 || a.Same != 1 || a.Lowest != 0 || a.Similarity != 0.5 {
		t.Errorf("%+v", a)
	}
}
