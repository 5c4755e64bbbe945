package gate

import "math"

// tilt is the logarithm of the likelihood ratio of s successes among n trials
// when the odds of success are rho times those of p0, against p0 itself:
//
//	s·ln ρ − n·ln(1 + (ρ−1)·p0)
//
// Its exponential has mean 1 when the success probability is p0. For ρ > 1 the
// mean is below 1 for every smaller probability, for ρ < 1 for every larger
// one, so each is a test supermartingale of the one-sided hypothesis.
// Products are rounded before they are added, so that a compiler which fuses
// multiply and add makes no difference.
func tilt(rho, p0, s, n float64) float64 {
	return float64(s*math.Log(rho)) - float64(n*math.Log1p((rho-1)*p0))
}

// points is the size of every grid.
const points = 5

// point is one alternative of a mixture: its odds (or rate) relative to those
// of the null, and its share of the mixture.
type point struct{ ratio, weight float64 }

// grid returns the alternatives of the one-sided tests, in multiples of the
// null's odds; the package comment says why these. below mirrors them.
// The weights sum to exactly 1, so that a test without data is exactly at 1.
func grid(below bool) [points]point {
	g := [points]point{
		{1.4, 0.0625}, {1.9, 0.4375}, {3, 0.3125}, {6, 0.125}, {30, 0.0625},
	}
	if below {
		for k := range g {
			g[k].ratio = 1 / g[k].ratio
		}
	}
	return g
}

// logMix is ln Σ w_k·exp(logs_k/φ) over the grid.
func logMix(g [points]point, logs [points]float64, phi float64) float64 {
	top := math.Inf(-1)
	for _, l := range logs {
		top = math.Max(top, l/phi)
	}
	sum := 0.0
	for k, l := range logs {
		sum += float64(g[k].weight * math.Exp(l/phi-top))
	}
	return top + math.Log(sum)
}

// fromLog is exp(l), held at the largest float so that it can be printed and
// stored.
func fromLog(l float64) float64 { return math.Min(math.Exp(l), math.MaxFloat64) }
