package simulate

import (
	"math/rand/v2"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// Policy chooses servers for one gateway. A choice counts as begun.
type Policy interface {
	Choose(r *Request, now time.Time) (server int)
	Ended(server int)                                     // a request of this gateway is over
	Scraped(server int, load modelsim.Load, at time.Time) // what the server says of itself
}

// Kind is a way to choose.
type Kind struct {
	Name string
	New  func(s Scenario, rng *rand.Rand) Policy
}

// Peers are the kinds that ours is compared with.
func Peers() []Kind {
	return []Kind{
		{"round robin", func(s Scenario, rng *rand.Rand) Policy { return &roundRobin{n: s.Servers, next: rng.IntN(s.Servers)} }},
		{"random", func(s Scenario, rng *rand.Rand) Policy { return &random{n: s.Servers, rng: rng} }},
		{"least request", func(s Scenario, rng *rand.Rand) Policy {
			return &leastRequest{running: make([]int, s.Servers), rng: rng}
		}},
		{"reference", newReference},
	}
}

// blind is what the simple policies make of scrapes: nothing.
type blind struct{}

func (blind) Ended(int)                             {}
func (blind) Scraped(int, modelsim.Load, time.Time) {}

type roundRobin struct {
	blind
	n, next int
}

func (p *roundRobin) Choose(*Request, time.Time) int {
	p.next = (p.next + 1) % p.n
	return p.next
}

type random struct {
	blind
	n   int
	rng *rand.Rand
}

func (p *random) Choose(*Request, time.Time) int { return p.rng.IntN(p.n) }

// leastRequest is Envoy's LEAST_REQUEST as it is by default: of two servers drawn at
// random, the one with fewer requests of this gateway.
type leastRequest struct {
	blind
	running []int
	rng     *rand.Rand
}

func (p *leastRequest) Choose(*Request, time.Time) int {
	at, other := p.rng.IntN(len(p.running)), p.rng.IntN(len(p.running))
	if p.running[other] < p.running[at] {
		at = other
	}
	p.running[at]++
	return at
}

func (p *leastRequest) Ended(server int) { p.running[server]-- }
