package gate_test

import (
	"slices"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func TestWhatOfARowIsBad(t *testing.T) {
	t.Parallel()
	edges := []float64{0.4, 0.8, 1}
	tests := map[string]struct {
		edge  float64
		edges []float64
		row   []uint64
		want  gate.Counts
	}{
		"requests in buckets that end above the edge":          {0.8, edges, []uint64{4, 3, 2, 1}, gate.Counts{Requests: 10, Bad: 3}},
		"an edge printed with other rounding is the same edge": {0.8 * (1 - 1e-12), edges, []uint64{4, 3, 2, 1}, gate.Counts{Requests: 10, Bad: 3}},
		"above the last edge only what is above them all":      {1, edges, []uint64{4, 3, 2, 1}, gate.Counts{Requests: 10, Bad: 1}},
		"for errors the second of two":                         {0, nil, []uint64{7, 2}, gate.Counts{Requests: 9, Bad: 2}},
		"an empty row is nothing":                              {0.8, edges, nil, gate.Counts{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (gate.Bound{HarmEdge: tt.edge}).Count(tt.row, tt.edges); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRowsAddUpAndStayAsTheyWere(t *testing.T) {
	t.Parallel()
	a, b := []uint64{1, 2}, []uint64{3, 4}
	if got := gate.AddRow(gate.AddRow(nil, a), b); !slices.Equal(got, []uint64{4, 6}) || a[0] != 1 || b[0] != 3 {
		t.Errorf("sum %d of %d and %d", got, a, b)
	}
}
