package gate

import "math"

// What Apart asks for before it names a pod: evidence of 100 to 1 that all pods
// together break the gate, and enough requests on the others that theirs would
// have shown too.
const (
	apartLevel    = 100
	apartRequests = 50
)

// Apart is the leave-one-out of a gate: the index of the one pod without which
// nothing speaks against the others, though all together are shown to break e;
// -1 when there is no such pod, or more than one. pods has a row for each canary
// pod and stable one for that arm, of one time without a move of the weights;
// edges are those of the rows' buckets in seconds. It explains an alarm and
// raises none: φ is left out, since the clumps of one pod are what is looked for.
func (e Expr) Apart(pods [][]uint64, stable []uint64, edges []float64) int {
	bound, ok := e.boundBy(stable, edges)
	if !ok || len(pods) < 2 {
		return -1
	}
	of := bound.Count(stable, edges)
	var all Counts
	counts := make([]Counts, len(pods))
	for i, row := range pods {
		counts[i] = bound.Count(row, edges)
		all = all.Plus(counts[i])
	}
	if bound.evidence(all, of) < math.Log(apartLevel) {
		return -1
	}
	found := -1
	for i, c := range counts {
		rest := Counts{all.Requests - c.Requests, all.Bad - c.Bad}
		if rest.Requests < apartRequests || bound.evidence(rest, of) > 0 {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// boundBy binds e by what stable shows in one row.
func (e Expr) boundBy(stable []uint64, edges []float64) (Bound, bool) {
	if e.Metric == Errors || !e.Comparison() {
		b, err := e.Bind(edges)
		return b, err == nil
	}
	if (Baseline{stable}).Lacking(e, false) != "" {
		return Bound{}, false
	}
	value, _, high := quantile(stable, edges, e.Quantile)
	if math.IsInf(high, 1) {
		return Bound{}, false
	}
	b, err := e.BindStable(value, edges)
	return b, err == nil
}

// evidence is the logarithm of b's e-value on these counts alone.
func (b Bound) evidence(canary, stable Counts) float64 {
	c, err := newCell(b)
	if err != nil {
		return 0
	}
	c.update(canary, stable)
	return c.log()
}
