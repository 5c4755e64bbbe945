package edges_test

import (
	"slices"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
)

func TestLatency(t *testing.T) {
	t.Parallel()
	list := edges.Latency()
	if list[0] != 0.005 || list[len(list)-1] != 120 {
		t.Errorf("from %v to %v", list[0], list[len(list)-1])
	}
	for i := 1; i < len(list); i++ {
		if ratio := list[i] / list[i-1]; ratio <= 1 || ratio > 1.25+1e-9 {
			t.Errorf("%v to %v is a step of %.4f", list[i-1], list[i], ratio)
		}
	}
	for _, limit := range []float64{0.1, 0.2, 0.25, 0.4, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 30, 60} {
		if !slices.Contains(list, limit) {
			t.Errorf("%v is no edge", limit)
		}
	}
	if len(list) > 60 {
		t.Errorf("%d edges", len(list))
	}
}
