package gate

import (
	"fmt"
	"math"
)

// guardLevel is the e-value of stable's own test above which a latency gate
// relative to stable no longer blames the canary: evidence of 10 to 1 that
// stable too has become slower than the edge. Stable's requests are counted as
// independent, without φ: φ keeps clumps from being held against an arm, and here
// a clump on stable speaks for the canary. A healthy stable of independent
// requests reaches it with probability at most 0.1, and by far less when the
// multiple is above 1; one with clumps more often, which costs time, not safety:
// the canary is blamed as soon as stable's totals no longer say so.
const guardLevel = 10

// cell is the harm evidence of one gate in one step: an e-process of its own.
type cell struct {
	Bound     Bound     `json:"bound"`
	Canary    Counts    `json:"canary"`
	Stable    Counts    `json:"stable"`
	Threshold Threshold `json:"threshold,omitzero"` // canary against P0; for errors relative to stable, against the floor
	Ratio     Ratio     `json:"ratio,omitzero"`     // errors relative to stable
	Guard     Threshold `json:"guard,omitzero"`     // stable against P0, for latencies relative to stable
}

// A test that a gate does not need is left zero.
func (t *Threshold) used() bool { return t.P0 != 0 }
func (r *Ratio) used() bool     { return r.R0 != 0 }

func newCell(b Bound) (cell, error) {
	c := cell{Bound: b}
	phi := b.Phi
	if phi == 0 {
		phi = 1
	}
	if b.Expr.Metric != Errors && !(b.HarmEdge > 0) {
		return cell{}, fmt.Errorf("gate %q is not bound to a bucket edge", b.Expr)
	}
	p0 := b.P0
	if b.Expr.Metric == Errors && b.Expr.Comparison() && p0 == 0 {
		ratio, err := NewRatio(b.Expr.Ratio, phi)
		if err != nil {
			return cell{}, fmt.Errorf("gate %q: %w", b.Expr, err)
		}
		c.Ratio, p0 = ratio, b.Expr.Floor
		if p0 == 0 {
			return c, nil
		}
	}
	threshold, err := NewThreshold(p0, phi)
	if err != nil {
		return cell{}, fmt.Errorf("gate %q: %w", b.Expr, err)
	}
	c.Threshold = threshold
	if b.Expr.Metric != Errors && b.Expr.Comparison() {
		if c.Guard, err = NewThreshold(p0, 1); err != nil {
			return cell{}, fmt.Errorf("gate %q: %w", b.Expr, err)
		}
	}
	return c, nil
}

func (c *cell) update(canary, stable Counts) {
	c.Canary, c.Stable = c.Canary.Plus(canary), c.Stable.Plus(stable)
	if c.Threshold.used() {
		c.Threshold.Update(canary)
	}
	if c.Ratio.used() {
		c.Ratio.Update(canary, stable)
	}
	if c.Guard.used() {
		c.Guard.Update(stable)
	}
}

// guarded reports that stable is over the canary's limit too.
func (c *cell) guarded() bool { return c.Guard.used() && c.Guard.Log() >= math.Log(guardLevel) }

// log is the logarithm of the e-value. A canary is well when its ratio or its
// floor holds, so evidence for harm is the smaller of the two; while stable is
// over the limit too there is none.
func (c *cell) log() float64 {
	l := math.Inf(1)
	if c.Threshold.used() {
		l = c.Threshold.Log()
	}
	if c.Ratio.used() {
		l = math.Min(l, c.Ratio.Log())
	}
	if c.guarded() {
		l = math.Min(l, 0)
	}
	return l
}

// check refuses a state whose tests are not those of its bound.
func (c *cell) check() error {
	want, err := newCell(c.Bound)
	if err != nil {
		return err
	}
	got := *c
	got.Canary, got.Stable = Counts{}, Counts{}
	got.Threshold.Total, got.Guard.Total = Counts{}, Counts{}
	got.Ratio.Logs = want.Ratio.Logs
	if got != want {
		return fmt.Errorf("gate %q: the recorded tests are not its own", c.Bound.Expr)
	}
	if c.Ratio.used() {
		return c.Ratio.check()
	}
	return nil
}
