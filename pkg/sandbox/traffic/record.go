package traffic

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	reservoirSize = 1 << 16
	maxAnswers    = 256 // distinct pairs of backend and model; the rest are "other"
)

// reservoir keeps all samples while they fit, then a uniform choice of them
// (Vitter 1985, algorithm R).
type reservoir struct {
	r       *rand.Rand
	samples []time.Duration
	seen    int64
	largest time.Duration
}

func newReservoir(seed uint64) reservoir {
	return reservoir{r: rand.New(rand.NewPCG(seed, 1))}
}

func (v *reservoir) add(d time.Duration) {
	v.seen++
	v.largest = max(v.largest, d)
	if len(v.samples) < reservoirSize {
		v.samples = append(v.samples, d)
	} else if i := v.r.Int64N(v.seen); i < reservoirSize {
		v.samples[i] = d
	}
}

func (v *reservoir) reset() { v.samples, v.seen, v.largest = v.samples[:0], 0, 0 }

// quantile is the nearest-rank quantile of sorted samples, 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func (v *reservoir) percentiles() Percentiles {
	sorted := slices.Sorted(slices.Values(v.samples))
	at := func(q float64) float64 { return quantile(sorted, q).Seconds() }
	return Percentiles{Count: v.seen, P50: at(.5), P90: at(.9), P95: at(.95), P99: at(.99), Max: v.largest.Seconds()}
}

// record is the tally of a run, shared by its requests.
type record struct {
	mu      sync.Mutex
	flying  int // requests in flight
	sum     Summary
	answers map[[2]string]*Answer
	ttft    reservoir
	total   reservoir
	second  reservoir // TTFT since the last live report
	before  int64     // sent at the last live report
}

func newRecord(seed uint64) *record {
	return &record{
		sum:     Summary{Codes: map[string]int64{}, Errors: map[string]int64{}},
		answers: map[[2]string]*Answer{},
		ttft:    newReservoir(seed),
		total:   newReservoir(seed + 1),
		second:  newReservoir(seed + 2),
	}
}

// begin counts one arrival and reports whether it may be sent.
func (r *record) begin(limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flying >= limit {
		r.sum.Skipped++
		return false
	}
	r.sum.Sent++
	r.flying++
	return true
}

func (r *record) end(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying--
	if o.canceled {
		r.sum.Canceled++
		return
	}
	if o.ttft > 0 {
		r.ttft.add(o.ttft)
		r.second.add(o.ttft)
	}
	if o.code != 0 {
		r.sum.Codes[strconv.Itoa(o.code)]++
	}
	if o.kind != "" {
		r.sum.Errors[o.kind]++
	}
	by := r.answer(o)
	if o.ok() {
		r.sum.OK++
		by.OK++
		r.total.add(o.total)
	} else {
		r.sum.Failed++
		by.Failed++
	}
}

func (r *record) answer(o outcome) *Answer {
	key := [2]string{o.backend, o.model}
	if r.answers[key] == nil && len(r.answers) >= maxAnswers {
		key = [2]string{"other", "other"}
	}
	if r.answers[key] == nil {
		r.answers[key] = &Answer{Backend: key[0], Model: key[1]}
	}
	return r.answers[key]
}

// tick returns the snapshot at since, elapsed after the one before.
func (r *record) tick(since, elapsed time.Duration) Live {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.second.samples)
	l := Live{
		Elapsed: since, InFlight: r.flying,
		Sent: r.sum.Sent, OK: r.sum.OK, Failed: r.sum.Failed, Skipped: r.sum.Skipped,
		Rate:    float64(r.sum.Sent-r.before) / elapsed.Seconds(),
		P95TTFT: quantile(r.second.samples, .95),
	}
	r.before = l.Sent
	r.second.reset()
	return l
}

// finish returns the summary of a run whose arrivals took arrived.
func (r *record) finish(arrived time.Duration) Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sum
	s.Seconds = arrived.Seconds()
	if s.Seconds > 0 {
		s.Rate = float64(s.Sent) / s.Seconds
	}
	s.TTFT, s.EndToEnd = r.ttft.percentiles(), r.total.percentiles()
	for _, a := range r.answers {
		s.Answers = append(s.Answers, *a)
	}
	slices.SortFunc(s.Answers, func(a, b Answer) int {
		return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Model, b.Model))
	})
	return s
}
