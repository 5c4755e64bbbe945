package picker

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Request is what a choice depends on.
type Request struct {
	Model  string // the name the client asked for; "" when it is not known
	Subset Subset
}

// Filter tells whether an endpoint is eligible for a request.
type Filter func(*Endpoint, *Request) bool

// Scorer judges a load between 0 (avoid) and 1 (idle). Scores are multiplied,
// so only their ratios matter, and one bad score spoils the rest.
type Scorer func(View) float64

// Reason says why a pick came out as it did: a label of
// infer_picker_picks_total and, on refusals, a response header.
type Reason string

// The reasons. The last three come with no endpoint.
const (
	ByLoad      Reason = "load"          // the better of two by fresh loads
	ByInFlight  Reason = "in_flight"     // no eligible endpoint has a fresh load; own requests decided
	OnlyOne     Reason = "only_one"      // one endpoint was eligible
	NoEndpoints Reason = "no_endpoints"  // the pool has none
	NoneReady   Reason = "none_ready"    // none is ready and not terminating
	NotInSubset Reason = "not_in_subset" // the hint names none of those that are
)

// Options of a Picker; a zero field has the default named beside it.
type Options struct {
	Staleness time.Duration      // age at which a load counts for nothing: 5 s
	Scorers   []Scorer           // none: all endpoints are equal
	Clock     clock.PassiveClock // the real one
	Exp       func() float64     // draws from the exponential distribution with mean 1; must be safe for concurrent use
}

// Picker chooses among the endpoints of the snapshot it was given last. Its
// methods may be called by any number of goroutines.
type Picker struct {
	snapshot  atomic.Pointer[Snapshot]
	staleness time.Duration
	filters   []Filter
	scorers   []Scorer
	clock     clock.PassiveClock
	exp       func() float64
}

// New returns a Picker with an empty snapshot.
func New(o Options) *Picker {
	p := &Picker{
		staleness: o.Staleness,
		filters:   []Filter{available, inSubset},
		scorers:   o.Scorers,
		clock:     o.Clock,
		exp:       o.Exp,
	}
	if p.staleness <= 0 {
		p.staleness = 5 * time.Second
	}
	if p.clock == nil {
		p.clock = clock.RealClock{}
	}
	if p.exp == nil {
		p.exp = rand.ExpFloat64
	}
	p.snapshot.Store(&Snapshot{})
	return p
}

// SetSnapshot replaces what is chosen from; picks that are under way finish
// with the old one.
func (p *Picker) SetSnapshot(s *Snapshot) { p.snapshot.Store(s) }

// Snapshot returns what is chosen from now.
func (p *Picker) Snapshot() *Snapshot { return p.snapshot.Load() }

func available(e *Endpoint, _ *Request) bool { return e.Ready && !e.Terminating }
func inSubset(e *Endpoint, r *Request) bool  { return r.Subset.Includes(e.Address) }

func (p *Picker) eligible(e *Endpoint, r *Request) bool {
	for _, f := range p.filters {
		if !f(e, r) {
			return false
		}
	}
	return true
}

// Pick chooses an endpoint for r, or nil and the reason why there is none. It
// allocates nothing and does not count the request: that is Live.Begin's part.
func (p *Picker) Pick(r *Request) (*Endpoint, Reason) {
	endpoints := p.snapshot.Load().Endpoints
	now := p.clock.Now()
	n, average, fresh := p.survey(endpoints, r, now)
	if n == 0 {
		return nil, refusal(endpoints)
	}
	chosen := p.better(endpoints, r, now, average)
	switch {
	case n == 1:
		return chosen, OnlyOne
	case fresh == 0:
		return chosen, ByInFlight
	default:
		return chosen, ByLoad
	}
}

// survey counts the eligible endpoints and averages those with a fresh load.
func (p *Picker) survey(endpoints []Endpoint, r *Request, now time.Time) (n int, average View, fresh int) {
	for i := range endpoints {
		e := &endpoints[i]
		if !p.eligible(e, r) {
			continue
		}
		n++
		if v, ok := e.Live.view(now, p.staleness); ok {
			fresh++
			average.Outstanding += v.Outstanding
			average.Waiting += v.Waiting
			average.KVCache += v.KVCache
		}
	}
	if fresh > 0 {
		average.Outstanding /= float64(fresh)
		average.Waiting /= float64(fresh)
		average.KVCache /= float64(fresh)
	}
	return n, average, fresh
}

// better draws two different eligible endpoints, each in proportion to its
// score, and returns the one with the higher score. The draw is the weighted
// reservoir of Efraimidis and Spirakis (2006): the smallest of exponential
// variables divided by weights; it needs no memory of the scores.
func (p *Picker) better(endpoints []Endpoint, r *Request, now time.Time, average View) *Endpoint {
	type draw struct {
		endpoint   *Endpoint
		key, score float64
	}
	first, second := draw{key: math.Inf(1)}, draw{key: math.Inf(1)}
	for i := range endpoints {
		e := &endpoints[i]
		if !p.eligible(e, r) {
			continue
		}
		d := draw{endpoint: e, score: p.score(e, now, average)}
		d.key = p.exp() / d.score
		switch {
		case first.endpoint == nil || d.key < first.key:
			first, second = d, first
		case second.endpoint == nil || d.key < second.key:
			second = d
		}
	}
	if second.endpoint != nil && second.score > first.score {
		return second.endpoint
	}
	return first.endpoint
}

// score multiplies the scorers' judgements of one endpoint. What a stale one
// does not tell is taken to be the average of the fresh ones.
func (p *Picker) score(e *Endpoint, now time.Time, average View) float64 {
	v, fresh := e.Live.view(now, p.staleness)
	if !fresh {
		v = View{
			Outstanding: max(v.Outstanding, average.Outstanding),
			Waiting:     average.Waiting,
			KVCache:     average.KVCache,
		}
	}
	score := 1.0
	for _, s := range p.scorers {
		score *= s(v)
	}
	return score
}

func refusal(endpoints []Endpoint) Reason {
	if len(endpoints) == 0 {
		return NoEndpoints
	}
	for i := range endpoints {
		if available(&endpoints[i], nil) {
			return NotInSubset
		}
	}
	return NoneReady
}
