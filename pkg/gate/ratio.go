package gate

import (
	"fmt"
	"math"
)

// Ratio is test (B), the two-sample e-process against "the canary's rate of bad
// requests is at most R0 times stable's". Made with Below it is (C), against
// "at least R0 times", which speaks for promotion.
//
// Stable's own rate may be anything, may drift from window to window, and the
// weights may change between windows. Counts of pods within one window add
// freely; windows must not be merged across a change of the weights.
type Ratio struct {
	R0    float64         `json:"r0"`
	Phi   float64         `json:"phi"` // overdispersion, ≥ 1: the exponent is 1/Phi
	Below bool            `json:"below,omitempty"`
	Logs  [points]float64 `json:"logs"` // log-likelihood ratio of each alternative
}

// NewRatio returns the harm test of ratio ≤ r0 with overdispersion phi ≥ 1.
func NewRatio(r0, phi float64) (Ratio, error) {
	r := Ratio{R0: r0, Phi: phi}
	return r, r.check()
}

// NewRatioBelow returns the mirrored test, of ratio ≥ r0.
func NewRatioBelow(r0, phi float64) (Ratio, error) {
	r := Ratio{R0: r0, Phi: phi, Below: true}
	return r, r.check()
}

func (r *Ratio) check() error {
	if !(r.R0 > 0) || math.IsInf(r.R0, 1) {
		return fmt.Errorf("ratio test: %g times stable is not a positive number", r.R0)
	}
	for _, l := range r.Logs {
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return fmt.Errorf("ratio test: a logarithm of %g is no state of it", l)
		}
	}
	return checkPhi(r.Phi)
}

// Update adds one window of both arms. A window in which one arm had no
// requests compares nothing and is left out.
func (r *Ratio) Update(canary, stable Counts) {
	if canary.Requests == 0 || stable.Requests == 0 {
		return
	}
	// Given a bad request, it is the canary's with probability theta at ratio
	// R0, and with odds ρ times as large at ratio ρ·R0: the same tilt as (A).
	nc := r.R0 * float64(canary.Requests)
	theta := nc / (nc + float64(stable.Requests))
	bad := float64(canary.Bad) + float64(stable.Bad)
	for k, g := range grid(r.Below) {
		r.Logs[k] += tilt(g.ratio, theta, float64(canary.Bad), bad)
	}
}

// Log is the natural logarithm of the e-value; 0 before the first window.
func (r *Ratio) Log() float64 { return logMix(grid(r.Below), r.Logs, r.Phi) }

// Value is the e-value: 1 before the first window.
func (r *Ratio) Value() float64 { return fromLog(r.Log()) }
