package simulate

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// This is the quick version of the comparison: the whole one is go run
// ./e2e/pickersim, with its table in docs/picker-quality.md.

func oursByDefault(t *testing.T) Kind {
	t.Helper()
	k, err := Ours(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// seed is one whose traces are short and still tell the kinds apart.
const seed = 2

func TestOursIsBeforeEachPeerInEveryScenario(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			if s.Requests = 2500; s.Groups+s.Adapters > 0 {
				s.Requests = 600 // what the peers do not see shows soon
			}
			trace := s.Trace(seed)
			ours := s.Serve(oursByDefault(t), trace, seed)
			if len(ours.TTFT) != s.Requests || ours.Herding() > 1.5 {
				t.Errorf("%d of %d requests answered; the busiest server has %.2f means", len(ours.TTFT), s.Requests, ours.Herding())
			}
			for _, peer := range Peers() {
				theirs := s.Serve(peer, trace, seed)
				t.Logf("TTFT p90 %v, %s %v", ours.Quantile(0.9), peer.Name, theirs.Quantile(0.9))
				if ours.Quantile(0.9) > theirs.Quantile(0.9)*99/100 {
					t.Errorf("TTFT p90 %v, %s %v", ours.Quantile(0.9), peer.Name, theirs.Quantile(0.9))
				}
			}
		})
	}
}

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	t.Parallel()
	all := Scenarios()
	s := all[len(all)-1]
	s.Requests = 600
	first := s.Trace(7)
	if !reflect.DeepEqual(first, s.Trace(7)) || reflect.DeepEqual(first, s.Trace(8)) {
		t.Error("a trace is not its seed's")
	}
	for _, k := range append(Peers(), oursByDefault(t)) {
		if one, two := s.Run(k, 7), s.Run(k, 7); !reflect.DeepEqual(one, two) {
			t.Errorf("%s: two runs with one seed differ", k.Name)
		}
	}
}

func TestATraceIsWhatItsScenarioSays(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			trace := s.Trace(3)
			took := trace[len(trace)-1].At.Seconds()
			if rate := float64(len(trace)) / took; len(trace) != s.Requests || rate < 0.9*s.Rate || rate > 1.1*s.Rate {
				t.Errorf("%d requests, %.1f a second", len(trace), rate)
			}
			models, beginnings, together := map[string]bool{}, map[uint64]bool{}, 0
			for i, r := range trace {
				models[r.Model] = true
				if s.Groups > 0 {
					beginnings[r.Blocks[s.Shared/s.Engine.BlockSize-1]] = true
				}
				if i > 0 && r.At == trace[i-1].At {
					together++
				}
			}
			if len(models) != max(1, s.Adapters) || s.Groups > 0 && len(beginnings) > s.Groups*len(models) {
				t.Errorf("%d models, %d beginnings", len(models), len(beginnings))
			}
			if part := float64(together) / float64(len(trace)); part < 0.8*s.Bursts || part > 1.2*s.Bursts {
				t.Errorf("%.2f of the requests come in bursts", part)
			}
		})
	}
}

func TestTheReferenceChoosesByItsSum(t *testing.T) {
	t.Parallel()
	held := []uint64{1, 2, 3, 4}
	for rule, tc := range map[string]struct {
		loads []modelsim.Load
		sent  []uint64 // to the first server before
		want  []int    // any of these
	}{
		"equals: any":                           {[]modelsim.Load{{}, {}}, nil, []int{0, 1}},
		"the shorter queue":                     {[]modelsim.Load{{Waiting: 3}, {Waiting: 2}}, nil, []int{1}},
		"the freer cache":                       {[]modelsim.Load{{KVUsage: 0.2}, {KVUsage: 0.1}}, nil, []int{1}},
		"running requests do not count":         {[]modelsim.Load{{Running: 90}, {KVUsage: 0.1}}, nil, []int{0}},
		"the prompt before the queue":           {[]modelsim.Load{{Waiting: 9}, {}}, held, []int{0}},
		"the queue before half of the prompt":   {[]modelsim.Load{{Waiting: 9}, {}}, held[:2], []int{1}},
		"queue and cache before all the prompt": {[]modelsim.Load{{Waiting: 9, KVUsage: 0.9}, {}}, held, []int{1}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := Scenario{Servers: 2}
			p, ok := newReference(s, rand.New(rand.NewPCG(1, 1))).(*reference)
			if !ok {
				t.Fatal("not a reference")
			}
			p.caches[0].add(tc.sent)
			for i, load := range tc.loads {
				p.Scraped(i, load, begin)
			}
			if got := p.Choose(&Request{Blocks: held}, begin); !slices.Contains(tc.want, got) {
				t.Errorf("chose %d", got)
			}
		})
	}
}

func TestWhatTheReferenceBelievesToBeHeldIsBounded(t *testing.T) {
	t.Parallel()
	l := newLRU(3)
	l.add([]uint64{1, 2, 3})
	l.add([]uint64{1, 4}) // 2 is the oldest now
	if got := l.share([]uint64{1, 3, 4, 2}); got != 0.75 || l.order.Len() != 3 || len(l.at) != 3 {
		t.Errorf("%v held, %d entries", got, l.order.Len())
	}
}

func TestLeastRequestForgetsWhatIsOver(t *testing.T) {
	t.Parallel()
	p := &leastRequest{running: make([]int, 2), rng: rand.New(rand.NewPCG(1, 1))}
	for range 100 {
		p.Ended(p.Choose(nil, begin))
	}
	if p.running[0] != 0 || p.running[1] != 0 {
		t.Errorf("%v running", p.running)
	}
	sent := [2]int{}
	for range 100 {
		sent[p.Choose(nil, begin)]++
	}
	if diff := sent[0] - sent[1]; diff < -8 || diff > 8 {
		t.Errorf("sent %v", sent)
	}
}

func TestResultsAddUp(t *testing.T) {
	t.Parallel()
	one := Result{TTFT: []time.Duration{1, 2, 3, 4, 5}, Sent: []int{4, 1}}
	two := Result{TTFT: []time.Duration{6, 7, 8, 9}, Sent: []int{1, 4}, Refused: 1}
	all := one.Plus(two)
	if got := all.Quantile(0.5); got != 6 {
		t.Errorf("median %d", got)
	}
	if got := all.Quantile(0.95); got != 9 {
		t.Errorf("p95 is the slowest, as one was refused: %d", got)
	}
	if one.Herding() != 1.6 || all.Herding() != 1 {
		t.Errorf("herding %v and %v", one.Herding(), all.Herding())
	}
}
