package gate

import (
	"fmt"
	"math"
)

// priorStrength sets the beta prior of (D), Beta(3/(1−q), 3/q): about the width
// that is tightest for a p95 at 500 requests.
const priorStrength = 3

// logBetaMixture is the logarithm of the two-sided beta-binomial mixture
// martingale of s successes among n against probability q (Howard et al. 2021,
// proposition 7), with the prior Beta(a, b) centred on q:
//
//	ln B(a+s, b+n−s) − ln B(a, b) − s·ln q − (n−s)·ln(1−q)
//
// It is summed around the centre, with Stirling's remainders in place of
// log-gammas, since those would cancel all but the last digits at large n.
func logBetaMixture(q, s, n float64) float64 {
	a, b := priorStrength/(1-q), priorStrength/q
	m, x, y := a+b, a+s, b+n-s
	d := s - float64(n*q)
	return float64(x*math.Log1p(d/((m+n)*q))) + float64(y*math.Log1p(-d/((m+n)*(1-q)))) +
		float64(0.5*math.Log((m+n)/m*(a/x)*(b/y))) +
		(stirling(x) + stirling(y) - stirling(m+n)) - (stirling(a) + stirling(b) - stirling(m))
}

// stirling is ln Γ(x) − ((x−½)·ln x − x + ½·ln 2π) for x > 0.
func stirling(x float64) float64 {
	if x < 10 {
		lg, _ := math.Lgamma(x)
		return lg - (float64((x-0.5)*math.Log(x)) - x + 0.5*math.Log(2*math.Pi))
	}
	z := 1 / (x * x)
	return (1.0/12 - z*(1.0/360-z*(1.0/1260-z*(1.0/1680-z*(1.0/1188-z*691.0/360360))))) / x
}

// QuantileInterval is (D), a confidence sequence for the q-quantile of one
// arm's latencies, on bucket edges: with probability at least 1 − alpha the
// quantile is above low and at most high, at every look of a run. low is 0 and
// high is +Inf while no edge can be named.
//
// edges ascend, in seconds; buckets has one count more: the requests in each
// bucket since counting began, the last above every edge.
func QuantileInterval(q, alpha float64, edges []float64, buckets []uint64) (low, high float64, err error) {
	if !(q > 0 && q < 1 && alpha > 0 && alpha < 1) || len(buckets) != len(edges)+1 {
		return 0, 0, fmt.Errorf("quantile interval: %g at %g from %d edges and %d buckets: out of range",
			q, alpha, len(edges), len(buckets))
	}
	n := 0.0
	for _, c := range buckets {
		n += float64(c)
	}
	low, high = 0, math.Inf(1)
	below := 0.0
	for i, edge := range edges {
		below += float64(buckets[i])
		if logBetaMixture(q, below, n) < -math.Log(alpha) {
			continue
		}
		if below < q*n {
			low = edge
			continue
		}
		return low, edge, nil
	}
	return low, high, nil
}
