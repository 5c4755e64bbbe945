package gate

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
)

// power is the probability with which Missed would have been seen.
const power = 0.9

// missed is the fraction of bad canary requests that could have stayed unseen in
// this cell: it takes both parts of a composed gate to see harm.
func (c *cell) missed(needed float64) float64 {
	most := 0.0
	if c.Threshold.used() {
		most = c.Threshold.Missed(needed)
	}
	if c.Ratio.used() {
		most = math.Max(most, c.Ratio.missed(c.Canary, c.Stable, needed))
	}
	return most
}

// missed is Threshold.Missed for two arms: with stable's bad requests as they
// were counted, and as if all windows had the same shares.
func (r *Ratio) missed(canary, stable Counts, needed float64) float64 {
	n := math.Floor(float64(canary.Requests) / r.Phi)
	theta := r.R0 * n / (r.R0*n + float64(stable.Requests)/r.Phi)
	of := math.Floor(float64(stable.Bad) / r.Phi)
	if n == 0 || stable.Requests == 0 {
		return 1
	}
	return leastSeen(int(n), func(bad int) bool {
		sure := Threshold{P0: theta, Phi: 1, Total: Counts{uint64(of) + uint64(bad), uint64(bad)}}
		return sure.Value() >= needed
	})
}

// Missed is the fraction of bad requests that would have brought as many
// requests as were counted to an e-value of needed with a probability of 90 %.
// A canary with fewer could have stayed unseen. It is 1 when no fraction would
// have been enough. It looks only at the end of the count, so it errs on the
// side of having missed more.
func (t *Threshold) Missed(needed float64) float64 {
	n := math.Floor(float64(t.Total.Requests) / t.Phi) // what the requests are worth
	return leastSeen(int(n), func(bad int) bool {
		sure := Threshold{P0: t.P0, Phi: 1, Total: Counts{uint64(n), uint64(bad)}}
		return sure.Value() >= needed
	})
}

// leastSeen is the smallest fraction of bad requests among n that is seen with
// probability power, when so many bad ones as seen accepts are needed. Evidence
// for harm grows with them, so the first that suffices is found by halving.
func leastSeen(n int, seen func(bad int) bool) float64 {
	bad := sort.Search(n+1, seen)
	switch {
	case bad > n:
		return 1
	case bad == 0:
		return 0
	}
	return mathext.InvRegIncBeta(float64(bad), float64(n-bad+1), power) // P(Binomial(n, p) ≥ bad) = power
}
