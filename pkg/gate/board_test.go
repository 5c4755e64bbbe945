package gate_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func board(t *testing.T, steps int, texts ...string) *gate.Board {
	t.Helper()
	var bounds []gate.Bound
	for _, text := range texts {
		e := parse(t, text)
		bound, err := e.Bind([]float64{0.5, 1, 2})
		if err != nil && e.Comparison() {
			bound = gate.Bound{Expr: e}
		} else if err != nil {
			t.Fatal(err)
		}
		bounds = append(bounds, bound)
	}
	b, err := gate.NewBoard(bounds, steps, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func enter(t *testing.T, b *gate.Board, step int, rebound ...gate.Bound) {
	t.Helper()
	if err := b.EnterStep(step, rebound...); err != nil {
		t.Fatal(err)
	}
}

func update(t *testing.T, b *gate.Board, index int, canary, stable gate.Counts) {
	t.Helper()
	if err := b.Update(index, canary, stable); err != nil {
		t.Fatal(err)
	}
}

func wantVerdict(t *testing.T, b *gate.Board, floor uint64, want gate.Verdict, why string) {
	t.Helper()
	if got, reason := b.Verdict(floor); got != want || !strings.Contains(reason, why) {
		t.Errorf("verdict %s, %q; want %s, %q", got, reason, want, why)
	}
}

func TestVerdictAtTheEndOfABake(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		gate           string
		canary, stable gate.Counts
		want           gate.Verdict
		why            string
	}{
		"enough healthy requests pass":      {"errors < 1%", gate.Counts{Requests: 200, Bad: 1}, gate.Counts{}, gate.Pass, "no gate shows harm"},
		"too few requests are inconclusive": {"errors < 1%", gate.Counts{Requests: 199}, gate.Counts{}, gate.Inconclusive, `gate "errors < 1%" has seen 199 of 200`},
		"no requests are inconclusive":      {"errors < 1%", gate.Counts{}, gate.Counts{Requests: 5000}, gate.Inconclusive, "0 of 200"},
		"harm fails below the floor too":    {"errors < 1%", gate.Counts{Requests: 30, Bad: 15}, gate.Counts{}, gate.Fail, `gate "errors < 1%": 15 of 30 canary requests (50%) failed, allowed are 1%`},
		"a slow canary names the edge":      {"ttft p95 < 1s", gate.Counts{Requests: 300, Bad: 100}, gate.Counts{}, gate.Fail, "were slower than 1s, allowed are 5%"},
		"errors like those of stable pass":  {"errors < 1.2x stable", gate.Counts{Requests: 500, Bad: 50}, gate.Counts{Requests: 500, Bad: 50}, gate.Pass, ""},
		"errors far above those of stable fail": {
			"errors < 1.2x stable",
			gate.Counts{Requests: 500, Bad: 150},
			gate.Counts{Requests: 500, Bad: 25},
			gate.Fail, "150 of 500 canary requests (30%) failed, on stable 25 of 500 (5%)",
		},
		"errors above those of stable pass below the floor": {"errors < 1.2x stable or < 0.5%", gate.Counts{Requests: 10000, Bad: 40}, gate.Counts{Requests: 10000}, gate.Pass, ""},
		"errors above stable's and the floor fail":          {"errors < 1.2x stable or < 0.5%", gate.Counts{Requests: 10000, Bad: 200}, gate.Counts{Requests: 10000, Bad: 5}, gate.Fail, ""},
		"errors above the floor pass when stable has them":  {"errors < 1.2x stable or < 0.5%", gate.Counts{Requests: 10000, Bad: 200}, gate.Counts{Requests: 10000, Bad: 200}, gate.Pass, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := board(t, 2, tt.gate)
			wantVerdict(t, b, 0, gate.Inconclusive, "no step was entered")
			enter(t, b, 0)
			update(t, b, 0, tt.canary, tt.stable)
			wantVerdict(t, b, 200, tt.want, tt.why)
		})
	}
}

