package gate

import (
	"math"
	"math/rand/v2"
	"testing"
)

// arms draws one window of n requests of which the canary gets the weight;
// times is its rate of bad requests relative to stable's.
func arms(rng *rand.Rand, n int, weight, base, times float64) (canary, stable Counts) {
	nc := 0
	for range n {
		if rng.Float64() < weight {
			nc++
		}
	}
	return draw(rng, nc, base*times), draw(rng, n-nc, base)
}

// drift is a base rate that swings by half around its mean.
func drift(base float64, look int) float64 { return base * (1 + 0.5*math.Sin(float64(look)/10)) }

// ramp is the canary's weight while a plan of 5, 10, 25, 50 % goes on.
func ramp(look, looks int) float64 { return []float64{0.05, 0.10, 0.25, 0.50}[4*look/looks] }

func TestRatioFalseAlarms(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ r0, base float64 }{
		"as good as stable, rare errors, drifting, while weights rise":         {1, 0.01},
		"as good as stable, common events, drifting, while weights rise":       {1, 0.3},
		"exactly at the margin, common events, drifting, while weights rise":   {1.2, 0.3},
		"exactly at the margin, p95-like events, drifting, while weights rise": {1.5, 0.05},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const runs, looks = 600, 60
			rng, alarms := rand.New(rand.NewPCG(9, 10)), 0
			for range runs {
				test := Ratio{R0: tt.r0, Phi: 1}
				for look := range looks {
					test.Update(arms(rng, 200, ramp(look, looks), drift(tt.base, look), tt.r0))
					if test.Value() >= 100 {
						alarms++
						break
					}
				}
			}
			t.Logf("%d of %d runs", alarms, runs)
			if 100*alarms > runs {
				t.Errorf("%d of %d runs alarmed, want at most 1 %%", alarms, runs)
			}
		})
	}
}

// The limits are 15 % above what an independent simulation of the same formula
// measured with another grid: requests of both arms at weight 10 %.
func TestRatioDetection(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		base, times float64
		below       bool
		r0, need    float64
		median      int
	}{
		"three times the p95-like events of stable":             {0.05, 3, false, 1, 100, 1380},
		"twice the p95-like events of stable":                   {0.05, 2, false, 1, 100, 3800},
		"five times the errors of stable":                       {0.01, 5, false, 1, 100, 2070},
		"an equal canary is shown to be no more than twice bad": {0.05, 1, true, 2, 20, 3100},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(11, 12))
			var needed []int
			for range 200 {
				test, requests := Ratio{R0: tt.r0, Phi: 1, Below: tt.below}, 0
				for look := 0; test.Value() < tt.need; look++ {
					test.Update(arms(rng, 300, 0.10, drift(tt.base, look), tt.times))
					requests += 300
				}
				needed = append(needed, requests)
			}
			median, p90 := spread(needed)
			t.Logf("requests of both arms: median %d, p90 %d", median, p90)
			if median > tt.median {
				t.Errorf("median %d requests of both arms, want at most %d", median, tt.median)
			}
		})
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		asked, seen float64
		want        bool // a mismatch within 300 requests
	}{
		"the share asked for":               {0.10, 0.10, false},
		"a share rounded by the gateway":    {0.05, 0.054, false},
		"nothing asked and nothing seen":    {0, 0, false},
		"all asked and all seen":            {1, 1, false},
		"all to the canary at half asked":   {0.50, 1, true},
		"all to stable at half asked":       {0.50, 0, true},
		"split equally at a tenth asked":    {0.10, 0.50, true},
		"all to the canary at nothing":      {0, 1, true},
		"nothing to the canary at all":      {1, 0, true},
		"split equally when all was asked":  {1, 0.5, true},
		"split equally at a quarter asked":  {0.25, 0.50, true},
		"twenty percent when nothing asked": {0, 0.2, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng, crossed := rand.New(rand.NewPCG(13, 14)), 0
			const runs, requests = 1000, 300
			for range runs {
				test, err := NewShare(tt.asked, 1)
				if err != nil {
					t.Fatal(err)
				}
				for range requests / 10 {
					c := draw(rng, 10, tt.seen)
					test.Update(c.Bad, c.Requests-c.Bad)
					if test.Value() >= 100 {
						crossed++
						break
					}
				}
			}
			t.Logf("a mismatch in %d of %d runs", crossed, runs)
			if tt.want && crossed < runs*99/100 || !tt.want && crossed > runs/100 {
				t.Errorf("a mismatch in %d of %d runs, want one: %v", crossed, runs, tt.want)
			}
		})
	}
}

func TestQuantileIntervalCovers(t *testing.T) {
	t.Parallel()
	// Latencies are uniform in (0, 1); the p95 is exactly on the edge 0.95,
	// the hardest case, or between two edges.
	for name, edges := range map[string][]float64{
		"a quantile on an edge":       {0.80, 0.90, 0.95, 0.98},
		"a quantile between two edge": {0.80, 0.90, 0.93, 0.97},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng, missed := rand.New(rand.NewPCG(15, 16)), 0
			const runs, looks = 400, 150
			for range runs {
				buckets := make([]uint64, len(edges)+1)
				for range looks {
					for range 20 {
						x, i := rng.Float64(), 0
						for i < len(edges) && x > edges[i] {
							i++
						}
						buckets[i]++
					}
					low, high, err := QuantileInterval(0.95, 0.05, edges, buckets)
					if err != nil {
						t.Fatal(err)
					}
					if low >= 0.95 || high < 0.95 {
						missed++
						break
					}
				}
			}
			t.Logf("missed in %d of %d runs", missed, runs)
			if 20*missed > runs {
				t.Errorf("the interval missed the quantile in %d of %d runs, want at most 5 %%", missed, runs)
			}
		})
	}
}
