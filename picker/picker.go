package picker

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
)

// Request is what a choice depends on.
type Request struct {
	Model  string // the name the model server is asked for; "" when it is not known
	Subset Subset
	// Priority decides who is refused when the pool is saturated; 0 is the usual one.
	Priority int
	// Prompt tells what the model servers hold of the prompt; nil: nobody knows.
	Prompt *prefix.Match
	// Deadline ends the choice; the zero time: none.
	Deadline time.Time

	except []netip.AddrPort // chosen before
}

// Choice is what came of a request. Without an Endpoint it was refused, and only
// Reason is set.
type Choice struct {
	Endpoint   *Endpoint
	Reason     Reason
	Candidates int // endpoints it was chosen from
	View       View
	Score      float64
}

// Scorer judges a load between 0 (avoid) and 1 (idle). Scores are multiplied,
// so only their ratios matter, and one bad score spoils the rest.
type Scorer func(View) float64

// Reason says why a pick came out as it did: a label of
// infer_picker_picks_total and, on refusals, a response header.
type Reason string

// The reasons. Those after OnlyOne come with no endpoint.
const (
	ByLoad      Reason = "load"              // the better of two by fresh loads
	ByPrefix    Reason = "prefix"            // that one holds the beginning of the prompt
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
	return []Reason{ByLoad, ByPrefix, ByInFlight, OnlyOne, NoEndpoints, NoneReady, NotInSubset, Shed, NotLoaded, Late}
}

// Options of a Picker; a zero field has the default named beside it.
type Options struct {
	Staleness time.Duration      // age at which a load counts for nothing: 5 s
	Scorers   []Scorer           // none: all endpoints are equal
	Clock     clock.PassiveClock // the real one
	// A pool is saturated when every eligible endpoint with a fresh load has this
	// many requests in its queue (5), or this share of its KV cache in use (0.8).
	ShedQueue, ShedKVCache float64
	ShedBelow              int            // requests of a lower priority are refused then: 0
	Exp                    func() float64 // draws from the exponential distribution with mean 1; must be safe for concurrent use
}

// Picker chooses among the endpoints of the snapshot it was given last. Its
// methods may be called by any number of goroutines.
type Picker struct {
	snapshot  atomic.Pointer[Snapshot]
	staleness time.Duration
	scorers   []Scorer
	clock     clock.PassiveClock
	exp       func() float64

	shedQueue, shedKVCache float64
	shedBelow              int

	slots   atomic.Uint32    // given out
	scratch chan []candidate // at rest between two picks
}