func TestLatencyRelativeToStable(t *testing.T) {
	t.Parallel()
	bind := func(t *testing.T) (*gate.Board, gate.Bound) {
		b := board(t, 1, "ttft p95 < 1.5x stable")
		if err := b.EnterStep(0); err == nil {
			t.Error("a step was entered with a gate that has no edge")
		}
		bound, err := parse(t, "ttft p95 < 1.5x stable").BindStable(0.6, []float64{0.5, 1, 2})
		if err != nil {
			t.Fatal(err)
		}
		enter(t, b, 0, bound)
		return b, bound
	}
	slow, well := gate.Counts{Requests: 300, Bad: 90}, gate.Counts{Requests: 3000, Bad: 60}
	t.Run("a canary slower than the edge fails while stable is not", func(t *testing.T) {
		t.Parallel()
		b, bound := bind(t)
		if got := b.Bounds()[0]; got != bound {
			t.Errorf("bound %+v, want %+v", got, bound)
		}
		update(t, b, 0, slow, well)
		wantVerdict(t, b, 200, gate.Fail, "on stable 60 of 3000")
	})
	t.Run("both arms slowed alike are inconclusive", func(t *testing.T) {
		t.Parallel()
		b, _ := bind(t)
		update(t, b, 0, slow, gate.Counts{Requests: 3000, Bad: 900})
		wantVerdict(t, b, 200, gate.Inconclusive, "stable is slower than 1s as well")
	})
	t.Run("a large φ does not hide that stable slowed too", func(t *testing.T) {
		t.Parallel()
		// Counts and φ of a run whose arms were slowed alike, e 370 of 298 by then.
		b := board(t, 1, "ttft p95 < 1.5x stable")
		bound, err := parse(t, "ttft p95 < 1.5x stable").BindStable(0.3, []float64{0.4, 0.5, 1})
		if err != nil {
			t.Fatal(err)
		}
		bound.Phi = 10.54
		enter(t, b, 0, bound)
		update(t, b, 0, gate.Counts{Requests: 128, Bad: 58}, gate.Counts{Requests: 112, Bad: 33})
		if c, crossed := b.Crossed(); crossed {
			t.Errorf("the canary is blamed: %+v", c)
		}
		update(t, b, 0, gate.Counts{Requests: 128, Bad: 58}, gate.Counts{Requests: 112, Bad: 33})
		wantVerdict(t, b, 200, gate.Inconclusive, "stable is slower than 500ms as well")
	})
	t.Run("the canary is blamed once stable is well again", func(t *testing.T) {
		t.Parallel()
		b, _ := bind(t)
		update(t, b, 0, slow, gate.Counts{Requests: 100, Bad: 30})
		if _, crossed := b.Crossed(); crossed {
			t.Error("crossed while stable was slow")
		}
		update(t, b, 0, slow, well)
		wantVerdict(t, b, 200, gate.Fail, "")
	})
}

