package verify

import (
	"math"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func TestWilsonIsTheScoreInterval(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		x, n      uint64
		low, high float64
	}{
		"nothing seen says nothing":                          {0, 0, 0, 1},
		"none of ten, as tables have it":                     {0, 10, 0, 0.2775},
		"one of ten, as tables have it":                      {1, 10, 0.0179, 0.4042},
		"half of a hundred, as tables have it":               {50, 100, 0.4038, 0.5962},
		"all of two hundred ends at one":                     {200, 200, 0.9812, 1},
		"a tenth of two hundred has the share in its middle": {20, 200, 0.0657, 0.1494},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			low, high := wilson(tt.x, tt.n)
			if math.Abs(low-tt.low) > 1e-4 || math.Abs(high-tt.high) > 1e-4 {
				t.Errorf("%.4f to %.4f, want %.4f to %.4f", low, high, tt.low, tt.high)
			}
		})
	}
}

// servedBy are arms whose model servers were read, too.
func servedBy(arms []armReport, counts ...uint64) []armReport {
	for i := range arms {
		arms[i].Served = &counts[i]
	}
	return arms
}

func TestVerdictOfASplit(t *testing.T) {
	t.Parallel()
	sent := func(n, ok int) answers { return answers{Sent: n, OK: ok, Codes: map[string]int{}} }
	arms := func(asked float64, stable, canary uint64) []armReport {
		return []armReport{{Name: "a", Asked: 1 - asked, Started: stable}, {Name: "b", Asked: asked, Started: canary}}
	}
	tests := map[string]struct {
		report  splitReport
		verdict gate.Verdict
		says    string
	}{
		"a split as asked passes":                            {splitReport{Arms: arms(0.1, 182, 18), Answers: sent(200, 200)}, gate.Pass, ""},
		"a luckless split within chance passes":              {splitReport{Arms: arms(0.1, 170, 30), Answers: sent(200, 200)}, gate.Pass, ""},
		"all on one arm passes when all is asked":            {splitReport{Arms: arms(0, 200, 0), Answers: sent(200, 200)}, gate.Pass, ""},
		"weights that are ignored fail":                      {splitReport{Arms: arms(0.1, 100, 100), Answers: sent(200, 200)}, gate.Fail, "contradicts"},
		"an arm that gets nothing fails":                     {splitReport{Arms: arms(0.1, 200, 0), Answers: sent(200, 200)}, gate.Fail, "contradicts"},
		"one request on an arm asked for none fails":         {splitReport{Arms: arms(0, 199, 1), Answers: sent(200, 200)}, gate.Fail, "asked for no request"},
		"one that others may have sent does not":             {splitReport{Arms: arms(0, 200, 1), Answers: sent(200, 200)}, gate.Pass, ""},
		"answers that no arm counted fail":                   {splitReport{Arms: arms(0.5, 80, 80), Answers: sent(200, 200)}, gate.Fail, "none of these arms"},
		"an answer that failed fails":                        {splitReport{Arms: arms(0.5, 100, 100), Answers: sent(200, 199)}, gate.Fail, "1 of 200 requests"},
		"answers of another endpoint than picked fail":       {splitReport{Arms: arms(0.5, 100, 100), Answers: sent(200, 200), Astray: 3}, gate.Fail, "another endpoint"},
		"a few of them, as when a pod goes, do not":          {splitReport{Arms: arms(0.5, 100, 100), Answers: sent(200, 200), Astray: 2}, gate.Pass, ""},
		"pods that serve another share than their picker":    {splitReport{Arms: servedBy(arms(0.5, 100, 100), 180, 20), Answers: sent(200, 200)}, gate.Fail, "a was picked for 50.0% of the requests, and its pods served 90.0%: the wrong picker is asked"},
		"pods that serve what their picker was asked for":    {splitReport{Arms: servedBy(arms(0.5, 100, 100), 104, 98), Answers: sent(200, 200)}, gate.Pass, ""},
		"a breaker's errors are told from a model's":         {splitReport{Arms: []armReport{{Name: "a", Asked: 1, Started: 200, Overflows: 7}}, Answers: sent(200, 193)}, gate.Fail, "7 requests for a met the gateway's circuit breaker"},
		"few requests are undecided":                         {splitReport{Arms: arms(0.1, 18, 2), Answers: sent(20, 20)}, gate.Inconclusive, "too few"},
		"what others sent does not make few requests enough": {splitReport{Arms: arms(0.5, 60, 60), Answers: sent(20, 20)}, gate.Inconclusive, "20 requests are too few"},
		"a share so small that it may hide is undecided":     {splitReport{Arms: arms(0.01, 198, 2), Answers: sent(200, 200)}, gate.Inconclusive, "too few"},
		"watching without traffic is undecided":              {splitReport{Arms: arms(0.1, 0, 0), Passive: true}, gate.Inconclusive, "too few"},
		"watching counts what others send":                   {splitReport{Arms: arms(0.1, 900, 100), Passive: true}, gate.Pass, ""},
		"an answer of a model that is no target fails":       {splitReport{Arms: arms(0.5, 100, 100), Answers: answers{Sent: 200, OK: 200, Models: map[string]int{"a": 199, "c": 1}}, byModel: true}, gate.Fail, "no target"},
		"pools may serve models called otherwise":            {splitReport{Arms: arms(0.5, 100, 100), Answers: answers{Sent: 200, OK: 200, Models: map[string]int{"c": 200}}}, gate.Pass, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tt.report
			if err := r.judge(); err != nil {
				t.Fatal(err)
			}
			why := strings.Join(r.Reasons, "; ")
			if r.Verdict != tt.verdict || !strings.Contains(why, tt.says) || (r.Verdict == gate.Pass) != (why == "") {
				t.Errorf("%s because %q (e-value %g, needed %d), want %s because %q", r.Verdict, why, r.EValue, r.Needed, tt.verdict, tt.says)
			}
			if (r.Next == "") != (r.Verdict == gate.Pass) {
				t.Errorf("%s is followed by %q", r.Verdict, r.Next)
			}
		})
	}
}

func TestNeededRequestsShowAnArmThatIsIgnored(t *testing.T) {
	t.Parallel()
	for _, asked := range []float64{0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.9, 1} {
		arms := []armReport{{Asked: 1 - asked}, {Asked: asked}}
		n := needed(arms)
		arms[0].Started = uint64(n)
		r := splitReport{Arms: arms, Passive: true}
		if err := r.judge(); err != nil {
			t.Fatal(err)
		}
		if r.Verdict != gate.Fail {
			t.Errorf("share %g: after the needed %d requests, none of them on the arm, the verdict is %s", asked, n, r.Verdict)
		}
		if asked == 0.05 && n > 400 {
			t.Errorf("a share of 5%% needs %d requests", n)
		}
	}
}
