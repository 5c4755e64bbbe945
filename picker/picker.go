package picker

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Request is what a choice depends on.
type Request struct {
	Model  string // the name the model server is asked for; "" when it is not known
	Subset Subset
	// Sheddable says that a saturated pool may refuse the request.
	Sheddable bool

	except []netip.AddrPort // chosen before
}

// Filter tells whether an endpoint is eligible for a request.
type Filter func(*Endpoint, *Request) bool

// Scorer judges a load between 0 (avoid) and 1 (idle). Scores are multiplied,
// so only their ratios matter, and one bad score spoils the rest.
type Scorer func(View) float64

// Reason says why a pick came out as it did: a label of
// infer_picker_picks_total and, on refusals, a response header.
type Reason string

// The reasons. Those after OnlyOne come with no endpoint.
const (
	ByLoad      Reason = "load"              // the better of two by fresh loads
	ByInFlight  Reason = "in_flight"         // no eligible endpoint has a fresh load; own requests decided
	OnlyOne     Reason = "only_one"          // one endpoint was eligible
	NoEndpoints Reason = "no_endpoints"      // the pool has none
	NoneReady   Reason = "none_ready"        // none is ready and not terminating
	NotInSubset Reason = "not_in_subset"     // the hint names none of those that are
	Shed        Reason = "shed"              // the pool is saturated and the request can be shed
	NotLoaded   Reason = "target_not_loaded" // the rule's draw fell on a target that no endpoint has loaded
	Late        Reason = "deadline"          // the decision took too long
)

// Reasons lists them all.
func Reasons() []Reason {
	return []Reason{ByLoad, ByInFlight, OnlyOne, NoEndpoints, NoneReady, NotInSubset, Shed, NotLoaded, Late}
}

// Options of a Picker; a zero field has the default named beside it.
type Options struct {
	Staleness time.Duration      // age at which a load counts for nothing: 5 s
	Scorers   []Scorer           // none: all endpoints are equal
	Clock     clock.PassiveClock // the real one
	// A pool is saturated when every eligible endpoint with a fresh load has this
	// many requests in its queue (5), or this share of its KV cache in use (0.8).
	ShedQueue, ShedKVCache float64
	Exp                    func() float64 // draws from the exponential distribution with mean 1; must be safe for concurrent use
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

	shedQueue, shedKVCache float64
}

// New returns a Picker with an empty snapshot.
func New(o Options) *Picker {
	p := &Picker{
		staleness: o.Staleness,
		filters:   []Filter{available, inSubset, notChosen},
		scorers:   o.Scorers,
		clock:     o.Clock,
		exp:       o.Exp,

		shedQueue: cmp.Or(o.ShedQueue, 5), shedKVCache: cmp.Or(o.ShedKVCache, 0.8),
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

// Unloaded tells whether a model is known to be loaded nowhere: there are
// endpoints that may be picked, and each of them has just said that it does not
// answer to it. Not knowing is not that.
func (p *Picker) Unloaded(model string) bool {
	endpoints, now := p.snapshot.Load().Endpoints, p.clock.Now()
	asked := false
	for i := range endpoints {
		if e := &endpoints[i]; available(e, nil) {
			if !e.Live.lacks(model, now, p.staleness) {
				return false
			}
			asked = true
		}
	}
	return asked
}

func available(e *Endpoint, _ *Request) bool { return e.Ready && !e.Terminating }
func notChosen(e *Endpoint, r *Request) bool { return !slices.Contains(r.except, e.Address) }
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
//
// When eligible endpoints answer to r.Model, or do not say, only those are
// chosen from. When none does, all are: the model server's refusal is the one
// that the client can understand.
func (p *Picker) Pick(r *Request) (*Endpoint, Reason) {
	endpoints := p.snapshot.Load().Endpoints
	now := p.clock.Now()
	s := p.survey(endpoints, r, now)
	if s.eligible == 0 {
		return nil, refusal(endpoints)
	}
	if r.Sheddable && s.fresh > 0 && s.saturated == s.fresh {
		return nil, Shed
	}
	chosen := p.better(endpoints, r, now, s)
	switch {
	case s.candidates() == 1:
		return chosen, OnlyOne
	case s.fresh == 0:
		return chosen, ByInFlight
	default:
		return chosen, ByLoad
	}
}

// Fallbacks returns up to n endpoints to try when first does not answer, the
// most deserving first. It chooses as Pick does, and allocates.
func (p *Picker) Fallbacks(r *Request, first *Endpoint, n int) []*Endpoint {
	var chosen []*Endpoint
	without := *r
	without.Sheddable = false
	without.except = append(without.except, first.Address)
	for len(chosen) < n {
		next, _ := p.Pick(&without)
		if next == nil {
			break
		}
		chosen = append(chosen, next)
		without.except = append(without.except, next.Address)
	}
	return chosen
}

// survey is what the eligible endpoints are like together.
type survey struct {
	eligible  int
	serving   int  // of these, those that answer to the request's model or do not say
	fresh     int  // of the candidates, those with a fresh load
	saturated int  // of those
	average   View // of those
}

// candidates is the number of endpoints to choose from.
func (s *survey) candidates() int {
	if s.serving > 0 {
		return s.serving
	}
	return s.eligible
}

// candidate tells whether an endpoint is to be chosen from.
func (p *Picker) candidate(e *Endpoint, r *Request, serving int) bool {
	return p.eligible(e, r) && (serving == 0 || e.Live.Serves(r.Model))
}

func (p *Picker) survey(endpoints []Endpoint, r *Request, now time.Time) survey {
	var s survey
	for i := range endpoints {
		if e := &endpoints[i]; p.eligible(e, r) {
			s.eligible++
			if e.Live.Serves(r.Model) {
				s.serving++
			}
		}
	}
	for i := range endpoints {
		e := &endpoints[i]
		if !p.candidate(e, r, s.serving) {
			continue
		}
		if v, ok := e.Live.view(r.Model, now, p.staleness); ok {
			s.fresh++
			if v.Waiting >= p.shedQueue || v.KVCache >= p.shedKVCache {
				s.saturated++
			}
			s.average.Outstanding += v.Outstanding
			s.average.Waiting += v.Waiting
			s.average.KVCache += v.KVCache
		}
	}
	if s.fresh > 0 {
		s.average.Outstanding /= float64(s.fresh)
		s.average.Waiting /= float64(s.fresh)
		s.average.KVCache /= float64(s.fresh)
	}
	return s
}

// better draws two different eligible endpoints, each in proportion to its
// score, and returns the one with the higher score. The draw is the weighted
// reservoir of Efraimidis and Spirakis (2006): the smallest of exponential
// variables divided by weights; it needs no memory of the scores.
func (p *Picker) better(endpoints []Endpoint, r *Request, now time.Time, s survey) *Endpoint {
	type draw struct {
		endpoint   *Endpoint
		key, score float64
	}
	first, second := draw{key: math.Inf(1)}, draw{key: math.Inf(1)}
	for i := range endpoints {
		e := &endpoints[i]
		if !p.candidate(e, r, s.serving) {
			continue
		}
		d := draw{endpoint: e, score: p.score(e, r.Model, now, s.average)}
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
func (p *Picker) score(e *Endpoint, model string, now time.Time, average View) float64 {
	v, fresh := e.Live.view(model, now, p.staleness)
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
