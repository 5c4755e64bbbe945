package simulate

import (
	"slices"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// count is what a gate sees of one pod in one window.
func count(s sample, b gate.Bound) gate.Counts {
	return countAt(s, b.Expr.Metric, b.HarmEdge)
}

func countAt(s sample, m gate.Metric, edge float64) gate.Counts {
	values := s.ttft
	switch m {
	case gate.Errors:
		return gate.Counts{Requests: uint64(s.finished + s.failed), Bad: uint64(s.failed)}
	case gate.TPOT:
		values = s.tpot
	}
	c := gate.Counts{Requests: uint64(len(values))}
	for _, v := range values {
		if float64(v) > edge {
			c.Bad++
		}
	}
	return c
}

func sum(pods []sample, b gate.Bound) gate.Counts {
	var all gate.Counts
	for _, s := range pods {
		all = all.Plus(count(s, b))
	}
	return all
}

// quantile of all requests in the windows, in seconds; 0 without any.
func quantile(windows [][]sample, m gate.Metric, q float64) float64 {
	var all []float32
	for _, pods := range windows {
		for _, s := range pods {
			if m == gate.TPOT {
				all = append(all, s.tpot...)
			} else {
				all = append(all, s.ttft...)
			}
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[min(int(q*float64(len(all))), len(all)-1)])
}

// podCounts are the windows as StepPhi takes them.
func podCounts(windows [][]sample, m gate.Metric, edge float64) [][]gate.Counts {
	out := make([][]gate.Counts, len(windows))
	for t, pods := range windows {
		for _, s := range pods {
			out[t] = append(out[t], countAt(s, m, edge))
		}
	}
	return out
}
