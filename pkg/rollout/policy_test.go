package rollout_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// unread is an arm whose metrics cannot be read and whose pods are ready.
func unread() rollout.Arm { return rollout.Arm{Blind: "refused", Ready: 2} }

// TestAMetricsOutageHolds takes the metrics of both arms away for ten minutes in
// the middle of a step.
func TestAMetricsOutageHolds(t *testing.T) {
	t.Parallel()
	const lasts = 10 * time.Minute
	tests := map[string]struct {
		onBlind rollout.Policy
		limit   time.Duration // of blindness; 0 for the default
		outcome rollout.Outcome
		ends    time.Duration // after the outage began, at most
	}{
		"without a rollback or a raise, and goes on within one scrape": {rollout.Hold, 0, rollout.Done, lasts + 2*time.Minute},
		"and goes back after the limit where the plan says so":         {rollout.GoBack, 0, rollout.FailedGate, rollout.DefaultBlindLimit + 10*time.Second},
		"a limit of one minute is one minute":                          {rollout.GoBack, time.Minute, rollout.FailedGate, time.Minute + 10*time.Second},
		"a limit that the outage keeps changes nothing":                {rollout.GoBack, lasts + time.Minute, rollout.Done, lasts + 2*time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan.OnBlind, w.plan.BlindLimit = tt.onBlind, cmp.Or(tt.limit, rollout.DefaultBlindLimit)
			var began, seen time.Time
			out := func(w *world) bool { return !began.IsZero() && w.now.Sub(began) < lasts }
			look := func(w *world) rollout.Arm {
				if w.share == 25 && began.IsZero() && w.looks > 8 {
					began = w.now
				}
				switch {
				case out(w):
					return unread()
				case !began.IsZero() && seen.IsZero():
					seen = w.now
				}
				return healthy(100)
			}
			w.canary = look
			w.stable = look
			w.onLook = func(w *world) {
				if out(w) && (w.share != 25 || w.stored().Goal != 25) {
					t.Errorf("%v into the outage the share is %v and the goal %v", w.now.Sub(began), w.share, w.stored().Goal)
				}
			}
			if tt.outcome == rollout.FailedGate {
				w.onLook = nil
			}
			result, _ := w.live(t.Context(), start(t, w, "a"))
			if result.Outcome != tt.outcome {
				t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
			}
			if took := w.now.Sub(began); took > tt.ends {
				t.Errorf("ended %v after the outage began, want at most %v", took, tt.ends)
			}
			if tt.onBlind == rollout.Hold && seen.Sub(began) > lasts+w.plan.ScrapeInterval {
				t.Errorf("looked again %v after the outage began", seen.Sub(began))
			}
		})
	}
}

func TestHowSoonACanaryGoes(t *testing.T) {
	t.Parallel()
	const scrape = 2 * time.Second
	hung := func(w *world) rollout.Arm { return rollout.Arm{Ready: 2, Running: 3, Values: [][]uint64{{0, 0}}} }
	tests := map[string]struct {
		canary func(w *world) rollout.Arm
		within time.Duration
		why    string
	}{
		"dead: within three scrapes": {
			func(*world) rollout.Arm { return rollout.Arm{Blind: "refused"} }, 3 * scrape, "no ready endpoint",
		},
		"crash-looping: within three scrapes": {
			func(*world) rollout.Arm {
				a := healthy(10)
				a.Restarts = 1
				return a
			}, 3 * scrape, "restarted 1 times",
		},
		"hung with requests running: after half a minute": {hung, 34 * time.Second, "made no progress for 30s"},
		"unread, with servers that run requests and answer none: after half a minute": {
			func(*world) rollout.Arm {
				a := unread()
				a.Servers = &rollout.Servers{Running: 3}
				return a
			}, 34 * time.Second, "it answers no request",
		},
		"unread and restarted: after ten seconds": {
			func(*world) rollout.Arm {
				a := unread()
				a.Restarts = 1
				return a
			}, 12 * time.Second, "restarted",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var began time.Time
			w.canary = func(w *world) rollout.Arm {
				if w.share != 25 || w.looks < 8 {
					return healthy(100)
				}
				if began.IsZero() {
					began = w.now
				}
				return tt.canary(w)
			}
			result, _ := w.live(t.Context(), start(t, w, "a"))
			if result.Outcome != rollout.FailedGate || !strings.Contains(result.Why, tt.why) {
				t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
			}
			if took := w.now.Sub(began); took > tt.within {
				t.Errorf("back after %v, want within %v", took, tt.within)
			}
		})
	}
}

func TestACanaryThatDiesWhileItSettlesGoesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan.Settle = time.Hour
	var began time.Time
	w.canary = func(w *world) rollout.Arm {
		if began.IsZero() && w.share == 25 {
			began = w.now
		}
		return rollout.Arm{Blind: "refused"}
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if took := w.now.Sub(began); result.Outcome != rollout.FailedGate || took > time.Minute {
		t.Errorf("%s after %v: %s", result.Outcome, took, result.Why)
	}
}

// TestAStepWithoutAVerdictDoesNotPass has a judge that says neither what is
// missing nor that the step passes, until it has seen 200 requests.
func TestAStepWithoutAVerdictDoesNotPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.simple = true
	looks := map[rollout.Goal]int{}
	w.canary = func(w *world) rollout.Arm {
		if w.stored().Phase == rollout.Baking {
			looks[w.share]++
		}
		return arm(5, 0)
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Done || looks[25] < 40 || looks[100] < 40 {
		t.Errorf("%s after %v looks at five requests each", result.Outcome, looks)
	}
}

