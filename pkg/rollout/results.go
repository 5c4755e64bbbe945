package rollout

import (
	"fmt"
	"strconv"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// GateResult is what one gate saw in one step.
type GateResult struct {
	Gate  string `json:"gate"`
	Value string `json:"value"` // the canary's observed value, for people
	// Requests of the canary, and those on the gate's bad side.
	Requests uint64 `json:"requests"`
	Bad      uint64 `json:"bad"`
	// The same of stable: beyond the same edge, and of errors.
	StableRequests uint64 `json:"stableRequests"`
	StableBad      uint64 `json:"stableBad"`
	// Edge is the bucket edge in seconds beyond which a request is bad, Stable
	// the quantile of stable's that it was taken from; 0 when there is none.
	Edge   float64 `json:"edge,omitempty"`
	Stable float64 `json:"stable,omitempty"`
	// Allowed is the fraction of bad requests that keeps the gate; 0 when
	// stable's own rate decides.
	Allowed float64 `json:"allowed,omitempty"`
	Phi     float64 `json:"phi"`    // overdispersion allowed for
	EValue  float64 `json:"eValue"` // evidence for harm in this step
	Needed  float64 `json:"needed"` // the e-value at which the run goes back, see gate.Reading
	// Missed is the fraction of bad requests that these requests would have
	// shown with a probability of 90 %.
	Missed float64 `json:"missed"`
	// Unbounded marks a promql gate: it has no error bound, so Requests are its
	// answers in this step, Bad those not below its limit, Over how many of the
	// latest gate.StreakOf were, and the figures of a test are 0.
	Unbounded bool `json:"noErrorBound,omitempty"`
	Over      int  `json:"over,omitempty"`
}

// Results implements Judge.
func (g Gates) Results() []GateResult {
	if g.rows == nil {
		return nil
	}
	var out []GateResult
	for i, r := range g.board.Readings() {
		out = append(out, GateResult{
			Gate: r.Bound.Expr.String(), Value: g.value(i, r),
			Requests: r.Canary.Requests, Bad: r.Canary.Bad, StableRequests: r.Stable.Requests, StableBad: r.Stable.Bad,
			Edge: r.Bound.HarmEdge, Stable: r.Bound.Stable, Allowed: r.Bound.P0, Phi: max(r.Bound.Phi, 1),
			EValue: r.Value, Needed: r.Needed, Missed: r.Missed,
		})
	}
	for i, s := range g.streaks {
		e, n := g.queries[i], s.Counts()
		r := GateResult{Gate: e.String(), Value: "none: " + s.Last().Missing, Requests: n.Requests, Bad: n.Bad, Unbounded: true, Over: s.Over()}
		if s.Last().Missing == "" {
			r.Value = strconv.FormatFloat(s.Last().Value, 'g', 4, 64)
		}
		out = append(out, r)
	}
	return out
}

// value is the canary's observed value of gate i in this visit of the step, for
// people: a fraction, or the bucket edge below which the quantile lies.
func (g Gates) value(i int, r gate.Reading) string {
	e := r.Bound.Expr
	if e.Metric == gate.Errors {
		return fmt.Sprintf("%.3g%%", 100*r.Canary.Fraction())
	}
	n, below := uint64(0), uint64(0)
	for _, count := range g.rows[i] {
		n += count
	}
	if n == 0 {
		return "none yet"
	}
	for k, edge := range g.edges[i] {
		if below += g.rows[i][k]; float64(below) >= e.Quantile*float64(n) {
			return "≤ " + e.Amount(edge)
		}
	}
	return "> " + e.Amount(g.edges[i][len(g.edges[i])-1])
}
