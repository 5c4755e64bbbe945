package gate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The simulations are seeded: each is one fixed sample, so a bound either holds
// or does not. Runs are looked at after every batch of requests.

func draw(rng *rand.Rand, n int, p float64) Counts {
	c := Counts{Requests: uint64(n)}
	for range n {
		if rng.Float64() < p {
			c.Bad++
		}
	}
	return c
}

// spread is the median and the 90th percentile.
func spread(samples []int) (median, p90 int) {
	slices.Sort(samples)
	return samples[len(samples)/2], samples[len(samples)*9/10]
}

func TestThresholdFalseAlarms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		p0                  float64
		runs, looks, window int
	}{
		"p95 gate, exactly at its limit, looked at every 20 requests":          {0.05, 3000, 250, 20},
		"1 % gate, exactly at its limit, looked at every 40 requests":          {0.01, 3000, 250, 40},
		"p95 gate, exactly at its limit, looked at every request of the first": {0.05, 3000, 250, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng, alarms := rand.New(rand.NewPCG(1, 2)), 0
			for range tt.runs {
				test := Threshold{P0: tt.p0, Phi: 1}
				for range tt.looks {
					test.Update(draw(rng, tt.window, tt.p0))
					if test.Value() >= 100 {
						alarms++
						break
					}
				}
			}
			rate := float64(alarms) / float64(tt.runs)
			t.Logf("%d of %d runs: %.2f %%", alarms, tt.runs, 100*rate)
			if rate > 0.01 {
				t.Errorf("false alarms in %.2f %% of the runs, want at most 1 %%", 100*rate)
			}
		})
	}
}

func TestThresholdDetection(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		p0, times   float64
		median, p90 int // canary requests, at most
	}{
		"three times the bad requests of a p95 gate": {0.05, 3, 100, 200},
		"twice the bad requests of a p95 gate":       {0.05, 2, 300, 600},
		"three times the errors of a 1 % gate":       {0.01, 3, 450, 900},
		"twice the errors of a 1 % gate":             {0.01, 2, 1460, 2960},
		"a canary that fails everything":             {0.01, 100, 10, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(3, 4))
			var needed []int
			for range 1000 {
				test := Threshold{P0: tt.p0, Phi: 1}
				for test.Value() < 100 {
					test.Update(draw(rng, 10, tt.p0*tt.times))
				}
				needed = append(needed, int(test.Total.Requests))
			}
			median, p90 := spread(needed)
			t.Logf("canary requests: median %d, p90 %d", median, p90)
			if median > tt.median || p90 > tt.p90 {
				t.Errorf("median %d, p90 %d canary requests; want at most %d, %d", median, p90, tt.median, tt.p90)
			}
		})
	}
}

func mustBounds(t *testing.T, texts ...string) []Bound {
	t.Helper()
	edges := []float64{0.05, 0.1, 0.2, 0.4, 0.8, 1, 2, 5, 10, 30}
	var bounds []Bound
	for _, text := range texts {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Bind(edges)
		if err != nil {
			t.Fatal(err)
		}
		bounds = append(bounds, b)
	}
	return bounds
}

// runBoard walks a plan of four steps and three gates. Every gate's canary is
// exactly at its limit, except that the first is harm times as bad from step
// late on. Steps before are looked at 50 times, later ones 400 times. It
// returns the canary requests of the late steps until the run crossed, and
// false when it did not.
func runBoard(t *testing.T, rng *rand.Rand, window int, harm float64, late int) (int, bool) {
	t.Helper()
	board, err := NewBoard(mustBounds(t, "ttft p95 < 800ms", "tpot p95 < 100ms", "errors < 1%"), 4, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	harmed := 0
	for step := range 4 {
		if err := board.EnterStep(step); err != nil {
			t.Fatal(err)
		}
		looks := 50
		if step >= late {
			looks = 400
		}
		for range looks {
			for g, b := range board.Bounds() {
				p := b.P0
				if g == 0 && step >= late {
					p *= harm
				}
				if err := board.Update(g, draw(rng, window, p), Counts{}); err != nil {
					t.Fatal(err)
				}
			}
			if step >= late {
				harmed += window
			}
			if _, crossed := board.Crossed(); crossed {
				return harmed, true
			}
		}
	}
	return harmed, false
}

func TestRunFalseAlarms(t *testing.T) {
	t.Parallel()
	rng, alarms, runs := rand.New(rand.NewPCG(5, 6)), 0, 500
	for range runs {
		if _, crossed := runBoard(t, rng, 10, 1, 4); crossed {
			alarms++
		}
	}
	t.Logf("%d of %d runs of three gates and four steps", alarms, runs)
	if 100*alarms > runs {
		t.Errorf("%d of %d healthy runs were rolled back, want at most 1 %%", alarms, runs)
	}
}

func TestRunDetection(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		harm        float64
		late        int
		median, p90 int
	}{
		"three times the bad requests from the first step":                {3, 0, 130, 250},
		"twice the bad requests from the first step":                      {2, 0, 400, 800},
		"three times the bad requests in the last step, after 1,500 good": {3, 3, 130, 250},
		"twice the bad requests in the last step, after 1,500 good":       {2, 3, 400, 800},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 8))
			var needed []int
			for range 150 {
				n, crossed := runBoard(t, rng, 10, tt.harm, tt.late)
				if !crossed {
					n = 1 << 20
				}
				needed = append(needed, n)
			}
			median, p90 := spread(needed)
			t.Logf("canary requests: median %d, p90 %d", median, p90)
			if median > tt.median || p90 > tt.p90 {
				t.Errorf("median %d, p90 %d canary requests; want at most %d, %d", median, p90, tt.median, tt.p90)
			}
		})
	}
}
