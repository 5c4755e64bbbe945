package rollout

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Gates is the Judge of a real run: the plan's gates on a gate.Board, and the
// health of the canary beside them. It is a value; every method leaves its
// receiver as it was.
type Gates struct {
	plan   Plan
	bounds []gate.Bound
	edges  [][]float64 // by gate: the histogram's upper edges, nil for errors
	board  *gate.Board
	rows   [][]uint64    // by gate: the canary's requests per bucket in this step
	counts []gate.Counts // by gate: the canary's in this step
	health health
	broken error
}

// NewGates builds the judge of a run. edges are by gate the bucket edges that
// are exported, ascending, nil for errors; recorded is the state an earlier process
// journalled, nil for a new run: harm evidence continues from it, so that the
// error bound is spent once, while sample floors and clocks start anew.
func NewGates(plan Plan, edges [][]float64, recorded []byte) (Gates, error) {
	exprs, err := plan.Expressions()
	if err != nil {
		return Gates{}, err
	}
	bounds := make([]gate.Bound, len(exprs))
	for i, e := range exprs {
		if e.Comparison() {
			return Gates{}, hint.Errorf("write an absolute limit, such as errors < 1% or ttft p95 < 800ms",
				"gate %q: comparison with stable is not supported yet", e)
		}
		if bounds[i], err = e.Bind(edges[i]); err != nil {
			return Gates{}, err
		}
	}
	board, err := gate.NewBoard(bounds, len(plan.Steps), plan.Alpha)
	if err != nil {
		return Gates{}, err
	}
	if len(recorded) > 0 {
		if err := json.Unmarshal(recorded, board); err != nil {
			return Gates{}, fmt.Errorf("resume gates: %w", err)
		}
		if len(board.Bounds()) != len(bounds) {
			return Gates{}, fmt.Errorf("resume gates: %d recorded, %d in the plan", len(board.Bounds()), len(bounds))
		}
	}
	return Gates{plan: plan, bounds: bounds, edges: edges, board: board}, nil
}

// Notes are what people should know of how the gates are read.
func (g Gates) Notes() []string {
	var notes []string
	for _, b := range g.bounds {
		if note := b.Note(); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// Enter implements Judge.
func (g Gates) Enter(step int) Judge {
	board := g.board.Clone()
	if err := board.EnterStep(step); err != nil {
		g.broken = err
		return g
	}
	g.board = board
	g.rows = make([][]uint64, len(g.bounds))
	g.counts = make([]gate.Counts, len(g.bounds))
	g.health = health{}
	return g
}

// Weigh implements Judge.
func (g Gates) Weigh(now time.Time, sample Sample, gated bool) (Judge, Finding) {
	if g.broken != nil {
		return g, Finding{Blind: g.broken.Error()}
	}
	var f Finding
	g.health, f = g.health.examine(g.plan, now, sample)
	if f.Harm != "" || f.Blind != "" || !gated {
		return g, f
	}
	g, err := g.add(sample)
	if err != nil {
		return g, Finding{Blind: err.Error()}
	}
	switch verdict, why := g.board.Verdict(uint64(g.plan.MinRequests)); verdict {
	case gate.Pass:
		f.Pass = true
	case gate.Fail:
		f.Harm = why
	default:
		f.Missing = why
	}
	return g, f
}

func (g Gates) add(sample Sample) (Gates, error) {
	board := g.board.Clone()
	rows := make([][]uint64, len(g.bounds))
	counts := append([]gate.Counts(nil), g.counts...)
	for i := range g.bounds {
		canary := g.bounds[i].Count(sample.Canary.Values[i], g.edges[i])
		stable := g.bounds[i].Count(sample.Stable.Values[i], g.edges[i])
		if err := board.Update(i, canary, stable); err != nil {
			return g, err
		}
		counts[i] = counts[i].Plus(canary)
		rows[i] = gate.AddRow(g.rows[i], sample.Canary.Values[i])
	}
	g.board, g.rows, g.counts = board, rows, counts
	return g, nil
}

func percent(fraction float64) string { return fmt.Sprintf("%.3g%%", 100*fraction) }

// value is the canary's observed value of gate i in this step, for people: a
// fraction, or the bucket edge below which the quantile lies.
func (g Gates) value(i int) string {
	e := g.bounds[i].Expr
	if e.Metric == gate.Errors {
		return percent(g.counts[i].Fraction())
	}
	n := g.counts[i].Requests
	if n == 0 {
		return "none yet"
	}
	below := uint64(0)
	for k, count := range g.rows[i] {
		below += count
		if k < len(g.edges[i]) && float64(below) >= e.Quantile*float64(n) {
			return "≤ " + e.Amount(g.edges[i][k])
		}
	}
	return "> " + e.Amount(g.edges[i][len(g.edges[i])-1])
}

// Results implements Judge.
func (g Gates) Results() []GateResult {
	if g.counts == nil {
		return nil
	}
	var out []GateResult
	for i, r := range g.board.Readings() {
		out = append(out, GateResult{
			Gate: r.Bound.Expr.String(), Value: g.value(i),
			Requests: r.Canary.Requests, Bad: r.Canary.Bad, EValue: r.Value, Needed: r.Needed,
		})
	}
	return out
}

// State implements Judge.
func (g Gates) State() []byte {
	raw, err := json.Marshal(g.board)
	if err != nil {
		return nil
	}
	return raw
}
