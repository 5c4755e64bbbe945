package gate

import (
	"encoding/json"
	"math"
	"testing"
)

// binomial is the probability of s among n.
func binomial(n, s int, p float64) float64 {
	lgamma := func(x int) float64 { l, _ := math.Lgamma(float64(x) + 1); return l }
	if p == 0 {
		return map[bool]float64{true: 1}[s == 0]
	}
	return math.Exp(lgamma(n) - lgamma(s) - lgamma(n-s) + float64(s)*math.Log(p) + float64(n-s)*math.Log1p(-p))
}

// The mean of an e-value is at most 1 wherever its hypothesis holds. These
// tests sum over every outcome, so they hold without simulation.
func TestThresholdMeanIsAtMostOneUnderTheHypothesis(t *testing.T) {
	t.Parallel()
	for _, p0 := range []float64{0.001, 0.01, 0.05, 0.5} {
		for _, phi := range []float64{1, 2} {
			for _, below := range []bool{false, true} {
				for _, part := range []float64{0, 0.3, 0.9, 1} {
					p := p0 * part
					if below {
						p = 1 - (1-p0)*part
					}
					if got := thresholdMean(p0, phi, below, p); got > 1+1e-9 {
						t.Errorf("p0 %g, phi %g, below %v: mean %.12g at p = %g", p0, phi, below, got, p)
					}
				}
			}
		}
	}
	if got := thresholdMean(0.05, 1, false, 0.05); math.Abs(got-1) > 1e-9 {
		t.Errorf("mean %.12g on the boundary, want 1: power is given away", got)
	}
	if got := thresholdMean(0.05, 1, false, 0.15); got < 10 {
		t.Errorf("mean %g at three times p0: the test cannot see harm", got)
	}
}

func thresholdMean(p0, phi float64, below bool, p float64) float64 {
	const n = 40
	mean := 0.0
	for s := 0; s <= n; s++ {
		q := binomial(n, s, p)
		if p == 1 {
			q = map[bool]float64{true: 1}[s == n]
		}
		test := Threshold{P0: p0, Phi: phi, Below: below, Total: Counts{n, uint64(s)}}
		mean += q * test.Value()
	}
	return mean
}

func TestRatioMeanIsAtMostOneForEveryBaseRate(t *testing.T) {
	t.Parallel()
	for _, arms := range [][2]int{{2, 30}, {10, 10}, {20, 3}} {
		for _, r0 := range []float64{1, 1.5} {
			for _, base := range []float64{0.001, 0.05, 0.3, 0.6} {
				for _, part := range []float64{0.2, 0.8, 1} {
					if got := ratioMean(arms, r0, false, base, r0*part*base); got > 1+1e-9 {
						t.Errorf("arms %v, r0 %g, base %g: mean %.12g at %g of r0", arms, r0, base, got, part)
					}
					worse := math.Min(r0*base/part, 1)
					if got := ratioMean(arms, r0, true, base, worse); worse < 1 && got > 1+1e-9 {
						t.Errorf("mirrored, arms %v, r0 %g, base %g: mean %.12g at r0/%g", arms, r0, base, got, part)
					}
				}
			}
		}
	}
	if got := ratioMean([2]int{10, 10}, 1, false, 0.1, 0.5); got < 3 {
		t.Errorf("mean %g at five times stable's rate: the test cannot see harm", got)
	}
}

// ratioMean is the mean after two windows, of which the second has the arms
// changed over, as after a change of the weights.
func ratioMean(arms [2]int, r0 float64, below bool, stable, canary float64) float64 {
	mean := 1.0
	window := func(nc, ns int, each func(prob float64, canary, stable Counts)) {
		for xc := 0; xc <= nc; xc++ {
			for xs := 0; xs <= ns; xs++ {
				each(binomial(nc, xc, canary)*binomial(ns, xs, stable),
					Counts{uint64(nc), uint64(xc)}, Counts{uint64(ns), uint64(xs)})
			}
		}
	}
	// The alternatives do not mix before the end, so the mean of the product
	// is summed for each of them.
	sums := [2][points]float64{}
	for w, n := range [2][2]int{arms, {arms[1], arms[0]}} {
		window(n[0], n[1], func(prob float64, c, s Counts) {
			test := Ratio{R0: r0, Phi: 1, Below: below}
			test.Update(c, s)
			for k := range test.Logs {
				sums[w][k] += prob * math.Exp(test.Logs[k])
			}
		})
	}
	mean = 0
	for k, g := range grid(below) {
		mean += g.weight * sums[0][k] * sums[1][k]
	}
	return mean
}

