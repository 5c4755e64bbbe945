package simulate

import (
	"slices"
	"time"
)

// Result is what became of one trace, or of several.
type Result struct {
	TTFT    []time.Duration // of each request that was answered
	Sent    []int           // requests, by server
	Refused int             // by a server whose queue was full
	Held    int             // prompt tokens that the chosen servers' caches held
	Prompts int             // prompt tokens
}

// Run serves the trace of a seed under one kind of choice.
func (s Scenario) Run(k Kind, seed uint64) Result { return s.Serve(k, s.Trace(seed), seed) }

// Serve serves a trace of this scenario; the seed is that of the servers and of choices.
func (s Scenario) Serve(k Kind, trace []Request, seed uint64) Result {
	r := newRun(s, k, seed)
	r.play(trace)
	return r.result
}

// Plus adds the result of another trace.
func (r Result) Plus(o Result) Result {
	sum := Result{
		TTFT: slices.Concat(r.TTFT, o.TTFT), Sent: slices.Clone(o.Sent),
		Refused: r.Refused + o.Refused, Held: r.Held + o.Held, Prompts: r.Prompts + o.Prompts,
	}
	for i, n := range r.Sent {
		sum.Sent[i] += n
	}
	return sum
}

// Quantile is a quantile of the time to first token; a request that was refused never
// had one, and counts as the slowest.
func (r Result) Quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(r.TTFT))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted)+r.Refused)), len(sorted)-1)]
}

// Herding is the number of requests of the busiest server in means of all.
func (r Result) Herding() float64 {
	total := 0
	for _, n := range r.Sent {
		total += n
	}
	return float64(slices.Max(r.Sent)) * float64(len(r.Sent)) / float64(max(1, total))
}
