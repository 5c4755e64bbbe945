package gate

import (
	"fmt"
	"math"
)

// Verdict is what gates say of a canary.
type Verdict string

// The four verdicts.
const (
	Pass         Verdict = "Pass"         // nothing speaks against the canary, and enough was seen
	Fail         Verdict = "Fail"         // shown harmful, or dead: roll back
	Inconclusive Verdict = "Inconclusive" // too little seen, or stable is as bad: hold
	Blind        Verdict = "Blind"        // no metrics to judge by: hold
)

// DefaultFloor is the number of canary requests each gate must have seen in a
// step before the step can pass.
const DefaultFloor = 200

// Verdict decides the current step at the end of its bake. Fail as soon as the
// run's evidence for harm crossed (which Crossed tells at every scrape, not only
// now); Pass when it did not and every gate has seen at least floor canary
// requests since the step was entered; else Inconclusive. The second result
// says why in one sentence.
//
// A Pass says that no harm was shown, not that there is none: Reading.Missed
// tells what could have stayed unseen.
func (b *Board) Verdict(floor uint64) (Verdict, string) {
	if c, crossed := b.Crossed(); crossed {
		return Fail, b.describe(c)
	}
	if b.s.Step < 0 {
		return Inconclusive, "no step was entered"
	}
	for g, c := range b.s.Cells[b.s.Step] {
		if seen := b.s.Seen[g]; seen < floor {
			return Inconclusive, fmt.Sprintf("gate %q has seen %d of %d canary requests", c.Bound.Expr, seen, floor)
		}
		if c.guarded() && c.Canary.Fraction() > c.Bound.P0 { // a canary that keeps the edge while stable does not is well
			return Inconclusive, fmt.Sprintf("gate %q: stable is slower than %s as well",
				c.Bound.Expr, c.Bound.Expr.Amount(c.Bound.HarmEdge))
		}
	}
	return Pass, "no gate shows harm"
}

func (b *Board) describe(c Crossing) string {
	cell := b.s.Cells[c.Step][c.Gate]
	return fmt.Sprintf("gate %q: %s", cell.Bound.Expr, cell.measured())
}

// measured says what was counted, in the words of the gate.
func (c *cell) measured() string {
	e := c.Bound.Expr
	percent := func(n Counts) string { return fmt.Sprintf("%.3g%%", 100*n.Fraction()) }
	text := fmt.Sprintf("%d of %d canary requests (%s) ", c.Canary.Bad, c.Canary.Requests, percent(c.Canary))
	if e.Metric == Errors {
		text += "failed"
	} else {
		text += "were slower than " + e.Amount(c.Bound.HarmEdge)
	}
	if e.Comparison() {
		return text + fmt.Sprintf(", on stable %d of %d (%s)", c.Stable.Bad, c.Stable.Requests, percent(c.Stable))
	}
	return text + fmt.Sprintf(", allowed are %.3g%%", 100*c.Bound.P0)
}

// Reading is one gate of the current step, for progress lines and reports.
type Reading struct {
	Bound  Bound   `json:"bound"`
	Canary Counts  `json:"canary"`
	Stable Counts  `json:"stable"`
	Value  float64 `json:"value"` // e-value of this gate in this step
	// Needed is the e-value at which the run is rolled back, all else as it is;
	// once another gate has done that, all else at 1.
	Needed float64 `json:"needed"`
	// Missed is the fraction of bad canary requests that these requests would
	// have shown with a probability of 90 %; a smaller one could have stayed
	// unseen. 1 when nothing would have been shown.
	Missed float64 `json:"missed,omitempty"`
}

// Readings are the gates of the current step in their order; nil before the
// first.
func (b *Board) Readings() []Reading {
	if b.s.Step < 0 {
		return nil
	}
	cells := b.s.Cells[b.s.Step]
	all := float64(len(b.s.Cells) * len(b.s.Bounds))
	readings := make([]Reading, len(cells))
	for g := range cells {
		others := all
		b.each(func(step, gate int, l float64) {
			if step == b.s.Step && gate == g {
				others--
				return
			}
			others += math.Exp(l) - 1
		})
		readings[g] = Reading{
			Bound: cells[g].Bound, Canary: cells[g].Canary, Stable: cells[g].Stable,
			Value: fromLog(cells[g].log()), Needed: all*b.Limit() - others,
		}
		if readings[g].Needed <= 1 {
			readings[g].Needed = all*b.Limit() - (all - 1)
		}
		readings[g].Missed = cells[g].missed(readings[g].Needed)
	}
	return readings
}
