package gate_test

import (
	"math"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func parse(t *testing.T, text string) gate.Expr {
	t.Helper()
	e, err := gate.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestBind(t *testing.T) {
	t.Parallel()
	edges := []float64{math.Inf(1), 2.5, 0.1, 0.75, 1, 0.25, 0.5} // in no order
	tests := map[string]struct {
		gate            string
		stable          float64 // stable's quantile, for gates relative to it
		harm, promote   float64
		p0              float64
		note, err, hint string
	}{
		"a limit on an edge is that edge":                         {gate: "ttft p95 < 500ms", harm: 0.5, promote: 0.5, p0: 0.05},
		"a limit between edges errs on the safe side both ways":   {gate: "ttft p95 < 800ms", harm: 1, promote: 0.75, p0: 0.05, note: "above 1s for rolling back and 750ms for promoting"},
		"a rarer quantile allows fewer":                           {gate: "e2e p99.9 < 1s", harm: 1, promote: 1, p0: 0.001},
		"errors need no edge":                                     {gate: "errors < 1%", p0: 0.01},
		"errors relative to stable have no fraction of their own": {gate: "errors < 1.2x stable or < 0.5%"},
		"a limit above every edge is refused with the nearest":    {gate: "ttft p95 < 3s", err: "no bucket edge shows 3s, the highest is 2.5s", hint: "2.5s"},
		"a limit below every edge is refused with the nearest":    {gate: "tpot p95 < 50ms", err: "no bucket edge shows 50ms, the lowest is 100ms", hint: "100ms"},
		"a latency relative to stable waits for stable":           {gate: "ttft p95 < 1.5x stable", err: "stable's p95 is not measured yet"},
		"a multiple of stable takes the edge at or above it":      {gate: "ttft p95 < 1.5x stable", stable: 0.3, harm: 0.5, promote: 0.25, p0: 0.05, note: "above 500ms"},
		"a multiple that is an edge but for rounding is the edge": {gate: "ttft p95 < 2.5x stable", stable: 0.1, harm: 0.25, promote: 0.25, p0: 0.05},
		"a floor above the multiple is used instead":              {gate: "ttft p95 < 1.5x stable or < 1s", stable: 0.3, harm: 1, promote: 1, p0: 0.05},
		"a multiple above every edge is refused":                  {gate: "ttft p95 < 10x stable", stable: 0.3, err: "no bucket edge shows 3s", hint: "2.5s"},
		"an absolute gate does not look at stable":                {gate: "ttft p95 < 500ms", stable: 0.3, harm: 0.5, promote: 0.5, p0: 0.05},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := parse(t, tt.gate)
			bound, err := e.Bind(edges)
			if tt.stable > 0 {
				bound, err = e.BindStable(tt.stable, edges)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), tt.hint) {
					t.Errorf("error %v, hint %q; want %q, %q", err, hint.Of(err), tt.err, tt.hint)
				}
				return
			}
			want := gate.Bound{Expr: e, HarmEdge: tt.harm, PromoteEdge: tt.promote, P0: tt.p0}
			if err != nil || bound != want {
				t.Errorf("%+v, %v; want %+v", bound, err, want)
			}
			if note := bound.Note(); !strings.Contains(note, tt.note) || (tt.note == "") != (note == "") {
				t.Errorf("note %q, want %q", note, tt.note)
			}
		})
	}
}

func TestBindRefusesWhatCannotBeMeasured(t *testing.T) {
	t.Parallel()
	latency := parse(t, "ttft p95 < 800ms")
	relative := parse(t, "ttft p95 < 1.5x stable")
	if _, err := latency.Bind([]float64{math.Inf(1)}); err == nil {
		t.Error("a histogram without finite edges was bound")
	}
	if _, err := (gate.Expr{}).Bind(nil); err == nil {
		t.Error("no gate was bound")
	}
	for _, quantile := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := relative.BindStable(quantile, []float64{1}); err == nil {
			t.Errorf("a stable p95 of %g was bound", quantile)
		}
	}
}
