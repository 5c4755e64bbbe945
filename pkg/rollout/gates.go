package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// Gates is the Judge of a real run: the plan's gates on a gate.Board, what
// stable showed lately, and the health of the canary beside them. It is a
// value; every method leaves its receiver as it was.
type Gates struct {
	plan     Plan
	exprs    []gate.Expr // those with an error bound
	queries  []gate.Expr // those without
	edges    [][]float64 // by gate: the histogram's upper edges, nil for errors
	board    *gate.Board
	baseline []gate.Baseline // by gate: stable's latest windows
	step     int             // -1 before the first
	prepared int             // the step for which an earlier process prepared bounds; -1 when none did
	bounds   []gate.Bound    // of this step
	rows     [][]uint64      // by gate: the canary's in this step
	proofs   []gate.Proof    // by gate: evidence for promotion in this visit of the step
	streaks  []gate.Streak   // by query: its answers in this visit of the step
	health   health
	broken   error
}

// NewGates builds the judge of a run. edges are by gate with an error bound the
// bucket edges that
// are exported, ascending, nil for errors; recorded is the state an earlier process
// journalled, nil for a new run: harm evidence continues from it, so that the
// error bound is spent once, while sample floors and clocks start anew. A limit
// that no bucket shows is refused.
func NewGates(plan Plan, edges [][]float64, recorded []byte) (Gates, error) {
	all, err := plan.Expressions()
	if err != nil {
		return Gates{}, err
	}
	exprs, queries := gate.Split(all)
	bounds := make([]gate.Bound, len(exprs))
	for i, e := range exprs {
		bounds[i] = gate.Bound{Expr: e, P0: e.P0()} // a latency relative to stable waits for stable
		if e.Metric == gate.Errors || !e.Comparison() {
			if bounds[i], err = e.Bind(edges[i]); err != nil {
				return Gates{}, err
			}
		}
	}
	board, err := gate.NewBoard(bounds, len(plan.Steps), plan.Alpha)
	if err != nil {
		return Gates{}, err
	}
	prepared := -1
	if len(recorded) > 0 {
		if err := json.Unmarshal(recorded, board); err != nil {
			return Gates{}, fmt.Errorf("resume gates: %w", err)
		}
		if len(board.Bounds()) != len(bounds) {
			return Gates{}, fmt.Errorf("resume gates: %d recorded, %d in the plan", len(board.Bounds()), len(bounds))
		}
		prepared = board.Step() + 1
	}
	return Gates{
		plan: plan, exprs: exprs, queries: queries, edges: edges, board: board, step: board.Step(), prepared: prepared,
		baseline: make([]gate.Baseline, len(exprs)), bounds: bounds,
	}, nil
}

// Notes are what people should know of how the gates are read.
func (g Gates) Notes() []string {
	var notes []string
	for _, b := range g.bounds {
		if note := b.Note(); note != "" {
			notes = append(notes, note)
		}
	}
	for _, e := range g.queries {
		notes = append(notes, fmt.Sprintf("%s: no error bound; goes back when %d of %d answers in a row are not below it, and passes no step alone",
			e, gate.StreakBad, gate.StreakOf))
	}
	return notes
}

// Survey implements Judge.
func (g Gates) Survey(sample Sample) (Judge, string) {
	g = g.remember(sample)
	if g.plan.Calibrate > 0 {
		watched := time.Duration(len(g.baseline[0])) * g.plan.ScrapeInterval
		if watched < g.plan.Calibrate {
			return g, fmt.Sprintf("%v of %v watched", watched, g.plan.Calibrate)
		}
	}
	for i, e := range g.exprs {
		if lacking := g.baseline[i].Lacking(e, g.alone(0)); lacking != "" {
			return g, lacking
		}
	}
	if _, err := g.next(0); err != nil {
		return g, err.Error()
	}
	return g, ""
}

// remember adds a window of stable's.
func (g Gates) remember(sample Sample) Gates {
	if sample.Stable.Blind != "" || len(sample.Stable.Values) < len(g.exprs) {
		return g
	}
	baseline := make([]gate.Baseline, len(g.baseline))
	for i, b := range g.baseline {
		baseline[i] = b.Add(sample.Stable.Values[i])
	}
	g.baseline = baseline
	return g
}

// alone says that a step leaves stable nothing to be compared by.
func (g Gates) alone(step int) bool { return g.plan.Steps[step] == 100 }

// minBaseline is how many windows of stable's say more than what an earlier
// process prepared.
const minBaseline = 30

// next fixes the bounds of a step from what stable showed. A process that took
// over before it, and has seen too little, uses what was prepared for it.
func (g Gates) next(step int) ([]gate.Bound, error) {
	bounds := g.board.Prepared()
	prepared := step == g.prepared
	for i, e := range g.exprs {
		if prepared && len(g.baseline[i]) < minBaseline && bounds[i].Phi > 0 && (bounds[i].P0 > 0 || !g.alone(step)) {
			continue
		}
		fixed, err := g.baseline[i].Fix(e, g.edges[i], g.alone(step))
		if err != nil {
			return nil, err
		}
		bounds[i] = fixed
	}
	return bounds, nil
}

