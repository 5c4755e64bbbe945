// Package score holds the scorers of the endpoint picker: small functions from
// a model server's load to a number between 0 and 1. Start reading at New.
//
// Scores are ratios: the picker multiplies them, so what doubles one score makes up
// for what halves another, whatever the rest says. A weight is an exponent: at 2 a
// scorer counts twice, at 0 not at all.
package score

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

// Weights gives each scorer, by name, its weight; those not named have 1.
type Weights map[string]float64

// named are the scorers there are, in the order in which they are multiplied.
func named() []struct {
	name  string
	score picker.Scorer
} {
	return []struct {
		name  string
		score picker.Scorer
	}{
		{"requests", Outstanding},
		{"queue", Queue},
		{"kv-cache", KVCache},
		{"lora", Adapter},
		{"prefix", Prefix},
	}
}

// Names lists the scorers.
func Names() []string {
	var names []string
	for _, s := range named() {
		names = append(names, s.name)
	}
	return names
}

// maxWeight keeps the product of all scores a number that is not 0.
const maxWeight = 10

// New returns the scorers in use. A queued request is among the outstanding ones
// too, so it counts half as much again: it is the one that makes a new request wait for
// its first token, while running ones share the batch. Counting double it outweighed
// an adapter or a prompt that a server holds, and first tokens came later.
func New(weights Weights) ([]picker.Scorer, error) {
	for name, w := range weights {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("no scorer %q: there are %s", name, strings.Join(Names(), ", "))
		}
		if !(w >= 0 && w <= maxWeight) {
			return nil, fmt.Errorf("weight %v of scorer %s: not between 0 and %d", w, name, maxWeight)
		}
	}
	var scorers []picker.Scorer
	for _, s := range named() {
		w, set := weights[s.name]
		switch score := s.score; {
		case !set || w == 1:
			scorers = append(scorers, score)
		case w > 0:
			scorers = append(scorers, func(v picker.View) float64 { return math.Pow(score(v), w) })
		}
	}
	return scorers, nil
}

// Outstanding prefers few requests, running or waiting: 1 when idle, 1/(1+n)
// with n of them.
func Outstanding(v picker.View) float64 { return 1 / (1 + v.Outstanding) }

// Queue prefers a short queue: 1/√(1+n) with n waiting.
func Queue(v picker.View) float64 { return 1 / math.Sqrt(1+v.Waiting) }

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

// Prefix prefers servers that hold the beginning of the prompt: to compute all of
// a long one is worth three requests ahead.
func Prefix(v picker.View) float64 { return 1 / (1 + 3*v.Missing) }
