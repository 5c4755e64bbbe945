package gate

import (
	"fmt"
	"math"
)

// A share is taken as right within a tenth of the smaller arm's, and within
// half a percentage point: weights are rounded somewhere in every gateway.
const (
	shareTolerance = 0.10
	shareFloor     = 0.005
)

// Share is the sample-ratio test: evidence that the canary does not get the
// share of requests that the route asks for. It is the mean of two threshold
// tests on requests started, one against "at most asked plus tolerance" and its
// mirror image against "at least asked minus tolerance".
type Share struct {
	Over  Threshold `json:"over,omitzero"`
	Under Threshold `json:"under,omitzero"`
}

// NewShare returns the test of a share asked for, as a fraction from 0 to 1,
// with overdispersion phi ≥ 1.
func NewShare(asked, phi float64) (Share, error) {
	if !(asked >= 0 && asked <= 1) {
		return Share{}, fmt.Errorf("share test: a share of %g is not between 0 and 1", asked)
	}
	if err := checkPhi(phi); err != nil {
		return Share{}, fmt.Errorf("share test: %w", err)
	}
	slack := math.Max(shareTolerance*math.Min(asked, 1-asked), shareFloor)
	var s Share
	if high := asked + slack; high < 1 {
		s.Over = Threshold{P0: high, Phi: phi}
	}
	if low := asked - slack; low > 0 {
		s.Under = Threshold{P0: low, Phi: phi, Below: true}
	}
	return s, nil
}

// Update adds the requests started on each arm in one window.
func (s *Share) Update(canary, stable uint64) {
	c := Counts{Requests: canary + stable, Bad: canary}
	for _, t := range []*Threshold{&s.Over, &s.Under} {
		if t.used() {
			t.Update(c)
		}
	}
}

// Log is the natural logarithm of the e-value.
func (s *Share) Log() float64 {
	switch {
	case !s.Under.used():
		return s.Over.Log()
	case !s.Over.used():
		return s.Under.Log()
	}
	over, under := s.Over.Log(), s.Under.Log()
	top := math.Max(over, under)
	return top + math.Log(0.5*(math.Exp(over-top)+math.Exp(under-top)))
}

// Value is the e-value: 1 before the first request.
func (s *Share) Value() float64 { return fromLog(s.Log()) }
