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

// Overdispersion is the φ of groups of counts that would differ by chance only
// if bad requests were independent: in each group the parts are alike, such as
// neighbouring windows of one arm (see TimeGroups).
//
// Given the X bad ones among the N requests of a group, part i with n_i requests
// has a hypergeometric number x_i with mean X·n_i/N. With
//
//	D = Σ_i (x_i − X·n_i/N)²   and   V = X·(N−X)/(N−1) · Σ_i (n_i/N)(1−n_i/N)
//
// E D = φ·V, so the estimate is ΣD/ΣV over the groups. It is distributed like
// φ·χ²_ν/ν with ν = (ΣV)²/Σ(V²/(k−1)) for k parts (Satterthwaite), which counts
// a clump that fills one group as one difference and not as many. The bound is
// ΣD/ΣV · ν/χ²_ν(5 %). Sources: Wedderburn 1974 and McCullagh and Nelder,
// Generalized Linear Models, 1989, §4.5 (quasi-likelihood, Pearson's dispersion);
// Satterthwaite 1946 (ν).
func Overdispersion(groups [][]Counts) Phi {
	var d, v, vv float64
	for _, parts := range groups {
		di, vi, k := dispersion(parts)
		if vi == 0 {
			continue
		}
		d, v, vv = d+di, v+vi, vv+vi*vi/float64(k-1)
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

// dispersion is D, V and the number of parts with requests of one group.
func dispersion(parts []Counts) (d, v float64, k int) {
	var all Counts
	for _, c := range parts {
		all = all.Plus(Counts{c.Requests, min(c.Bad, c.Requests)})
	}
	n, x := float64(all.Requests), float64(all.Bad)
	if x == 0 || n == x {
		return 0, 0, 0
	}
	for _, c := range parts {
		if c.Requests == 0 {
			continue
		}
		share := float64(c.Requests) / n
		off := float64(min(c.Bad, c.Requests)) - x*share
		d += off * off
		v += x * (n - x) / (n - 1) * share * (1 - share)
		k++
	}
	if k < 2 {
		return 0, 0, 0
	}
	return d, v, k
}

// stretches is the number of neighbouring stretches that are taken as alike:
// half a minute at the usual scrape interval, too short to drift in.
const stretches = 8

// TimeGroups makes groups of neighbouring stretches of `merge` windows of one
// arm. It sees what strikes the whole arm at once as well as what strikes one of
// its pods; a slow drift is not in it.
func TimeGroups(windows []Counts, merge int) [][]Counts {
	var sums []Counts
	for at := 0; at+merge <= len(windows); at += merge {
		var sum Counts
		for _, c := range windows[at : at+merge] {
			sum = sum.Plus(c)
		}
		sums = append(sums, sum)
	}
	return slices.Collect(slices.Chunk(sums, stretches))
}

// StepPhi is the φ to fix for a step from stable's windows before it: the larger
// of windows one by one and in twos, since a stall may lie across a scrape.
func StepPhi(windows []Counts) Phi {
	one, two := Overdispersion(TimeGroups(windows, 1)), Overdispersion(TimeGroups(windows, 2))
	// A split that says too little does not overrule one that says more.
	if known, had := two.Freedom >= minFreedom, one.Freedom >= minFreedom; known && !had || known == had && two.Upper > one.Upper {
		return two
	}
	return one
}
