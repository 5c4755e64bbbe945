package gate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// clumped draws n requests whose bad ones come in clumps of size, with
// probability p each.
func clumped(rng *rand.Rand, n, size int, p float64) Counts {
	c := Counts{Requests: uint64(n)}
	for range n / size {
		if rng.Float64() < p {
			c.Bad += uint64(size)
		}
	}
	return c
}

func clumpedWindows(rng *rand.Rand, windows, n, size int, p float64) []Counts {
	out := make([]Counts, windows)
	for t := range out {
		out[t] = clumped(rng, n, size, p)
	}
	return out
}

func TestOverdispersionCoversTheClumpSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 5} {
		rng, short := rand.New(rand.NewPCG(uint64(size), 1)), 0
		const trials = 200
		var point, upper float64
		for range trials {
			phi := StepPhi(clumpedWindows(rng, 450, 30, size, 0.05))
			// Given the sum, clumps have variance size·(1−p): hypergeometric odds.
			point, upper = point+phi.Point/trials, upper+phi.Upper/trials
			if phi.Upper < float64(size)*0.97 {
				short++
			}
		}
		t.Logf("clumps of %d: point %.2f, upper bound %.2f, too small in %d of %d", size, point, upper, short, trials)
		if math.Abs(point-float64(size)) > 0.1*float64(size) {
			t.Errorf("clumps of %d: mean estimate %.2f", size, point)
		}
		if 100*short > 7*trials {
			t.Errorf("clumps of %d: bound below the truth in %d of %d trials, want about 5 %%", size, short, trials)
		}
	}
}

func TestPhiRestoresTheErrorBoundUnderClumps(t *testing.T) {
	t.Parallel()
	const runs, looks, window, p0 = 300, 250, 30, 0.05
	for size, broken := range map[int]float64{2: 0.03, 3: 0.10, 5: 0.25} {
		rng := rand.New(rand.NewPCG(uint64(size), 2))
		nominal, restored := 0, 0
		for range runs {
			phi := StepPhi(clumpedWindows(rng, 150, window, size, p0))
			test, crossedNominal, crossed := Threshold{P0: p0, Phi: 1}, false, false
			for range looks {
				test.Update(clumped(rng, window, size, p0))
				deflated := test
				deflated.Phi = phi.Upper
				crossedNominal = crossedNominal || test.Value() >= 100
				crossed = crossed || deflated.Value() >= 100
			}
			if crossedNominal {
				nominal++
			}
			if crossed {
				restored++
			}
		}
		t.Logf("clumps of %d: false alarms %.1f %% with φ = 1, %.1f %% with φ estimated", size, 100*float64(nominal)/runs, 100*float64(restored)/runs)
		if float64(nominal) < broken*runs {
			t.Errorf("clumps of %d: the nominal test alarmed in %d of %d runs: this test no longer shows anything", size, nominal, runs)
		}
		if restored > runs/100 {
			t.Errorf("clumps of %d: %d of %d runs alarmed with φ, want at most 1 %%", size, restored, runs)
		}
	}
}

func TestStepPhi(t *testing.T) {
	t.Parallel()
	alike := func(n int, c Counts) []Counts { return slices.Repeat([]Counts{c}, n) }
	struck, across := alike(160, Counts{40, 0}), alike(160, Counts{40, 0})
	for i := 4; i < 160; i += 8 {
		struck[i].Bad, across[i].Bad, across[i+1].Bad = 16, 8, 8
	}
	tests := map[string]struct {
		windows  []Counts
		min, max float64
	}{
		"no windows: clumps of the unknown size are allowed for":   {nil, UnknownPhi, UnknownPhi},
		"nothing bad: clumps of the unknown size are allowed for":  {alike(100, Counts{40, 0}), UnknownPhi, UnknownPhi},
		"a few bad requests do not name a bound":                   {append(alike(100, Counts{40, 0}), alike(4, Counts{40, 2})...), UnknownPhi, UnknownPhi},
		"parts more alike than chance: never below 1":              {alike(200, Counts{40, 2}), 1, 1},
		"what strikes the whole arm is seen between windows":       {struck, 12, 25},
		"and is as large when it lies across a scrape":             {across, 12, 25},
		"more bad than requests, as a scrape may show, is no harm": {append(alike(100, Counts{2, 3}), alike(100, Counts{20, 0})...), 1, 500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if phi := StepPhi(tt.windows); !(phi.Upper >= tt.min && phi.Upper <= tt.max) {
				t.Errorf("φ %+v, want between %g and %g", phi, tt.min, tt.max)
			}
		})
	}
}
