package rollout

import (
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// ForecastTimes are how many times as many bad requests as its gate allows a
// canary has in a forecast.
func ForecastTimes() []float64 { return []float64{1.5, 2, 3} }

// GateForecast is what one step would show of one gate at today's traffic.
type GateForecast struct {
	Share int
	Bound gate.Bound
	// Lacking says why nothing can be said; "" when something can.
	Lacking string
	// Rate is how many requests a second of the canary's this gate would count.
	Rate float64
	// Allowed is the fraction of bad requests that keeps the gate.
	Allowed float64
	// Requests is, for each of ForecastTimes, after how many canary requests half
	// of such canaries are rolled back: +Inf when that would never be.
	Requests []float64
}

// Wait is how long n requests of the canary's take, at most a year.
func (f GateForecast) Wait(n float64) time.Duration {
	const year = 365 * 24 * time.Hour
	if !(n/f.Rate < year.Seconds()) {
		return year
	}
	return time.Duration(n / f.Rate * float64(time.Second))
}

// enoughWindows of stable's name φ; with fewer a forecast takes usualPhi, which
// is what independent requests get after five minutes. A stable that never fails
// tells nothing of how errors clump, however long it is watched.
const (
	enoughWindows = 60
	usualPhi      = 1.3
)

// Forecast says for every step and gate what it could show, from what stable
// showed in Survey while it had all the traffic, during watched.
func (g Gates) Forecast(watched time.Duration) []GateForecast {
	all := float64(len(g.exprs) * len(g.plan.Steps))
	needed := all/g.plan.Alpha - (all - 1)
	var out []GateForecast
	for step, share := range g.plan.Steps {
		for i, e := range g.exprs {
			f := GateForecast{Share: share, Bound: gate.Bound{Expr: e}}
			out = append(out, g.look(f, step, i, needed, watched))
		}
	}
	return out
}

func (g Gates) look(f GateForecast, step, i int, needed float64, watched time.Duration) GateForecast {
	e := g.exprs[i]
	bound, err := g.baseline[i].Fix(e, g.edges[i], g.alone(step))
	if err != nil {
		f.Lacking = err.Error()
		return f
	}
	if len(g.baseline[i]) < enoughWindows && e.Metric != gate.Errors {
		bound.Phi = usualPhi
	}
	sum := bound.Count(g.baseline[i].Sum(), g.edges[i])
	share := float64(f.Share) / 100
	f.Bound, f.Rate = bound, share*float64(sum.Requests)/watched.Seconds()
	if f.Allowed = bound.P0; f.Allowed == 0 {
		f.Allowed = max(e.Ratio*sum.Fraction(), e.Floor)
	}
	for _, times := range ForecastTimes() {
		f.Requests = append(f.Requests, bound.Forecast(share, sum.Fraction(), needed, times))
	}
	return f
}
