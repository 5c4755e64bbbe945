// Package edges says where the buckets of our endpoint picker's latency
// histograms end. The picker exports by it, and a gate can be bound by it before
// the first request was counted.
package edges

import (
	"math"
	"strconv"
)

// Latency returns the upper edges, in seconds, of every latency histogram: from
// 5 ms to 2 min, no more than 1.25 times apart, so that a gate knows a quantile
// to a quarter, and with the limits that people write into gates among them.
func Latency() []float64 {
	limits := []float64{0.005, 0.1, 0.2, 0.25, 0.4, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 30, 60, 120}
	edges := limits[:1:1]
	for i, high := range limits[1:] {
		low := limits[i]
		steps := math.Ceil(math.Log(high/low)/math.Log(1.25) - 1e-9)
		for k := 1.0; k < steps; k++ {
			edges = append(edges, threeDigits(low*math.Pow(high/low, k/steps)))
		}
		edges = append(edges, high)
	}
	return edges
}

// threeDigits rounds to three significant digits.
func threeDigits(x float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'e', 2, 64), 64)
	return rounded
}
