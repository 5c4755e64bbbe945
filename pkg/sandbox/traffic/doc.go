// Package traffic drives OpenAI-style requests through a sandbox gateway and
// says what came back. It is the library behind `kubectl infer sandbox load`.
//
// Start reading at Run. Arrivals are an open loop: they come at random moments
// of a Poisson process whose every draw is fixed by the seed, whether or not
// earlier requests have been answered, as users do. Concurrency bounds the
// requests in flight; an arrival past it is counted as skipped.
//
// The files are options.go (what to drive), arrivals.go (the seeded sequence of
// requests), run.go (the loop), request.go (one request and its answer, read
// as it comes), record.go (counts and samples) and summary.go (what is shown).
//
// An answer is ok when its status is 2xx and it is whole: a stream must end
// with "data: [DONE]" and carry no error event, another answer must be JSON. A
// request that Run itself gave up because its context ended is canceled, which
// is neither ok nor failed. TTFT is measured on streaming requests only, from
// sending to the first event; for others it would be the whole duration.
//
// Percentiles are exact (nearest rank) up to 65,536 samples each; past that they
// come from a uniform, seeded reservoir of that size. Counts are always exact.
// Memory does not grow with the length of a run or of an answer.
package traffic
