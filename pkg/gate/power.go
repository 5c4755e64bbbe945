package gate

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
)

// power is the probability with which Missed would have been seen.
const power = 0.9

// Missed is the fraction of bad requests that would have brought as many
// requests as were counted to an e-value of needed with a probability of 90 %.
// A canary with fewer could have stayed unseen. It is 1 when no fraction would
// have been enough. It looks only at the end of the count, so it errs on the
// side of having missed more.
func (t *Threshold) Missed(needed float64) float64 {
	n := math.Floor(float64(t.Total.Requests) / t.Phi) // what the requests are worth
	counts := func(bad int) bool {
		sure := Threshold{P0: t.P0, Phi: 1, Total: Counts{uint64(n), uint64(bad)}}
		return sure.Value() >= needed
	}
	// A harm test grows with the bad requests, so the first that suffices is
	// found by halving.
	bad := float64(sort.Search(int(n)+1, counts))
	if bad > n {
		return 1
	}
	if bad == 0 {
		return 0
	}
	return mathext.InvRegIncBeta(bad, n-bad+1, power) // P(Binomial(n, p) ≥ bad) = power
}
