package gate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestForecastMatchesSimulation holds the forecast against runs on a Board, looked
// at every scrape, over traffic profiles that differ in rate, share, what stable
// does and how many gates and steps share the error bound.
func TestForecastMatchesSimulation(t *testing.T) {
	t.Parallel()
	type profile struct {
		gate         string
		rate, share  float64 // requests in a scrape, of both arms
		stable       float64 // its fraction of errors
		phi          float64
		gates, steps int
		times        float64
	}
	var profiles []profile
	for _, share := range []float64{0.05, 0.25, 0.5} {
		for _, times := range []float64{1.5, 2, 3} {
			profiles = append(profiles,
				profile{"ttft p95 < 500ms", 40, share, 0, 1.3, 3, 4, times},
				profile{"errors < 1.2x stable or < 0.5%", 60, share, 0.01, 1.3, 3, 4, times + 1},
			)
		}
	}
	profiles = append(profiles,
		profile{"errors < 1%", 20, 0.5, 0, 1, 1, 1, 2},
		profile{"errors < 1%", 20, 0.1, 0, 5, 2, 5, 3},
		profile{"errors < 2x stable", 50, 0.2, 0.02, 1, 1, 3, 2},
		profile{"errors < 1.2x stable or < 0.5%", 30, 0.3, 0, 2, 3, 4, 3},
		profile{"e2e p99 < 1s", 100, 0.25, 0, 1.5, 3, 4, 3},
		profile{"tpot p50 < 100ms", 4, 0.5, 0, 1.3, 3, 4, 1.5},
		profile{"ttft p95 < 1.5x stable", 3, 0.05, 0, 1.3, 3, 4, 3},
		profile{"ttft p90 < 1.5x stable", 500, 0.1, 0, 3, 3, 4, 2},
	)
	if len(profiles) < 20 {
		t.Fatalf("%d profiles", len(profiles))
	}
	edges := []float64{0.1, 0.2, 0.5, 1, 2}
	for i, p := range profiles {
		t.Run(fmt.Sprintf("%s, %g times, share %g, profile %d", p.gate, p.times, p.share, i), func(t *testing.T) {
			t.Parallel()
			e, err := Parse(p.gate)
			if err != nil {
				t.Fatal(err)
			}
			bound, err := e.BindStable(0.1, edges)
			if err != nil {
				t.Fatal(err)
			}
			bound.Phi = p.phi
			allowed := bound.P0
			if allowed == 0 {
				allowed = math.Max(e.Ratio*p.stable, e.Floor)
			}
			all := float64(p.gates * p.steps)
			got := bound.Forecast(p.share, p.stable, all*100-(all-1), p.times)
			rng, needed := rand.New(rand.NewPCG(uint64(i), 3)), []int{}
			for range 61 {
				needed = append(needed, rollBack(t, rng, bound, p.gates, p.steps, p.rate*p.share, p.times*allowed, p.rate*(1-p.share), p.stable))
			}
			slices.Sort(needed)
			median := float64(needed[len(needed)/2])
			t.Logf("forecast %.0f, simulated %.0f", got, median)
			// A run is looked at once a scrape: half of one more on average.
			if off := (got + p.rate*p.share/2) / median; off < 0.7 || off > 1.3 {
				t.Errorf("forecast %.0f canary requests, simulated %.0f", got, median)
			}
		})
	}
}

// rollBack is the canary requests of one run until it is rolled back.
func rollBack(t *testing.T, rng *rand.Rand, bound Bound, gates, steps int, canary, bad, stable, base float64) int {
	t.Helper()
	board, err := NewBoard(slices.Repeat([]Bound{bound}, gates), steps, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	if err := board.EnterStep(0); err != nil {
		t.Fatal(err)
	}
	requests := 0
	for {
		c, s := draw(rng, poisson(rng, canary), bad), draw(rng, poisson(rng, stable), base)
		requests += int(c.Requests)
		if err := board.Update(0, c, s); err != nil {
			t.Fatal(err)
		}
		if _, crossed := board.Crossed(); crossed {
			return requests
		}
	}
}

func poisson(rng *rand.Rand, mean float64) int {
	n := 0
	for at := rng.ExpFloat64(); at < mean; at += rng.ExpFloat64() {
		n++
	}
	return n
}

func TestForecastOfWhatIsNeverSeen(t *testing.T) {
	t.Parallel()
	b := Bound{Expr: Expr{Metric: Errors, Limit: 0.01}, P0: 0.01}
	if n := b.Forecast(0.5, 0, 1200, 1); !math.IsInf(n, 1) {
		t.Errorf("a canary at its limit is said to go after %g requests", n)
	}
	if n := b.Forecast(0.5, 0, 1200, 1.01); !math.IsInf(n, 1) {
		t.Errorf("a canary a hair over its limit is said to go after %g requests", n)
	}
}
