package gate

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Phi is the overdispersion of bad requests in an A/A split of stable.
type Phi struct {
	// Point is the estimate: how many times the variance between alike parts
	// exceeds that of independent requests. 0 when nothing was bad.
	Point float64
	// Upper is the 95 % upper bound, at least 1: the φ to judge by. It is
	// UnknownPhi where the split says too little to name a bound.
	Upper float64
	// Freedom is the effective number of independent differences behind it.
	Freedom float64
}

const (
	// UnknownPhi stands in for the bound when fewer than minFreedom differences
	// were seen: with so few bad requests clumps of this size would not have
	// been noticed, so they are allowed for.
	UnknownPhi = 5
	minFreedom = 12
	phiLevel   = 0.05 // one-sided error of the upper bound
)

// stretch is the number of neighbouring windows that are taken as alike: half a
// minute at the usual scrape interval, too short to drift in.
const stretch = 16

// StepPhi is the φ to fix for a step from stable's windows before it.
//
// Within a stretch of k windows that would differ by chance only if bad requests
// were independent, every two neighbours are looked at together, since a stall
// may lie across a scrape. Given the X bad ones among the N requests of the
// stretch, a pair with n_i requests has a hypergeometric number x_i of them. With
//
//	D = Σ_i (x_i − X·n_i/N)²   and   V = X·(N−X)/(N−1) · Σ_i (n_i/N)(1−n_i/N)
//
// E D = φ·V, so the estimate is ΣD/ΣV over the stretches. It is distributed like
// φ·χ²_ν/ν with ν = (ΣV)²/Σ(V²/ν_k), where overlapping pairs are worth
// ν_k = 2(k−1)/3 − 1/2 differences: a clump that fills one stretch counts as few
// and not as many. The bound is ΣD/ΣV · ν/χ²_ν(5 %). It sees what strikes the
// whole arm at once as well as what strikes one of its pods; a slow drift is
// not in it. Sources: Wedderburn 1974 and McCullagh and Nelder, Generalized
// Linear Models, 1989, §4.5 (quasi-likelihood, Pearson's dispersion);
// Satterthwaite 1946 (ν, of the quadratic form D for ν_k).
func StepPhi(windows []Counts) Phi {
	var d, v, vv float64
	for part := range slices.Chunk(windows, stretch) {
		di, vi, freedom := dispersion(part)
		if vi > 0 && freedom > 0 {
			d, v, vv = d+di, v+vi, vv+vi*vi/freedom
		}
	}
	if v == 0 {
		return Phi{Upper: UnknownPhi}
	}
	phi := Phi{Point: d / v, Freedom: v * v / vv, Upper: UnknownPhi}
	if phi.Freedom < minFreedom {
		phi.Upper = math.Max(UnknownPhi, phi.Point)
		return phi
	}
	chi2 := 2 * mathext.GammaIncRegInv(phi.Freedom/2, phiLevel)
	phi.Upper = math.Max(1, phi.Point*phi.Freedom/chi2)
	return phi
}

// dispersion is D, V and the worth of one stretch.
func dispersion(windows []Counts) (d, v, freedom float64) {
	var all Counts
	used := 0
	for _, c := range windows {
		all = all.Plus(sane(c))
		if c.Requests > 0 {
			used++
		}
	}
	n, x := float64(all.Requests), float64(all.Bad)
	if x == 0 || n == x {
		return 0, 0, 0
	}
	for i := range len(windows) - 1 {
		pair := sane(windows[i]).Plus(sane(windows[i+1]))
		share := float64(pair.Requests) / n
		off := float64(pair.Bad) - x*share
		d += off * off
		v += x * (n - x) / (n - 1) * share * (1 - share)
	}
	return d, v, 2*float64(used-1)/3 - 0.5
}

// sane takes a scrape that saw bad events before their requests.
func sane(c Counts) Counts { return Counts{c.Requests, min(c.Bad, c.Requests)} }