func TestMergingCountsChangesNothing(t *testing.T) {
	t.Parallel()
	windows := []Counts{{20, 1}, {3, 0}, {0, 0}, {117, 9}, {1, 1}}
	t.Run("windows and pods of a threshold test add up bit for bit", func(t *testing.T) {
		t.Parallel()
		one, many := Threshold{P0: 0.05, Phi: 1.3}, Threshold{P0: 0.05, Phi: 1.3}
		var sum Counts
		for _, w := range windows {
			many.Update(w)
			sum = sum.Plus(w)
		}
		one.Update(sum)
		if one.Log() != many.Log() {
			t.Errorf("ln e is %v in one window, %v in many", one.Log(), many.Log())
		}
	})
	t.Run("windows of a ratio test may be merged while the split is the same", func(t *testing.T) {
		t.Parallel()
		one, many := Ratio{R0: 1.2, Phi: 1}, Ratio{R0: 1.2, Phi: 1}
		one.Update(Counts{200, 12}, Counts{1800, 40})
		many.Update(Counts{50, 2}, Counts{450, 13})
		many.Update(Counts{150, 10}, Counts{1350, 27})
		if math.Abs(one.Log()-many.Log()) > 1e-12 {
			t.Errorf("ln e is %v in one window, %v in two", one.Log(), many.Log())
		}
	})
	t.Run("a window in which one arm was idle says nothing", func(t *testing.T) {
		t.Parallel()
		r := Ratio{R0: 1, Phi: 1}
		r.Update(Counts{}, Counts{500, 5})
		r.Update(Counts{30, 30}, Counts{})
		if r.Value() != 1 {
			t.Errorf("value %v, want 1", r.Value())
		}
	})
	t.Run("a bad event scraped before its request is not more than all", func(t *testing.T) {
		t.Parallel()
		early, exact := Threshold{P0: 0.05, Phi: 1}, Threshold{P0: 0.05, Phi: 1}
		early.Update(Counts{3, 4})
		exact.Update(Counts{3, 3})
		if early.Log() != exact.Log() {
			t.Errorf("ln e = %v, want %v", early.Log(), exact.Log())
		}
	})
}

func TestStateReadBackContinuesWithTheSameBits(t *testing.T) {
	t.Parallel()
	plain, resumed := Ratio{R0: 1.2, Phi: 1.7}, Ratio{R0: 1.2, Phi: 1.7}
	for i := uint64(1); i < 200; i++ {
		canary, stable := Counts{7 + i%13, i % 3}, Counts{90 + i%41, i % 5}
		plain.Update(canary, stable)
		resumed.Update(canary, stable)
		data, err := json.Marshal(resumed)
		if err != nil {
			t.Fatal(err)
		}
		resumed = Ratio{}
		if err := json.Unmarshal(data, &resumed); err != nil {
			t.Fatal(err)
		}
		if resumed != plain || math.Float64bits(resumed.Log()) != math.Float64bits(plain.Log()) {
			t.Fatalf("after window %d: %+v, want %+v", i, resumed, plain)
		}
	}
}

func TestParametersOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]error{
		"nothing allowed":                  second(NewThreshold(0, 1)),
		"everything allowed":               second(NewThreshold(1, 1)),
		"no number":                        second(NewThreshold(math.NaN(), 1)),
		"overdispersion below one":         second(NewThreshold(0.05, 0.5)),
		"infinite overdispersion":          second(NewThresholdBelow(0.05, math.Inf(1))),
		"a ratio of nothing":               second(NewRatio(0, 1)),
		"a ratio that is no number":        second(NewRatioBelow(math.NaN(), 1)),
		"a share above all":                second(NewShare(1.1, 1)),
		"a share with overdispersion zero": second(NewShare(0.5, 0)),
	}
	for name, err := range tests {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, buckets := range [][]uint64{nil, {1}, {1, 2, 3}} {
		if _, _, err := QuantileInterval(0.95, 0.05, []float64{1}, buckets); err == nil {
			t.Errorf("%d buckets for one edge: accepted", len(buckets))
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestQuantileInterval(t *testing.T) {
	t.Parallel()
	edges := []float64{0.5, 1, 2, 4}
	tests := map[string]struct {
		buckets   []uint64
		low, high float64
	}{
		"without requests nothing is known":            {[]uint64{0, 0, 0, 0, 0}, 0, math.Inf(1)},
		"a few requests name no edge":                  {[]uint64{3, 2, 1, 0, 0}, 0, math.Inf(1)},
		"many requests close in from both sides":       {[]uint64{500, 380, 110, 10, 0}, 1, 2},
		"a quantile on an edge is not told apart":      {[]uint64{500, 450, 50, 0, 0}, 0.5, 2},
		"slower than every edge has no upper end":      {[]uint64{0, 0, 0, 100, 900}, 4, math.Inf(1)},
		"faster than every edge lies below the lowest": {[]uint64{1000, 0, 0, 0, 0}, 0, 0.5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			low, high, err := QuantileInterval(0.95, 0.05, edges, tt.buckets)
			if err != nil || low != tt.low || high != tt.high {
				t.Errorf("(%g, %g], %v; want (%g, %g]", low, high, err, tt.low, tt.high)
			}
		})
	}
}
