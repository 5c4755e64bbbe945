package gate

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// vectors are computed with 60 digits by testdata/vectors.py.
type vectors struct {
	Threshold []struct {
		P0, Phi, Log float64
		Below        bool
		N, S         uint64
	}
	Ratio []struct {
		R0, Phi, Log float64
		Below        bool
		Windows      [][4]uint64 // canary requests, bad, stable requests, bad
	}
	Quantile []struct{ Q, N, S, Log float64 }
}

func TestAgainstHighPrecision(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Threshold) < 50 || len(v.Ratio) < 50 || len(v.Quantile) < 50 {
		t.Fatalf("too few vectors: %d, %d, %d", len(v.Threshold), len(v.Ratio), len(v.Quantile))
	}
	for i, row := range v.Threshold {
		test := Threshold{P0: row.P0, Phi: row.Phi, Below: row.Below, Total: Counts{row.N, row.S}}
		sameLog(t, "threshold", i, test.Log(), row.Log)
	}
	for i, row := range v.Ratio {
		test := Ratio{R0: row.R0, Phi: row.Phi, Below: row.Below}
		for _, w := range row.Windows {
			test.Update(Counts{w[0], w[1]}, Counts{w[2], w[3]})
		}
		sameLog(t, "ratio", i, test.Log(), row.Log)
	}
	for i, row := range v.Quantile {
		sameLog(t, "quantile", i, logBetaMixture(row.Q, row.S, row.N), row.Log)
	}
}

// sameLog allows 1e-9 relative; of logarithms near 0, 1e-9 absolute.
func sameLog(t *testing.T, test string, row int, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-9*math.Max(1, math.Abs(want))) {
		t.Errorf("%s %d: ln e = %.15g, want %.15g", test, row, got, want)
	}
}
