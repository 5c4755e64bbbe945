package gate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

const (
	// BaselineWindows is how many of stable's latest windows count: a quarter of
	// an hour at the usual scrape interval.
	BaselineWindows = 450
	// tail is how many requests beyond a quantile name it well enough: 100
	// requests for a p95, 500 for a p99.
	tail = 5
)

// Baseline is what stable showed lately of one gate: a row for each scrape
// window, the latest last. From it a step's edge and φ are fixed before the
// step begins.
type Baseline [][]uint64

// Add appends a window and forgets what is too old. b stays as it was.
func (b Baseline) Add(row []uint64) Baseline {
	if len(b) >= BaselineWindows {
		b = b[len(b)-BaselineWindows+1:]
	}
	return append(slices.Clip(b), row)
}

// Sum is the row of all windows.
func (b Baseline) Sum() []uint64 {
	var sum []uint64
	for _, row := range b {
		sum = AddRow(sum, row)
	}
	return sum
}

// Quantile is the upper edge of the bucket that holds the q-quantile of all
// windows, in seconds: +Inf above the last edge and without requests.
func (b Baseline) Quantile(edges []float64, q float64) float64 {
	_, _, high := quantile(b.Sum(), edges, q)
	return high
}

// Lacking says what e still needs to be fixed; "" when nothing. Only a
// comparison needs anything: stable's quantile, or, when the canary is to be
// alone, stable's rate of errors.
func (b Baseline) Lacking(e Expr, alone bool) string {
	if !e.Comparison() || e.Metric == Errors && !alone {
		return ""
	}
	need := uint64(100)
	if e.Metric != Errors {
		need = uint64(math.Ceil(round(tail / (1 - e.Quantile))))
	}
	if seen := countAbove(b.Sum(), nil, 0).Requests; seen < need {
		return fmt.Sprintf("gate %q has seen %d of %d stable requests", e, seen, need)
	}
	return ""
}

// Fix is the bound of e for a step that begins now. A latency relative to
// stable gets its edge. With alone, the canary is to get all traffic and stable
// can no longer be compared with: errors relative to it get an absolute
// limit, the multiple of a 95 % upper bound of its rate (Clopper and Pearson).
// Either way φ is stable's own.
func (b Baseline) Fix(e Expr, edges []float64, alone bool) (Bound, error) {
	if lacking := b.Lacking(e, alone); lacking != "" {
		return Bound{}, fmt.Errorf("fix gate: %s", lacking)
	}
	sum := b.Sum()
	if e.Metric == Errors {
		bound, err := e.Bind(nil)
		if err == nil && alone && e.Comparison() {
			bound.P0 = math.Min(math.Max(e.Floor, e.Ratio*upperRate(countAbove(sum, nil, 0))), 0.99)
		}
		bound.Phi = b.phi(edges, 0)
		return bound, err
	}
	stable, low, high := quantile(sum, edges, e.Quantile)
	var bound Bound
	var err error
	switch {
	case !e.Comparison():
		bound, err = e.Bind(edges)
	case math.IsInf(high, 1):
		return Bound{}, fmt.Errorf("fix gate %q: stable's p%s is above every bucket edge", e, decimal(e.Quantile*100))
	default:
		bound, err = e.BindStable(stable, edges)
		bound.Stable = stable
	}
	if err != nil {
		return Bound{}, err
	}
	// φ is measured where stable itself is slow often enough to show how its slow
	// requests clump: beyond the edge below its quantile.
	if low == 0 {
		low = high
	}
	bound.Phi = b.phi(edges, math.Min(bound.HarmEdge, low))
	return bound, nil
}

func (b Baseline) phi(edges []float64, edge float64) float64 {
	windows := make([]Counts, len(b))
	for i, row := range b {
		windows[i] = countAbove(row, edges, edge)
	}
	return StepPhi(windows).Upper
}

// quantile is the q-quantile of a row, taken as evenly spread within its bucket,
// and the edges of that bucket. Above the last edge and without requests it is +Inf.
func quantile(row []uint64, edges []float64, q float64) (value, low, high float64) {
	want := q * float64(countAbove(row, nil, 0).Requests)
	below := 0.0
	for i, edge := range edges {
		n := 0.0
		if i < len(row) {
			n = float64(row[i])
		}
		if n > 0 && below+n >= want {
			return low + (edge-low)*(want-below)/n, low, edge
		}
		below, low = below+n, edge
	}
	return math.Inf(1), low, math.Inf(1)
}

// upperRate is the one-sided 95 % upper bound of a fraction.
func upperRate(c Counts) float64 {
	bad, n := float64(min(c.Bad, c.Requests)), float64(c.Requests)
	if bad >= n {
		return 1
	}
	return mathext.InvRegIncBeta(bad+1, n-bad, 0.95)
}
