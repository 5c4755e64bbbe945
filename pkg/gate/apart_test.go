package gate

import (
	"math/rand/v2"
	"testing"
)

// pods draws rows of errors for n pods, each with requests of which a fraction
// fails.
func podsOf(rng *rand.Rand, requests int, bad ...float64) [][]uint64 {
	var rows [][]uint64
	for _, p := range bad {
		c := draw(rng, requests, p)
		rows = append(rows, []uint64{c.Requests - c.Bad, c.Bad})
	}
	return rows
}

func TestOnePodIsNamedWhenTheHarmIsItsOwn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		gate    string
		bad     []float64
		least   float64 // part of the runs that must name the first pod
		mistook float64 // part that may name another one
	}{
		"one of four pods fails":                        {"errors < 1.2x stable or < 0.5%", []float64{0.3, 0.005, 0.005, 0.005}, 0.8, 0},
		"one of two pods fails":                         {"errors < 5%", []float64{0.5, 0.01}, 0.95, 0},
		"four pods that fail alike are not told apart":  {"errors < 5%", []float64{0.2, 0.2, 0.2, 0.2}, 0, 0.01},
		"two pods that fail alike are not told apart":   {"errors < 5%", []float64{0.2, 0.2}, 0, 0.01},
		"two of four that fail are not one":             {"errors < 5%", []float64{0.3, 0.3, 0.01, 0.01}, 0, 0.03},
		"healthy pods are not looked at":                {"errors < 5%", []float64{0.02, 0.02, 0.02, 0.02}, 0, 0.005},
		"one pod has no other to be compared with":      {"errors < 5%", []float64{0.5}, 0, 0},
		"nor has it one beside a pod without any share": {"errors < 5%", []float64{0.5, -1}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Parse(tt.gate)
			if err != nil {
				t.Fatal(err)
			}
			rng, first, other := rand.New(rand.NewPCG(5, 7)), 0, 0
			const runs = 1000
			for range runs {
				rows := podsOf(rng, 100, tt.bad...)
				for i, p := range tt.bad {
					if p < 0 {
						rows[i] = []uint64{0, 0}
					}
				}
				stable := draw(rng, 400, 0.005)
				switch e.Apart(rows, []uint64{stable.Requests - stable.Bad, stable.Bad}, nil) {
				case 0:
					first++
				case -1:
				default:
					other++
				}
			}
			t.Logf("the first pod in %d, another in %d of %d", first, other, runs)
			if tt.least == 0 {
				first, other = 0, first+other
			}
			if float64(first) < tt.least*runs || float64(other) > tt.mistook*runs {
				t.Errorf("named the first pod in %d and another in %d of %d runs", first, other, runs)
			}
		})
	}
}

func TestASlowPodIsNamedByStablesOwnQuantile(t *testing.T) {
	t.Parallel()
	e, err := Parse("ttft p95 < 1.5x stable")
	if err != nil {
		t.Fatal(err)
	}
	edges := []float64{0.1, 0.2, 0.4, 0.8}
	stable := []uint64{970, 30, 0, 0, 0}
	slow, well := []uint64{10, 0, 0, 40, 0}, []uint64{48, 2, 0, 0, 0}
	if got := e.Apart([][]uint64{well, slow, well}, stable, edges); got != 1 {
		t.Errorf("named pod %d, want the slow one", got)
	}
	if got := e.Apart([][]uint64{well, slow, well}, []uint64{9, 0, 0, 0, 0}, edges); got != -1 {
		t.Errorf("named pod %d, though stable has shown no quantile yet", got)
	}
}