// New returns a Picker with an empty snapshot.
func New(o Options) *Picker {
	p := &Picker{
		staleness: o.Staleness,
		scorers:   o.Scorers,
		clock:     o.Clock,
		exp:       o.Exp,

		shedQueue: cmp.Or(o.ShedQueue, 5), shedKVCache: cmp.Or(o.ShedKVCache, 0.8), shedBelow: o.ShedBelow,
		scratch: make(chan []candidate, 4*runtime.GOMAXPROCS(0)),
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
func (p *Picker) SetSnapshot(s *Snapshot) {
	for i := range s.Endpoints {
		if slot := &s.Endpoints[i].Live.slot; slot.Load() == 0 {
			slot.CompareAndSwap(0, p.slots.Add(1))
		}
	}
	p.snapshot.Store(s)
}

// Snapshot returns what is chosen from now.
func (p *Picker) Snapshot() *Snapshot { return p.snapshot.Load() }

// Unloaded tells whether a model is known to be loaded nowhere: there are
// endpoints that may be picked, and each of them has just said that it does not
// answer to it. Not knowing is not that.
func (p *Picker) Unloaded(model string) bool {
	endpoints, now := p.snapshot.Load().Endpoints, p.clock.Now()
	asked := false
	for i := range endpoints {
		if e := &endpoints[i]; e.available() {
			if !e.Live.lacks(model, now, p.staleness) {
				return false
			}
			asked = true
		}
	}
	return asked
}

func (e *Endpoint) available() bool { return e.Ready && !e.Terminating }

func eligible(e *Endpoint, r *Request) bool {
	return e.available() && r.Subset.Includes(e.Address) && !(len(r.except) > 0 && slices.Contains(r.except, e.Address))
}

// Pick chooses an endpoint for r. It allocates nothing and does not count the
// request: that is Live.Begin's part.
//
// When eligible endpoints answer to r.Model, or do not say, only those are
// chosen from. When none does, all are: the model server's refusal is the one
// that the client can understand.
func (p *Picker) Pick(r *Request) Choice {
	endpoints, now := p.snapshot.Load().Endpoints, p.clock.Now()
	candidates, s, ok := p.gather(p.borrow(), endpoints, r, now)
	defer p.giveBack(candidates)
	switch {
	case !ok:
		return Choice{Reason: Late}
	case len(candidates) == 0:
		return Choice{Reason: refusal(endpoints)}
	}
	if r.Priority < p.shedBelow && s.fresh > 0 && s.saturated == s.fresh {
		return Choice{Reason: Shed}
	}
	c, ok := p.better(candidates, r, s)
	if !ok {
		return Choice{Reason: Late}
	}
	c.Candidates = len(candidates)
	switch {
	case len(candidates) == 1:
		c.Reason = OnlyOne
	case r.Prompt != nil && r.Prompt.Held(c.Endpoint.Live.Slot()) > 0:
		c.Reason = ByPrefix
	case s.fresh == 0:
		c.Reason = ByInFlight
	default:
		c.Reason = ByLoad
	}
	return c
}

// borrow returns room for candidates, and giveBack keeps it for the next pick.
func (p *Picker) borrow() []candidate {
	select {
	case room := <-p.scratch:
		return room[:0]
	default:
		return nil
	}
}

func (p *Picker) giveBack(room []candidate) {
	select {
	case p.scratch <- room:
	default:
	}
}

// candidate is an endpoint to choose from.
type candidate struct {
	endpoint *Endpoint
	view     View
	fresh    bool // the load in view is
}

// checkEvery is the number of endpoints between two looks at the deadline.
const checkEvery = 32

// late tells, now and then, that the deadline has passed.
func (p *Picker) late(r *Request, i int) bool {
	return i%checkEvery == checkEvery-1 && !r.Deadline.IsZero() && p.clock.Now().After(r.Deadline)
}

// gather appends the endpoints to choose from; not ok when it took too long.
func (p *Picker) gather(to []candidate, endpoints []Endpoint, r *Request, now time.Time) (candidates []candidate, s survey, ok bool) {
	gain := p.gain(endpoints, now)
	serving := 0 // of to, at its beginning: those that answer to the model
	var served answers
	for i := range endpoints {
		e := &endpoints[i]
		if p.late(r, i) {
			return to, s, false
		}
		if !eligible(e, r) {
			continue
		}
		serves, lora := served.of(e.Live, r.Model)
		if !serves && serving > 0 {
			continue
		}
		if serves && serving == 0 {
			to, s = to[:0], survey{}
		}
		c := candidate{endpoint: e}
		c.view, c.fresh = e.Live.view(r.Model, lora, now, p.staleness, gain)
		if r.Prompt != nil {
			c.view.Missing = r.Prompt.Missing(e.Live.Slot())
		}
		if c.fresh {
			s.add(c.view, e.Live.queued() >= p.shedQueue || c.view.KVCache >= p.shedKVCache)
		}
		to = append(to, c)
		if serves {
			serving++
		}
	}
	return to, s.averaged(), true
}

// gain estimates how many pickers there are like this one: the requests that the model
// servers said they had, in those of our own at that time. All see the same answers and
// would fill the same gap, each for itself; so each counts what it began since as often.
func (p *Picker) gain(endpoints []Endpoint, now time.Time) float64 {
	const most = 8
	var said, own float64
	for i := range endpoints {
		if load := endpoints[i].Live.load.Load(); load != nil && now.Sub(load.At) <= p.staleness {
			said += load.Running + load.Waiting
			own += float64(load.InFlight)
		}
	}
	return min(max(said/max(own, 1), 1), most)
}

// survey is what the candidates are like together.
type survey struct {
	fresh     int  // those with a fresh load
	saturated int  // of those
	average   View // of those; their sum until averaged
}

func (s *survey) add(v View, saturated bool) {
	s.fresh++
	if saturated {
		s.saturated++
	}
	s.average.Outstanding += v.Outstanding
	s.average.Waiting += v.Waiting
	s.average.KVCache += v.KVCache
}

func (s survey) averaged() survey {
	if n := float64(s.fresh); n > 0 {
		s.average.Outstanding /= n
		s.average.Waiting /= n
		s.average.KVCache /= n
	}
	return s
}

// better draws two different candidates, each in proportion to the cube of its score,
// and returns the one with the higher score; not ok when it took too long. The cube
// leaves little to those far behind, which in proportion to the score alone, or in its
// square, waited for more first tokens (docs/picker-quality.md). The draw is
// the weighted reservoir of Efraimidis and Spirakis (2006): the smallest of
// exponential variables divided by weights; it needs no memory of the scores.
func (p *Picker) better(candidates []candidate, r *Request, s survey) (better Choice, ok bool) {
	type draw struct {
		at         *candidate
		key, score float64
	}
	first, second := draw{key: math.Inf(1)}, draw{key: math.Inf(1)}
	for i := range candidates {
		if p.late(r, i) {
			return Choice{}, false
		}
		d := draw{at: &candidates[i]}
		d.score = p.score(d.at, s.average)
		d.key = p.exp() / (d.score * d.score * d.score)
		switch {
		case first.at == nil || d.key < first.key:
			first, second = d, first
		case second.at == nil || d.key < second.key:
			second = d
		}
	}
	if second.at != nil && second.score > first.score {
		first = second
	}
	return Choice{Endpoint: first.at.endpoint, View: first.at.view, Score: first.score}, true
}

// score multiplies the scorers' judgements of one candidate. What a stale one
// does not tell is taken to be the average of the fresh ones.
func (p *Picker) score(c *candidate, average View) float64 {
	if !c.fresh {
		c.view.Outstanding = max(c.view.Outstanding, average.Outstanding)
		c.view.Waiting, c.view.KVCache = average.Waiting, average.KVCache
	}
	score := 1.0
	for _, s := range p.scorers {
		score *= s(c.view)
	}
	return score
}

// Fallbacks returns up to n endpoints to try when first does not answer, the
// most deserving first. It chooses as Pick does, and allocates.
func (p *Picker) Fallbacks(r *Request, first *Endpoint, n int) []*Endpoint {
	var chosen []*Endpoint
	without := *r
	without.Priority = max(r.Priority, p.shedBelow) // it was let in
	without.except = append(without.except, first.Address)
	for len(chosen) < n {
		next := p.Pick(&without).Endpoint
		if next == nil {
			break
		}
		chosen = append(chosen, next)
		without.except = append(without.except, next.Address)
	}
	return chosen
}

func refusal(endpoints []Endpoint) Reason {
	if len(endpoints) == 0 {
		return NoEndpoints
	}
	for i := range endpoints {
		if endpoints[i].available() {
			return NotInSubset
		}
	}
	return NoneReady
}
