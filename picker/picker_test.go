package picker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	clocktesting "k8s.io/utils/clock/testing"
)

// The scorers of package score, which imports this one.
func testScorers() []Scorer {
	return []Scorer{
		func(v View) float64 { return 1 / (1 + v.Outstanding) },
		func(v View) float64 { return 1 / math.Sqrt(1+v.Waiting) },
		func(v View) float64 { return max(0.02, 1-v.KVCache) },
	}
}

const draws = 20_000

// seeded returns a picker with a fixed seed and a fake clock; one goroutine may
// use it.
func seeded(endpoints ...Endpoint) (*Picker, *clocktesting.FakeClock) {
	fake := clocktesting.NewFakeClock(time.Unix(1000, 0))
	p := New(Options{
		Scorers: testScorers(), Clock: fake,
		Exp: rand.New(rand.NewPCG(1, 2)).ExpFloat64,
	})
	p.SetSnapshot(&Snapshot{Endpoints: endpoints})
	return p, fake
}

func endpoint(n int) Endpoint {
	return NewEndpoint(netip.MustParseAddrPort(fmt.Sprintf("10.0.%d.%d:8000", n/250, n%250+1)))
}

// loaded is endpoint n with a fresh answer.
func loaded(n int, running, waiting, kv float64) Endpoint {
	e := endpoint(n)
	e.Live.Report(Load{At: time.Unix(1000, 0), Running: running, Waiting: waiting, KVCache: kv})
	return e
}

// shares picks often and returns how often each address came out.
func shares(t *testing.T, p *Picker, r Request) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for range draws {
		c := p.Pick(&r)
		if c.Endpoint == nil {
			t.Fatalf("no endpoint: %s", c.Reason)
		}
		got[c.Endpoint.Value] += 1.0 / draws
	}
	return got
}

func TestPickRefusesWithAReason(t *testing.T) {
	t.Parallel()
	notReady, terminating := endpoint(0), endpoint(1)
	notReady.Ready, terminating.Terminating = false, true
	elsewhere := Request{Subset: SubsetOf(structpb.NewStringValue("10.9.9.9:8000"))}
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		request   Request
		reason    Reason
	}{
		"an empty pool":                              {nil, Request{}, NoEndpoints},
		"an empty pool, whatever the hint":           {nil, elsewhere, NoEndpoints},
		"a pod that is not ready is never picked":    {[]Endpoint{notReady}, Request{}, NoneReady},
		"a pod that is terminating is never picked":  {[]Endpoint{terminating}, Request{}, NoneReady},
		"a hint that names nobody leaves nobody":     {[]Endpoint{endpoint(2)}, elsewhere, NotInSubset},
		"a hint cannot make a pod ready":             {[]Endpoint{notReady}, Request{Subset: SubsetOf(structpb.NewStringValue(notReady.Value))}, NoneReady},
		"a hint for what is not ready leaves nobody": {[]Endpoint{notReady, endpoint(2)}, Request{Subset: SubsetOf(structpb.NewStringValue(notReady.Value))}, NotInSubset},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			p, _ := seeded(tc.endpoints...)
			if c := p.Pick(&tc.request); c != (Choice{Reason: tc.reason}) {
				t.Errorf("got %+v; want none, %s", c, tc.reason)
			}
		})
	}
}

func TestPickPrefers(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		want      int
		share     float64 // at least
	}{
		"the clearly least loaded of three":       {[]Endpoint{loaded(0, 3, 3, 0.2), loaded(1, 0, 0, 0.1), loaded(2, 10, 10, 0.2)}, 1, 0.99},
		"equal requests: the freer KV cache":      {[]Endpoint{loaded(0, 4, 0, 0.2), loaded(1, 4, 0, 0.85)}, 0, 1},
		"equal totals: the one with no queue":     {[]Endpoint{loaded(0, 8, 0, 0.5), loaded(1, 4, 4, 0.5)}, 0, 1},
		"an idle one before many that are busy":   {[]Endpoint{loaded(0, 9, 9, 0.5), loaded(1, 9, 9, 0.5), loaded(2, 0, 0, 0), loaded(3, 9, 9, 0.5), loaded(4, 9, 9, 0.5)}, 2, 0.99},
		"a number that overflows loses, and ends": {[]Endpoint{loaded(0, math.MaxFloat64, math.MaxFloat64, 0), loaded(1, 5, 5, 0.5)}, 1, 1},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			p, _ := seeded(tc.endpoints...)
			got := shares(t, p, Request{})
			if got[tc.endpoints[tc.want].Value] < tc.share-1e-9 {
				t.Errorf("shares %v", got)
			}
			if c := p.Pick(&Request{}); c.Reason != ByLoad {
				t.Errorf("reason %s", c.Reason)
			}
		})
	}
}

