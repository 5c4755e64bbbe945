package modelsim

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	// referencePrompt is the prompt length, in tokens, whose prefill takes
	// --ttft on average.
	referencePrompt = 128
	// batchGrowth is how much longer everything takes in a full batch.
	batchGrowth = 0.5
)

// draw kinds keep the random streams of one seed apart.
const (
	drawPrefill uint64 = iota + 1
	drawStep
	drawStall
	drawOutput
	drawError
	drawShare
)

// draw returns the random stream of the nth event of a kind. It depends on
// nothing else, so concurrency cannot change a draw.
func draw(seed, kind, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed+kind), mix(n)))
}

// mix is the SplitMix64 finaliser (Steele, Lea, Flood 2014); it spreads
// neighbouring keys over all 64 bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// jittered scales d by a log-normal factor with mean 1 and shape sigma.
func jittered(d time.Duration, sigma float64, r *rand.Rand) time.Duration {
	if sigma == 0 {
		return d
	}
	return time.Duration(float64(d) * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2))
}

// prefill is the time from admission to first token of request n, given its
// prompt tokens that are not cached and the load of the batch (0–1).
func (c EngineConfig) prefill(n uint64, uncached int, load float64) time.Duration {
	size := 0.5 + 0.5*float64(uncached)/referencePrompt
	mean := time.Duration(float64(c.TTFT) * size * (1 + batchGrowth*load))
	return jittered(mean, c.Jitter, draw(c.Seed, drawPrefill, n))
}

// step is the length of decode step n at the given load of the batch (0–1).
func (c EngineConfig) step(n uint64, load float64) time.Duration {
	mean := time.Duration(float64(c.TPOT) * (1 + batchGrowth*load))
	return max(jittered(mean, c.Jitter, draw(c.Seed, drawStep, n)), time.Microsecond)
}

// stallGap is the time between the ends of stall n-1 and the start of stall n.
func (c EngineConfig) stallGap(n uint64) time.Duration {
	return time.Duration(float64(c.StallEvery) * draw(c.Seed, drawStall, n).ExpFloat64())
}

// outputLength draws how many tokens request n would answer if nobody stopped
// it: half to one and a half times the mean.
func outputLength(seed, n uint64, mean int) int {
	return max(1, int(math.Round(float64(mean)*(0.5+draw(seed, drawOutput, n).Float64()))))
}