func TestRunIsTheMeanOverPlannedStepsAndGates(t *testing.T) {
	t.Parallel()
	b := board(t, 4, "errors < 1%", "ttft p95 < 1s", "e2e p95 < 2s")
	if b.Value() != 1 || b.Limit() != 100 {
		t.Errorf("value %g of %g at the start, want 1 of 100", b.Value(), b.Limit())
	}
	alone, err := gate.NewThreshold(0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	enter(t, b, 0)
	window := gate.Counts{Requests: 20, Bad: 7}
	alone.Update(window)
	update(t, b, 1, window, gate.Counts{})
	if want := (alone.Value() + 11) / 12; math.Abs(b.Value()-want) > 1e-9*want {
		t.Errorf("value %g, want the mean %g", b.Value(), want)
	}
	if worst := b.Worst(); worst.Gate != 1 || worst.Step != 0 || worst.Value != alone.Value() {
		t.Errorf("worst %+v, want gate 1 with %g", worst, alone.Value())
	}
	if alone.Value() < 100 || alone.Value() > 1200 {
		t.Fatalf("e-value %g does not try the mean", alone.Value())
	}
	if _, crossed := b.Crossed(); crossed {
		t.Error("one gate above 100 crossed alone: the error bound would be spent twelve times")
	}
	needed := b.Readings()[1].Needed
	if math.Abs(needed-(1200-11)) > 1e-6 {
		t.Errorf("needed %g, want 1189", needed)
	}
	for alone.Value() < needed {
		alone.Update(gate.Counts{Requests: 1, Bad: 1})
		update(t, b, 1, gate.Counts{Requests: 1, Bad: 1}, gate.Counts{})
	}
	if c, crossed := b.Crossed(); !crossed || c.Gate != 1 {
		t.Errorf("crossed %v %+v at the needed e-value", crossed, c)
	}
	update(t, b, 1, gate.Counts{Requests: 5000}, gate.Counts{})
	wantVerdict(t, b, 0, gate.Fail, "ttft p95 < 1s")
}

func TestStepsStartFreshAndAreVisitedOnce(t *testing.T) {
	t.Parallel()
	b := board(t, 3, "errors < 1%")
	enter(t, b, 0)
	update(t, b, 0, gate.Counts{Requests: 2000}, gate.Counts{})
	left := b.Value()
	enter(t, b, 1)
	if r := b.Readings()[0]; r.Value != 1 || r.Canary != (gate.Counts{}) {
		t.Errorf("a new step starts with %+v", r)
	}
	wantVerdict(t, b, 200, gate.Inconclusive, "0 of 200")
	if b.Value() != left {
		t.Errorf("entering a step changed the run's value from %g to %g", left, b.Value())
	}
	update(t, b, 0, gate.Counts{Requests: 300, Bad: 6}, gate.Counts{})
	before := b.Value()
	enter(t, b, 1, gate.Bound{Expr: parse(t, "errors < 1%"), P0: 0.5})
	if b.Value() != before || b.Bounds()[0].P0 != 0.01 {
		t.Errorf("entering a step again restarted its evidence: %g, was %g", b.Value(), before)
	}
	wantVerdict(t, b, 200, gate.Inconclusive, "0 of 200")
}

func TestBoardReadBackContinuesWithTheSameBits(t *testing.T) {
	t.Parallel()
	texts := []string{"errors < 1%", "errors < 1.2x stable or < 0.5%", "ttft p95 < 1s"}
	plain, resumed := board(t, 3, texts...), board(t, 3, texts...)
	for step := range 3 {
		enter(t, plain, step)
		enter(t, resumed, step)
		for look := range uint64(40) {
			for g := range texts {
				canary := gate.Counts{Requests: 20 + look, Bad: look % 3}
				stable := gate.Counts{Requests: 200 + 7*look, Bad: look % 5}
				clone := plain.Clone()
				update(t, plain, g, canary, stable)
				update(t, clone, g, gate.Counts{Requests: 1, Bad: 1}, gate.Counts{})
				update(t, resumed, g, canary, stable)
			}
			data, err := json.Marshal(resumed)
			if err != nil {
				t.Fatal(err)
			}
			resumed = new(gate.Board)
			if err := json.Unmarshal(data, resumed); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(plain, resumed) || math.Float64bits(plain.Log()) != math.Float64bits(resumed.Log()) {
				t.Fatalf("step %d, look %d: resumed %v, want %v", step, look, resumed.Log(), plain.Log())
			}
		}
	}
	c1, crossed1 := plain.Crossed()
	c2, crossed2 := resumed.Crossed()
	if !crossed1 || crossed1 != crossed2 || c1 != c2 {
		t.Errorf("crossed %v %+v, resumed %v %+v; the runs should both have crossed", crossed1, c1, crossed2, c2)
	}
}

func TestUnsoundStatesAreRefused(t *testing.T) {
	t.Parallel()
	b := board(t, 2, "errors < 1%", "errors < 1.2x stable")
	enter(t, b, 0)
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][2]string{
		"an error bound of one":          {`"alpha":0.01`, `"alpha":1`},
		"a step that is not planned":     {`"step":0`, `"step":7`},
		"a step that was not entered":    {`"step":0`, `"step":1`},
		"another limit than the gate's":  {`"threshold":{"p0":0.01`, `"threshold":{"p0":0.5`},
		"a test turned over":             {`"threshold":{"p0":0.01,"phi":1`, `"threshold":{"p0":0.01,"phi":1,"below":true`},
		"another ratio than the gate's":  {`"ratio":{"r0":1.2`, `"ratio":{"r0":3`},
		"a gate that does not parse":     {`"gate":"errors \u003c 1%"`, `"gate":"errors"`},
		"a missing gate":                 {`"seen":[0,0]`, `"seen":[0]`},
		"a crossing of no gate":          {`"alpha"`, `"crossing":{"gate":9,"step":0},"alpha"`},
		"a crossing in a step not begun": {`"alpha"`, `"crossing":{"gate":0,"step":1},"alpha"`},
		"no object":                      {string(data), `[]`},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := strings.Replace(string(data), change[0], change[1], 1)
			if broken == string(data) {
				t.Fatalf("%s does not contain %s", data, change[0])
			}
			if err := json.Unmarshal([]byte(broken), new(gate.Board)); err == nil {
				t.Errorf("accepted: %s", broken)
			}
		})
	}
}

func TestBoardRefusesWhatWasNotPlanned(t *testing.T) {
	t.Parallel()
	b := board(t, 2, "errors < 1%")
	if err := b.Update(0, gate.Counts{}, gate.Counts{}); err == nil {
		t.Error("updated before the first step")
	}
	for _, step := range []int{-1, 2} {
		if err := b.EnterStep(step); err == nil {
			t.Errorf("entered step %d of 2", step)
		}
	}
	enter(t, b, 0)
	if err := b.Update(1, gate.Counts{}, gate.Counts{}); err == nil {
		t.Error("updated a gate that is not there")
	}
	if err := b.EnterStep(1, gate.Bound{}, gate.Bound{}); err == nil {
		t.Error("entered a step with two bounds for one gate")
	}
	bounds := b.Bounds()
	for name, err := range map[string]error{
		"no gates":              newBoardError(nil, 1, 0.01),
		"no steps":              newBoardError(bounds, 0, 0.01),
		"a negative step count": newBoardError(bounds, -1, 0.01),
		"no error allowed":      newBoardError(bounds, 1, 0),
	} {
		if err == nil {
			t.Errorf("planned a run with %s", name)
		}
	}
}

func newBoardError(bounds []gate.Bound, steps int, alpha float64) error {
	_, err := gate.NewBoard(bounds, steps, alpha)
	return err
}
