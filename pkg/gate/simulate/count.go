package simulate

import (
	"slices"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// row is what a picker of these pods would export of one gate for one window.
func row(pods []sample, m gate.Metric, edges []float64) []uint64 {
	if m == gate.Errors {
		out := make([]uint64, 2)
		for _, s := range pods {
			out[0], out[1] = out[0]+uint64(s.finished), out[1]+uint64(s.failed)
		}
		return out
	}
	out := make([]uint64, len(edges)+1)
	for _, s := range pods {
		values := s.ttft
		if m == gate.TPOT {
			values = s.tpot
		}
		for _, v := range values {
			at, _ := slices.BinarySearch(edges, float64(v)) // the first edge at or above v
			out[at]++
		}
	}
	return out
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
