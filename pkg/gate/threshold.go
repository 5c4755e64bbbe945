package gate

import (
	"fmt"
	"math"
)

// Counts is what one arm did in one window. Bad is the part of Requests that
// failed, or that was slower than the gate's edge.
type Counts struct {
	Requests uint64 `json:"requests"`
	Bad      uint64 `json:"bad"`
}

// Plus adds two windows, or two pods.
func (c Counts) Plus(d Counts) Counts { return Counts{c.Requests + d.Requests, c.Bad + d.Bad} }

// Fraction is Bad over Requests, 0 without requests.
func (c Counts) Fraction() float64 {
	if c.Requests == 0 {
		return 0
	}
	return float64(c.Bad) / float64(c.Requests)
}

// Threshold is test (A), the one-sample e-process against P(bad) ≤ P0: a
// mixture of likelihood ratios of larger probabilities. Made with Below it is
// the mirror image, evidence against P(bad) ≥ P0, which speaks for promotion.
//
// Its state is the totals alone, so it does not matter how requests were cut
// into windows or pods, and a state read back from JSON continues with the same
// bits. A healthy canary's Value ever reaches x with probability at most 1/x,
// looked at as often as one likes.
type Threshold struct {
	P0    float64 `json:"p0"`              // fraction, in (0, 1)
	Phi   float64 `json:"phi"`             // overdispersion, ≥ 1: the exponent is 1/Phi
	Below bool    `json:"below,omitempty"` // alternatives below P0 instead of above
	Total Counts  `json:"total"`
}

// NewThreshold returns the harm test of P(bad) ≤ p0 with overdispersion phi.
// Values outside p0 ∈ (0, 1) and phi ∈ [1, ∞) are refused.
func NewThreshold(p0, phi float64) (Threshold, error) {
	t := Threshold{P0: p0, Phi: phi}
	return t, t.check()
}

// NewThresholdBelow returns the mirrored test, of P(bad) ≥ p0.
func NewThresholdBelow(p0, phi float64) (Threshold, error) {
	t := Threshold{P0: p0, Phi: phi, Below: true}
	return t, t.check()
}

func (t *Threshold) check() error {
	if !(t.P0 > 0 && t.P0 < 1) {
		return fmt.Errorf("threshold test: a fraction of %g allowed bad requests is not between 0 and 1", t.P0)
	}
	return checkPhi(t.Phi)
}

func checkPhi(phi float64) error {
	if !(phi >= 1) || math.IsInf(phi, 1) {
		return fmt.Errorf("overdispersion %g is not a number of at least 1", phi)
	}
	return nil
}

// Update adds one window.
func (t *Threshold) Update(c Counts) { t.Total = t.Total.Plus(c) }

// Log is the natural logarithm of the e-value; 0 before the first request.
func (t *Threshold) Log() float64 {
	n := float64(t.Total.Requests)
	bad := math.Min(float64(t.Total.Bad), n) // a scrape may see the bad event before its request
	g := grid(t.Below)
	var logs [points]float64
	for k := range g {
		logs[k] = tilt(g[k].ratio, t.P0, bad, n)
	}
	return logMix(g, logs, t.Phi)
}

// Value is the e-value: 1 before the first request.
func (t *Threshold) Value() float64 { return fromLog(t.Log()) }
