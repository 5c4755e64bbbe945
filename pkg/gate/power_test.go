package gate

import (
	"math/rand/v2"
	"testing"
)

func TestMissed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		p0        float64
		requests  uint64
		low, high float64 // of the fraction
	}{
		"two requests at 5 % could have missed anything": {0.05, 2, 1, 1},
		"200 requests see about three times 5 %":         {0.05, 200, 0.13, 0.17},
		"2,000 requests see about one and a half times":  {0.05, 2000, 0.07, 0.08},
		"200 requests at 1 % see only six times":         {0.01, 200, 0.05, 0.08},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := Threshold{P0: tt.p0, Phi: 1, Total: Counts{Requests: tt.requests}}
			missed := test.Missed(100)
			t.Logf("%.2f %%", 100*missed)
			if missed < tt.low || missed > tt.high {
				t.Fatalf("missed %g, want from %g to %g", missed, tt.low, tt.high)
			}
			if missed == 1 {
				return
			}
			if seen := detected(tt.p0, missed, tt.requests); seen < 0.88 || seen > 0.97 {
				t.Errorf("harm of that size was seen in %.1f %% of runs, want about 90 %%", 100*seen)
			}
		})
	}
}

func detected(p0, p float64, requests uint64) float64 {
	const runs = 1000
	rng, seen := rand.New(rand.NewPCG(17, 18)), 0
	for range runs {
		test := Threshold{P0: p0, Phi: 1}
		for test.Total.Requests < requests && test.Value() < 100 {
			test.Update(draw(rng, 20, p))
		}
		if test.Value() >= 100 {
			seen++
		}
	}
	return float64(seen) / runs
}

func TestOverdispersionMissesMore(t *testing.T) {
	t.Parallel()
	plain := Threshold{P0: 0.05, Phi: 1, Total: Counts{Requests: 1000}}
	clumped := Threshold{P0: 0.05, Phi: 2.5, Total: Counts{Requests: 1000}}
	if a, b := plain.Missed(100), clumped.Missed(100); a >= b {
		t.Errorf("missed %g without clumps and %g with, want more", a, b)
	}
}