// TestANewWarningIsInTheJournalAtOnce looks at what another terminal would read.
func TestANewWarningIsInTheJournalAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first, saved time.Time
	w.warnings = func(w *world) []string {
		if w.phase != rollout.Baking || w.share != 25 {
			return nil
		}
		if first.IsZero() {
			first = w.now
		}
		return []string{"one pod: it is all of the harm"}
	}
	w.onLook = func(w *world) {
		if saved.IsZero() && len(w.stored().Warnings) > 0 {
			saved = w.now
		}
	}
	if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != rollout.Done || len(result.Record.Warnings) > 0 {
		t.Fatalf("outcome %s, warnings left %q", result.Outcome, result.Record.Warnings)
	}
	if first.IsZero() || saved.IsZero() || saved.Sub(first) > 2*w.plan.ScrapeInterval {
		t.Errorf("first warned %v, in the journal %v", first, saved)
	}
}

func TestRestartsThatThePlanTolerates(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]rollout.Outcome{1: rollout.FailedGate, 2: rollout.Done} {
		w := newWorld(t)
		w.plan.MaxRestarts = limit
		w.canary = func(w *world) rollout.Arm {
			a := healthy(100)
			if w.share >= 25 && w.looks > 8 {
				a.Restarts = 2
			}
			return a
		}
		if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != want {
			t.Errorf("two restarts, %d tolerated: %s: %s", limit, result.Outcome, result.Why)
		}
	}
}

// TestACanaryOutOfSightThatAnswersStays loses the canary's picker for two
// minutes while its servers go on.
func TestACanaryOutOfSightThatAnswersStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var lost time.Time
	w.canary = func(w *world) rollout.Arm {
		if w.share != 25 {
			return healthy(100)
		}
		if lost.IsZero() {
			lost = w.now
		}
		if w.now.Sub(lost) > 2*time.Minute {
			return healthy(100)
		}
		a := unread()
		a.Servers = &rollout.Servers{Running: 3, Progress: 40}
		return a
	}
	if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != rollout.Done {
		t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
	}
}

// TestASlowButHealthyCanaryStays sends one request in ten seconds, each answered
// whole after 20 s: long stretches in which requests run and nothing comes.
func TestASlowButHealthyCanaryStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan.MinRequests, w.plan.StepDeadline = 20, time.Hour
	slow := func(w *world) rollout.Arm {
		a := rollout.Arm{Ready: 2, Running: 2, Values: [][]uint64{{0, 0}}}
		if w.looks%5 == 0 {
			a.Started, a.Finished, a.Progress, a.Values = 1, 1, 1, [][]uint64{{1, 0}}
		}
		return a
	}
	w.canary, w.stable = slow, slow
	if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != rollout.Done {
		t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
	}
}

func TestAStepThatCannotBeJudged(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy  rollout.Policy
		canary  rollout.Arm
		outcome rollout.Outcome
	}{
		"holds at its deadline":                       {rollout.Hold, healthy(0), rollout.Held},
		"goes back where the plan says so":            {rollout.GoBack, healthy(0), rollout.FailedGate},
		"that is blind is not inconclusive and holds": {rollout.GoBack, unread(), rollout.Held},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan.OnInconclusive = tt.policy
			w.canary = func(*world) rollout.Arm { return tt.canary }
			if result, _ := w.live(t.Context(), start(t, w, "a")); result.Outcome != tt.outcome {
				t.Fatalf("outcome %s: %s", result.Outcome, result.Why)
			}
		})
	}
}

func TestCalibrationComesBeforeTheFirstRaise(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan.Calibrate = time.Minute
	looks := 0
	w.onLook = func(w *world) {
		if w.share == rollout.Baseline && w.stored().Phase == rollout.Ready {
			looks++
		}
	}
	result, _ := w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Done || looks != 30 {
		t.Errorf("outcome %s after %d looks at stable alone, want 30", result.Outcome, looks)
	}
	w = newWorld(t)
	w.plan.Calibrate = time.Minute
	w.stable = func(*world) rollout.Arm { return unread() }
	result, _ = w.live(t.Context(), start(t, w, "a"))
	if result.Outcome != rollout.Held || len(w.shares) > 0 || !strings.Contains(result.Why, "0s of 1m0s watched") {
		t.Errorf("with a stable that cannot be read: outcome %s, shares %v: %s", result.Outcome, w.shares, result.Why)
	}
}

func TestPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(p *rollout.Plan)
		says   string
	}{
		"a policy that is not known":                 {func(p *rollout.Plan) { p.OnBlind = "promote" }, `--on-blind "promote" is neither hold nor rollback`},
		"a promotion by something else":              {func(p *rollout.Plan) { p.PromoteOn = "time" }, "neither bake nor evidence"},
		"a comparison that leaves stable too little": {func(p *rollout.Plan) { p.Gates, p.Steps = rollout.DefaultGates(), []int{50, 97} }, "cannot be judged at 97%"},
		"a time that is negative":                    {func(p *rollout.Plan) { p.Calibrate = -time.Second }, "must not be negative"},
		"no gates":                                   {func(p *rollout.Plan) { p.Gates = nil }, "nothing would judge the canary"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plan()
			tt.change(&p)
			if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v does not say %q", err, tt.says)
			}
		})
	}
	p := plan()
	p.Gates, p.Steps = rollout.DefaultGates(), []int{5, 95, 100}
	if err := p.Validate(); err != nil {
		t.Errorf("the default gates are refused: %v", err)
	}
}