func TestPickSharesAmongEquals(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		reason    Reason
	}{
		"equal loads":        {[]Endpoint{loaded(0, 2, 0, 0.3), loaded(1, 2, 0, 0.3), loaded(2, 2, 0, 0.3)}, ByLoad},
		"nothing known":      {[]Endpoint{endpoint(0), endpoint(1), endpoint(2)}, ByInFlight},
		"one is not scraped": {[]Endpoint{loaded(0, 2, 1, 0.3), endpoint(1), loaded(2, 2, 1, 0.3)}, ByLoad},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			p, _ := seeded(tc.endpoints...)
			for value, share := range shares(t, p, Request{}) {
				if math.Abs(share-1.0/3) > 0.02 {
					t.Errorf("%s has %.3f", value, share)
				}
			}
			if c := p.Pick(&Request{}); c.Reason != tc.reason {
				t.Errorf("reason %s", c.Reason)
			}
		})
	}
}

func TestStaleIsNeverIdle(t *testing.T) {
	t.Parallel()
	frozen := endpoint(0)
	frozen.Live.Report(Load{At: time.Unix(990, 0)}) // said "idle" ten seconds ago
	p, clock := seeded(frozen, loaded(1, 4, 0, 0.5), loaded(2, 4, 0, 0.5))
	if got := shares(t, p, Request{})[frozen.Value]; got > 0.35 {
		t.Errorf("an old answer of idle draws %.3f of the requests", got)
	}
	for range 5 {
		frozen.Live.Begin()
	}
	if got := shares(t, p, Request{})[frozen.Value]; got > 0.15 {
		t.Errorf("five own requests on the stale one, four on the others: it draws %.3f", got)
	}
	clock.Step(6 * time.Second) // now all are stale
	if got := shares(t, p, Request{})[frozen.Value]; got > 0.05 {
		t.Errorf("all stale, own requests decide: it draws %.3f", got)
	}
	if c := p.Pick(&Request{}); c.Reason != ByInFlight {
		t.Errorf("reason %s", c.Reason)
	}
}

func TestViewCorrectsTheLastAnswerByOwnRequests(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for rule, tc := range map[string]struct {
		load  *Load
		own   int
		want  float64
		fresh bool
	}{
		"no answer: own requests":                        {nil, 2, 2, false},
		"an answer as old as the limit still counts":     {&Load{At: now.Add(-5 * time.Second), Running: 7}, 0, 7, true},
		"an older one does not":                          {&Load{At: now.Add(-5*time.Second - 1), Running: 7}, 1, 1, false},
		"requests begun since are added":                 {&Load{At: now, Running: 3, Waiting: 2, InFlight: 1}, 3, 7, true},
		"requests ended since are taken off":             {&Load{At: now, Running: 3, InFlight: 2}, 1, 2, true},
		"never fewer than our own":                       {&Load{At: now, Running: 0, InFlight: 4}, 4, 4, true},
		"never less than none":                           {&Load{At: now, Running: 0, InFlight: 4}, 0, 0, true},
		"a frozen page of idle is corrected all the way": {&Load{At: now}, 9, 9, true},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var l Live
			if tc.load != nil {
				l.Report(*tc.load)
			}
			for range tc.own {
				l.Begin()
			}
			v, fresh := l.View("", now, 5*time.Second)
			if v.Outstanding != tc.want || fresh != tc.fresh {
				t.Errorf("got %v, %v", v.Outstanding, fresh)
			}
		})
	}
}