// Enter implements Judge.
func (g Gates) Enter(step int) Judge {
	board := g.board.Clone()
	bounds, err := g.next(step)
	if entered := board.EnterStep(step, bounds...); entered != nil {
		if err == nil {
			err = entered
		}
		g.broken = err
		return g
	}
	g.board, g.bounds, g.step, g.broken = board, board.Bounds(), step, nil
	g.rows = make([][]uint64, len(g.exprs))
	g.proofs = make([]gate.Proof, len(g.exprs))
	for i, b := range g.bounds {
		g.proofs[i] = b.Proof(g.edges[i])
	}
	g.streaks = make([]gate.Streak, len(g.queries))
	for i, e := range g.queries {
		g.streaks[i] = gate.NewStreak(e)
	}
	g.health = health{patience: g.firstToken()}
	return g
}

// firstToken is stable's p99 of the time to first token, or of whole requests
// when no gate shows that; 0 when neither is known.
func (g Gates) firstToken() time.Duration {
	for _, m := range []gate.Metric{gate.TTFT, gate.E2E} {
		for i, e := range g.exprs {
			if e.Metric != m {
				continue
			}
			if p99 := g.baseline[i].Quantile(g.edges[i], 0.99); p99 > 0 && !math.IsInf(p99, 1) {
				return time.Duration(p99 * float64(time.Second))
			}
		}
	}
	return 0
}

// Weigh implements Judge.
func (g Gates) Weigh(now time.Time, sample Sample, gated bool) (Judge, Finding) {
	g = g.remember(sample)
	var f Finding
	g.health, f = g.health.examine(g.plan, now, sample)
	if f.Harm != "" || f.Blind != "" {
		return g, f
	}
	if g.broken != nil {
		return g, Finding{Blind: g.broken.Error()}
	}
	if !gated {
		return g, f
	}
	g, err := g.add(sample)
	if err != nil {
		return g, Finding{Blind: err.Error()}
	}
	verdict, why := g.board.Verdict(uint64(g.plan.MinRequests))
	switch objection, because := g.objection(); {
	case verdict != gate.Fail && objection == gate.Fail, verdict == gate.Pass:
		verdict, why = objection, because
	}
	switch verdict {
	case gate.Pass:
		if f.Missing = g.health.standstill(g.plan); f.Missing == "" {
			f.Missing = g.unproven()
		}
		f.Pass = f.Missing == ""
	case gate.Fail:
		f.Harm = why
	default:
		f.Missing = why
	}
	return g, f
}

// objection is the worst that the gates without an error bound say: Pass when
// they have nothing against it.
func (g Gates) objection() (worst gate.Verdict, why string) {
	worst = gate.Pass
	for _, s := range g.streaks {
		switch verdict, because := s.Verdict(); {
		case verdict == gate.Fail:
			return verdict, because
		case verdict != gate.Pass && worst == gate.Pass:
			worst, why = verdict, because
		}
	}
	return worst, why
}

// unproven names a gate that is not shown kept, where the plan asks for that.
func (g Gates) unproven() string {
	if g.plan.PromoteOn != PromoteOnEvidence {
		return ""
	}
	for i := range g.proofs {
		if e := g.proofs[i].Value(); e < gate.PromoteLevel {
			return fmt.Sprintf("gate %q is not shown kept: evidence %.2g of %d", g.exprs[i], e, gate.PromoteLevel)
		}
	}
	return ""
}

func (g Gates) add(sample Sample) (Gates, error) {
	board := g.board.Clone()
	rows := make([][]uint64, len(g.exprs))
	proofs := append([]gate.Proof(nil), g.proofs...)
	for i, b := range g.bounds {
		canary, stable := sample.Canary.Values[i], sample.Stable.Values[i]
		if err := board.Update(i, b.Count(canary, g.edges[i]), b.Count(stable, g.edges[i])); err != nil {
			return g, err
		}
		proofs[i].Update(canary, stable)
		rows[i] = gate.AddRow(g.rows[i], canary)
	}
	streaks := slices.Clone(g.streaks)
	for i := range streaks {
		answer := gate.Answer{Missing: "it was not asked"}
		if i < len(sample.Answers) {
			answer = sample.Answers[i]
		}
		streaks[i] = streaks[i].Add(answer)
	}
	g.board, g.rows, g.proofs, g.streaks = board, rows, proofs, streaks
	return g, nil
}

// State implements Judge. It holds what the next step will start with, for a
// process that takes over before that.
func (g Gates) State() []byte {
	board := g.board.Clone()
	if bounds, err := g.next(min(g.step+1, len(g.plan.Steps)-1)); err == nil {
		board.Prepare(bounds)
	}
	raw, err := json.Marshal(board)
	if err != nil {
		return nil
	}
	return raw
}
