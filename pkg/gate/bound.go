package gate

import (
	"fmt"
	"math"
	"slices"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Bound is a gate resolved on the buckets that are really exported: what to
// count as bad, and against which fraction to test it.
type Bound struct {
	Expr        Expr    `json:"gate"`
	HarmEdge    float64 `json:"harmEdge,omitempty"`    // seconds: slower is evidence for rolling back; 0 for errors
	PromoteEdge float64 `json:"promoteEdge,omitempty"` // seconds: faster is evidence for promoting; 0 for errors
	P0          float64 `json:"p0,omitempty"`          // allowed fraction of bad requests; 0 when compared with stable's own rate
	Phi         float64 `json:"phi,omitempty"`         // overdispersion for the step; 0 reads as 1
	Stable      float64 `json:"stable,omitempty"`      // seconds: stable's own quantile when the edges were fixed
}

// Bind resolves an absolute gate, or a comparison of errors, on the upper
// bucket edges in seconds (any order; +Inf is ignored; unused for errors).
//
// A limit that is itself an edge is used as it is. A limit between two edges
// uses the upper one as HarmEdge and the lower one as PromoteEdge, so that
// either decision errs on the safe side. A limit outside the edges is refused
// with the nearest ones named. A latency compared with stable has no edge
// before stable's quantile is known: see BindStable.
func (e Expr) Bind(edges []float64) (Bound, error) {
	switch {
	case e.Metric == "":
		return Bound{}, fmt.Errorf("bind gate: no gate given")
	case e.Metric == Errors:
		return Bound{Expr: e, P0: e.P0()}, nil
	case e.Comparison():
		return Bound{}, fmt.Errorf("bind gate %q: stable's p%s is not measured yet", e, decimal(e.Quantile*100))
	default:
		return e.bindAt(e.Limit, edges)
	}
}

// BindStable resolves a latency gate relative to stable at the start of a step:
// quantile is stable's own, in seconds. Evidence for a rollback is counted at
// the first edge at or above the multiple (or the floor, when that is larger),
// which stays fixed for the step.
func (e Expr) BindStable(quantile float64, edges []float64) (Bound, error) {
	if e.Metric == Errors || !e.Comparison() {
		return e.Bind(edges)
	}
	if !(quantile > 0) || math.IsInf(quantile, 1) {
		return Bound{}, fmt.Errorf("bind gate %q: stable's p%s of %gs is no duration", e, decimal(e.Quantile*100), quantile)
	}
	return e.bindAt(math.Max(e.Ratio*quantile, e.Floor), edges)
}

func (e Expr) bindAt(limit float64, edges []float64) (Bound, error) {
	finite := make([]float64, 0, len(edges))
	for _, b := range edges {
		if b > 0 && !math.IsInf(b, 1) {
			finite = append(finite, b)
		}
	}
	slices.Sort(finite)
	if len(finite) == 0 {
		return Bound{}, fmt.Errorf("bind gate %q: %s is exported without buckets", e, e.Metric)
	}
	// An edge within a billionth of the limit is the limit, printed by a
	// program with other rounding.
	at, exact := slices.BinarySearchFunc(finite, limit, func(b, limit float64) int {
		if math.Abs(b-limit) <= 1e-9*limit {
			return 0
		}
		if b < limit {
			return -1
		}
		return 1
	})
	lowest, highest := e.Amount(finite[0]), e.Amount(finite[len(finite)-1])
	switch {
	case exact:
		return Bound{Expr: e, HarmEdge: finite[at], PromoteEdge: finite[at], P0: e.P0()}, nil
	case at == 0:
		return Bound{}, hint.Errorf("the nearest limit that the buckets show is "+lowest,
			"bind gate %q: no bucket edge shows %s, the lowest is %s", e, e.Amount(limit), lowest)
	case at == len(finite):
		return Bound{}, hint.Errorf("the nearest limit that the buckets show is "+highest,
			"bind gate %q: no bucket edge shows %s, the highest is %s", e, e.Amount(limit), highest)
	default:
		return Bound{Expr: e, HarmEdge: finite[at], PromoteEdge: finite[at-1], P0: e.P0()}, nil
	}
}

// Note says which edges stand in for a limit that is no bucket edge, for plans
// and reports; "" when nothing needs saying.
func (b Bound) Note() string {
	if b.HarmEdge == b.PromoteEdge {
		return ""
	}
	return fmt.Sprintf("%s: judged by the bucket edges, above %s for rolling back and %s for promoting",
		b.Expr, b.Expr.Amount(b.HarmEdge), b.Expr.Amount(b.PromoteEdge))
}