// What a server had queued when it spoke is not there for ever.
func TestTheQueueIsCorrectedByOwnRequests(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for rule, tc := range map[string]struct {
		waiting     float64
		own, before int64 // in flight now, and when it was asked
		gain, want  float64
	}{
		"nothing came or went":                       {4, 6, 6, 1, 4},
		"each that ended let one in":                 {4, 3, 6, 1, 1},
		"more than waited have ended":                {4, 0, 6, 1, 0},
		"each that came waits as well":               {4, 8, 6, 1, 6},
		"nobody waited: there may be room":           {0, 8, 6, 1, 0},
		"another picker sees the same and does so":   {4, 8, 6, 2, 8},
		"and its requests end as often":              {4, 5, 6, 2, 2},
		"four pickers: a queue is soon made or gone": {4, 5, 6, 4, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var l Live
			l.Report(Load{At: now, Running: 16, Waiting: tc.waiting, InFlight: tc.before})
			l.inFlight.Store(tc.own)
			v, _ := l.view("", false, now, time.Second, tc.gain)
			if outstanding := 16 + tc.waiting + tc.gain*float64(tc.own-tc.before); v.Waiting != tc.want || v.Outstanding != outstanding {
				t.Errorf("%v waiting of %v; want %v of %v", v.Waiting, v.Outstanding, tc.want, outstanding)
			}
		})
	}
}

func TestOtherPickersAreSeenInWhatTheServersSay(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	load := func(at time.Time, said float64, own int64) Endpoint {
		e := endpoint(0)
		e.Live.Report(Load{At: at, Running: said, InFlight: own})
		return e
	}
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		want      float64
	}{
		"all requests are our own":          {[]Endpoint{load(now, 6, 6), load(now, 4, 4)}, 1},
		"some have not arrived yet":         {[]Endpoint{load(now, 4, 6)}, 1},
		"half are ours: two pickers":        {[]Endpoint{load(now, 8, 2), load(now, 4, 4)}, 2},
		"none are ours yet: it is bounded":  {[]Endpoint{load(now, 100, 0)}, 8},
		"idle servers":                      {[]Endpoint{load(now, 0, 0)}, 1},
		"an old answer does not count":      {[]Endpoint{load(now, 5, 5), load(now.Add(-time.Minute), 50, 0)}, 1},
		"no answer: as if we were the only": {[]Endpoint{endpoint(0)}, 1},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			p, _ := seeded(tc.endpoints...)
			if got := p.gain(tc.endpoints, now); got != tc.want {
				t.Errorf("%v pickers, want %v", got, tc.want)
			}
		})
	}
}

// A frozen answer between scrapes must not make everybody choose the same one.
func TestPickDoesNotHerdBetweenScrapes(t *testing.T) {
	t.Parallel()
	var endpoints []Endpoint
	for i := range 10 {
		endpoints = append(endpoints, loaded(i, float64(i%3), 0, 0.1))
	}
	p, _ := seeded(endpoints...)
	most := int64(0)
	for range 200 {
		e := p.Pick(&Request{}).Endpoint
		e.Live.Begin()
		most = max(most, e.Live.InFlight())
	}
	if mean := 20.0; float64(most) > 1.5*mean {
		t.Errorf("of 200 requests over 10 endpoints one has %d", most)
	}
}

func TestPickWhileTheSnapshotChanges(t *testing.T) {
	t.Parallel()
	p := New(Options{Scorers: testScorers()})
	small := &Snapshot{Endpoints: []Endpoint{endpoint(0)}}
	large := &Snapshot{Endpoints: []Endpoint{endpoint(0), endpoint(1), endpoint(2)}}
	p.SetSnapshot(small)
	var swaps, picks sync.WaitGroup
	stop := make(chan struct{})
	swaps.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				p.SetSnapshot(large)
				large.Endpoints[1].Live.Report(Load{At: time.Now(), Running: 1})
				p.SetSnapshot(small)
			}
		}
	})
	for range 4 {
		picks.Go(func() {
			for range 2000 {
				c := p.Pick(&Request{})
				if c.Endpoint == nil {
					t.Errorf("no endpoint: %s", c.Reason)
					return
				}
				c.Endpoint.Live.Begin()
				c.Endpoint.Live.End()
			}
		})
	}
	picks.Wait()
	close(stop)
	swaps.Wait()
	for i := range large.Endpoints {
		if n := large.Endpoints[i].Live.InFlight(); n != 0 {
			t.Errorf("endpoint %d still has %d requests", i, n)
		}
	}
}
