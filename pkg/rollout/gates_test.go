package rollout_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// The arms of these tests answer with errors and a time to first token that is
// in one of the buckets below.
var ttftEdges = []float64{0.1, 0.2, 0.4, 0.8, 1.6}

const window = 50 // requests of each arm in a window

func compared() rollout.Plan {
	p := plan()
	p.Gates = []string{"errors < 1.2x stable or < 0.5%", "ttft p95 < 1.5x stable"}
	p.Steps, p.Calibrate = []int{10, 50, 100}, 80*time.Second
	return p
}

func newJudge(t *testing.T, p rollout.Plan, recorded []byte) rollout.Judge {
	t.Helper()
	g, err := rollout.NewGates(p, [][]float64{nil, ttftEdges}, recorded)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// side is what an arm does in one window: bad errors, and of its first tokens
// slow ones in bucket at, the others in the bucket up to 0.1 s.
func side(bad, slow uint64, at int) rollout.Arm {
	row := make([]uint64, len(ttftEdges)+1)
	row[0] = window - slow
	row[at] += slow
	return rollout.Arm{
		Started: window, Finished: window, Progress: window, Ready: 2,
		Values: [][]uint64{{window - bad, bad}, row},
	}
}

// watcher walks a judge through windows two seconds apart.
type watcher struct {
	judge rollout.Judge
	now   time.Time
	f     rollout.Finding
}

func (w *watcher) survey(n int, stable rollout.Arm) string {
	lacking := ""
	for range n {
		w.judge, lacking = w.judge.Survey(rollout.Sample{Stable: stable})
	}
	return lacking
}

func (w *watcher) weigh(n int, canary, stable rollout.Arm) {
	for range n {
		w.now = w.now.Add(2 * time.Second)
		w.judge, w.f = w.judge.Weigh(w.now, rollout.Sample{Canary: canary, Stable: stable}, true)
	}
}

// quiet is a healthy arm: one error in a window, five percent of first tokens
// between 0.1 and 0.2 s.
func quiet() rollout.Arm { return side(1, 3, 1) }

func calibrated(t *testing.T, p rollout.Plan) *watcher {
	t.Helper()
	w := &watcher{judge: newJudge(t, p, nil), now: time.Unix(1_700_000_000, 0)}
	if lacking := w.survey(40, quiet()); lacking != "" {
		t.Fatalf("after 80 s: %s", lacking)
	}
	return w
}

func TestStableIsWatchedBeforeTheFirstStep(t *testing.T) {
	t.Parallel()
	few := quiet()
	few.Values = [][]uint64{{1, 0}, {1, 0, 0, 0, 0, 0}}
	tests := map[string]struct {
		windows int
		stable  rollout.Arm
		want    string
	}{
		"for the time of the plan":                       {39, quiet(), "1m18s of 1m20s watched"},
		"and until a quantile can be named":              {60, few, `gate "ttft p95 < 1.5x stable" has seen 60 of 100 stable requests`},
		"not while no bucket shows the multiple":         {40, side(1, 9, 5), `stable's p95 is above every bucket edge`},
		"then it may begin":                              {40, quiet(), ""},
		"a window that could not be read does not count": {100, rollout.Arm{Blind: "refused"}, "0s of 1m20s watched"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &watcher{judge: newJudge(t, compared(), nil)}
			if got := w.survey(tt.windows, tt.stable); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("lacking %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGatesAgainstStable(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		step           int
		canary, stable rollout.Arm
		pass           bool
		harm, missing  string
	}{
		"a canary like stable passes":                              {0, quiet(), quiet(), true, "", ""},
		"one as slow as the first edge above 1.5 times passes":     {0, side(1, 9, 1), quiet(), true, "", ""},
		"one slower than that goes":                                {0, side(1, 9, 2), quiet(), false, `"ttft p95 < 1.5x stable": `, ""},
		"one that fails more often than stable goes":               {0, side(6, 3, 1), quiet(), false, `"errors < 1.2x stable or < 0.5%": `, ""},
		"both arms slowed alike hold":                              {0, side(1, 9, 3), side(1, 9, 3), false, "", "stable is slower than 200ms as well"},
		"a stable that slowed alone does not hold the canary back": {0, quiet(), side(1, 9, 3), true, "", ""},
		"both arms failing alike pass":                             {0, side(8, 3, 1), side(8, 3, 1), true, "", ""},
		"alone, a canary as slow as stable was passes":             {2, quiet(), side(0, 0, 0), true, "", ""},
		"alone, one slower than 1.5 times what stable was goes":    {2, side(1, 9, 3), side(0, 0, 0), false, "ttft p95", ""},
		"alone, one that fails more often than stable did goes":    {2, side(6, 3, 1), side(0, 0, 0), false, "failed", ""},
		"alone, a failing one is not excused by an idle stable":    {2, side(6, 3, 1), rollout.Arm{Ready: 2, Values: [][]uint64{{0, 0}, make([]uint64, 6)}}, false, "errors", ""},
		"alone, one that is silent beside a stable that is unread": {2, rollout.Arm{Ready: 2, Blind: "x"}, rollout.Arm{Ready: 2, Blind: "y"}, false, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calibrated(t, compared())
			w.judge = w.judge.Enter(tt.step)
			for range 100 {
				if w.weigh(1, tt.canary, tt.stable); w.f.Harm != "" {
					break
				}
			}
			if w.f.Pass != tt.pass || !strings.Contains(w.f.Harm, tt.harm) || (tt.harm == "") != (w.f.Harm == "") || !strings.Contains(w.f.Missing, tt.missing) {
				t.Errorf("finding %+v", w.f)
			}
		})
	}
}

// TestStepsAreFixedOnce says what of stable goes into a step, and that another
// process that takes over at any moment goes on with the same bits.
func TestStepsAreFixedOnce(t *testing.T) {
	t.Parallel()
	p := compared()
	w := calibrated(t, p)
	before := w.judge.State()
	w.judge = w.judge.Enter(0)
	w.weigh(5, side(2, 6, 2), side(1, 9, 3)) // stable slows down: too late for this step
	first := w.judge.Results()[1]
	if first.Edge != 0.2 || first.Phi != 1 || first.Stable < 0.1 || first.Stable > 0.2 {
		t.Errorf("the first step is judged by %+v, want the edge 0.2 above 1.5 times the p95 below 0.2", first)
	}
	over := newJudge(t, p, before).Enter(0)
	over, _ = over.Weigh(w.now, rollout.Sample{Canary: quiet(), Stable: quiet()}, true)
	if got := over.Results()[1]; got.Edge != first.Edge || got.Phi != first.Phi || got.Stable != first.Stable {
		t.Errorf("taken over before the first step: %+v, want the bounds of %+v", got, first)
	}
	during := w.judge.State()
	same := newJudge(t, p, during).Enter(0)
	again := &watcher{judge: same, now: w.now}
	w.judge = w.judge.Enter(0)
	for _, x := range []*watcher{w, again} {
		x.weigh(20, side(2, 9, 3), side(1, 9, 3))
	}
	if a, b := w.judge.Results(), again.judge.Results(); !equalEvidence(a, b) {
		t.Errorf("taken over during a step:\n%+v, want\n%+v", b, a)
	}
	w.judge = w.judge.Enter(1)
	w.weigh(1, quiet(), quiet())
	if second := w.judge.Results()[1]; second.Edge <= first.Edge {
		t.Errorf("the second step is judged by %+v; stable has become slower since the first", second)
	}
}

func equalEvidence(a, b []rollout.GateResult) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestAShortRunTooFreezesItsLimitsWhenTheCanaryIsAlone(t *testing.T) {
	t.Parallel()
	p := compared()
	p.Calibrate = 6 * time.Second
	w := &watcher{judge: newJudge(t, p, nil)}
	if lacking := w.survey(3, quiet()); lacking != "" {
		t.Fatal(lacking)
	}
	for step := range p.Steps {
		w.judge.State()
		w.judge = w.judge.Enter(step)
		w.weigh(3, quiet(), quiet())
	}
	for _, r := range w.judge.Results() {
		if r.Allowed == 0 {
			t.Errorf("alone, gate %q allows whatever a stable without traffic does", r.Gate)
		}
	}
	w = &watcher{judge: newJudge(t, p, w.judge.State())} // another process
	w.judge = w.judge.Enter(2)
	if w.weigh(30, side(10, 3, 1), side(0, 0, 0)); !strings.Contains(w.f.Harm, "errors") {
		t.Errorf("a failing canary that is alone: %+v", w.f)
	}
}

func TestPromotionOnEvidence(t *testing.T) {
	t.Parallel()
	p := compared()
	p.PromoteOn = rollout.PromoteOnEvidence
	w := calibrated(t, p)
	w.judge = w.judge.Enter(0)
	w.weigh(40, quiet(), quiet())
	if w.f.Pass || !strings.Contains(w.f.Missing, "is not shown kept") {
		t.Errorf("after 2,000 requests like those of stable: %+v", w.f)
	}
	w.weigh(100, side(0, 0, 0), quiet())
	if !w.f.Pass {
		t.Errorf("after 5,000 more without one bad: %+v", w.f)
	}
	w.judge = w.judge.Enter(0) // evidence for promotion starts anew
	w.weigh(4, side(0, 0, 0), quiet())
	if w.f.Pass {
		t.Error("a process that took over promotes on what another saw")
	}
}

func TestLimitsThatCannotBeShownAreRefused(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Gates = []string{"ttft p95 < 500s"}
	_, err := rollout.NewGates(p, [][]float64{ttftEdges}, nil)
	if err == nil || !strings.Contains(err.Error(), "no bucket edge shows 500s, the highest is 1.6s") {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNeededStaysSaidAfterACrossing(t *testing.T) {
	t.Parallel()
	w := calibrated(t, compared())
	w.judge = w.judge.Enter(0)
	w.weigh(60, side(0, 40, 4), quiet())
	for _, r := range w.judge.Results() {
		if limit := 3 * 2 * 100.0; r.Needed < 0.9*limit || r.Needed > limit {
			t.Errorf("gate %q needs %g, want a little below %g", r.Gate, r.Needed, limit)
		}
	}
}
