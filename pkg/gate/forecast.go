package gate

import "math"

// forecastMost bounds the canary requests that a forecast looks ahead.
const forecastMost = 200_000

// Forecast is how many canary requests it takes until half of all canaries are
// rolled back that are bad so many times as often as the gate allows, when the
// canary gets share (0 to 1) of the requests, stable fails with fraction stable
// (errors relative to it only), and a gate must reach an e-value of needed. It
// is +Inf where more than 200,000 are needed. The distribution of the first
// crossing is computed exactly for independent requests.
func (b Bound) Forecast(share, stable, needed, times float64) float64 {
	phi := math.Max(b.Phi, 1)
	if b.Expr.Metric != Errors || !b.Expr.Comparison() || b.P0 > 0 {
		return crossing(Threshold{P0: b.P0, Phi: phi}, math.Min(times*b.P0, 1), needed, forecastMost)
	}
	bad := math.Min(times*math.Max(b.Expr.Ratio*stable, b.Expr.Floor), 1)
	most := 0.0
	if b.Expr.Floor > 0 { // both parts must cross
		most = crossing(Threshold{P0: b.Expr.Floor, Phi: phi}, bad, needed, forecastMost)
	}
	// A bad request is a trial; whose it is, its outcome.
	other := stable * (1 - share) / share // stable's bad ones for each request of the canary
	null := b.Expr.Ratio * share / (b.Expr.Ratio*share + 1 - share)
	trials := crossing(Threshold{P0: null, Phi: phi}, bad/(bad+other), needed, forecastMost*(bad+other))
	return math.Max(most, trials/(bad+other))
}

// crossing is the median of the trials until t, with a true fraction of bad, first
// reaches an e-value of needed; +Inf for more than most.
func crossing(t Threshold, bad, needed, most float64) float64 {
	if !(bad > t.P0) {
		return math.Inf(1)
	}
	limit := math.Log(needed)
	alive := []float64{1} // by number of bad ones: the probability of not having crossed
	left, low := 1.0, 0   // what is below low has no probability left
	for n := 1; float64(n) <= most; n++ {
		alive = append(alive, 0)
		for s := len(alive) - 1; s > low; s-- {
			alive[s] = alive[s]*(1-bad) + alive[s-1]*bad
		}
		if alive[low] *= 1 - bad; alive[low] < 1e-15 && low < len(alive)-1 {
			low++
		}
		// More bad ones are more evidence: only the top can cross.
		for len(alive) > low {
			t.Total = Counts{uint64(n), uint64(len(alive) - 1)}
			top := alive[len(alive)-1]
			if top > 1e-12 && t.Log() < limit {
				break
			}
			if top > 1e-12 {
				left -= top
			}
			alive = alive[:len(alive)-1]
		}
		if left <= 0.5 {
			return float64(n)
		}
	}
	return math.Inf(1)
}
