// Package score holds the scorers of the endpoint picker: small functions from
// a model server's load to a number between 0 and 1. Start reading at Default.
//
// Scores are ratios: the picker multiplies them, so an endpoint with twice the
// score of another is drawn twice as often, whatever the others say.
package score

import "github.com/kubectl-infer/kubectl-infer/picker"

// Default returns the scorers in use: requests there, requests queued there,
// KV cache, LoRA adapter. A queued request is among the outstanding ones too, so it weighs
// double: it is the one that makes a new request wait for its first token,
// while running ones share the batch.
func Default() []picker.Scorer {
	return []picker.Scorer{Outstanding, Queue, KVCache, Adapter}
}

// Outstanding prefers few requests, running or waiting: 1 when idle, 1/(1+n)
// with n of them.
func Outstanding(v picker.View) float64 { return 1 / (1 + v.Outstanding) }

// Queue prefers a short queue: 1/(1+n) with n waiting.
func Queue(v picker.View) float64 { return 1 / (1 + v.Waiting) }

// KVCache prefers free KV cache: the free share, at least floor, because a full
// cache delays a request and does not refuse it.
func KVCache(v picker.View) float64 {
	const floor = 0.02
	return max(floor, 1-v.KVCache)
}

// Adapter prefers servers that have the request's LoRA adapter in their batch.
// Loading one into a free slot costs about as much as three requests ahead,
// waiting for one that others wait for already less, and throwing out another
// one, for which requests may come back at once, the most.
func Adapter(v picker.View) float64 {
	switch v.Adapter {
	case picker.AdapterLoading:
		return 0.6
	case picker.AdapterRoom:
		return 0.25
	case picker.AdapterFull:
		return 0.05
	default:
		return 1
	}
}
