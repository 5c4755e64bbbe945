package gate

// PromoteLevel is the e-value at which a gate counts as shown kept: by Ville's
// inequality a canary exactly at its limit gets there with a probability of 5 %.
const PromoteLevel = 20

// Proof is (C) for one gate: evidence that the canary keeps it, for promoting on
// evidence. It starts anew with every visit of a step.
type Proof struct {
	bound     Bound
	edges     []float64
	threshold Threshold
	ratio     Ratio
}

// Proof returns the test that shows b kept, on rows with the given edges.
func (b Bound) Proof(edges []float64) Proof {
	p := Proof{bound: b, edges: edges}
	phi := max(b.Phi, 1)
	limit := b.P0
	if b.Expr.Metric == Errors && b.Expr.Comparison() && limit == 0 {
		p.ratio = Ratio{R0: b.Expr.Ratio, Phi: phi, Below: true}
		limit = b.Expr.Floor
	}
	if limit > 0 {
		p.threshold = Threshold{P0: limit, Phi: phi, Below: true}
	}
	return p
}

// Update adds a window of rows. A latency is counted at the edge below the
// limit, where a bad canary shows most.
func (p *Proof) Update(canary, stable []uint64) {
	c := countAbove(canary, p.edges, p.bound.PromoteEdge)
	if p.threshold.used() {
		p.threshold.Update(c)
	}
	if p.ratio.used() {
		p.ratio.Update(c, countAbove(stable, p.edges, p.bound.PromoteEdge))
	}
}

// Value is the e-value. A canary is well when its ratio or its floor holds, and
// the mean of both tests is one against neither holding.
func (p *Proof) Value() float64 {
	switch {
	case !p.ratio.used():
		return p.threshold.Value()
	case !p.threshold.used():
		return p.ratio.Value()
	}
	return p.threshold.Value()/2 + p.ratio.Value()/2
}
