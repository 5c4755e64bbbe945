package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// bytesPerToken is the model servers' measure of a prompt.
const bytesPerToken = 4

// Request is one request of a trace.
type Request struct {
	At     time.Duration // since the beginning
	Model  string        // Base or an adapter
	Prompt []byte
	Tokens int      // of the prompt
	Output int      // tokens of the answer
	Blocks []uint64 // the prompt as the model server's cache knows it
}

// Base is the name that all servers answer to beside the adapters.
const Base = "base"

// Adapter is the name of adapter n.
func Adapter(n int) string { return fmt.Sprintf("lora-%02d", n) }

// adapter is the adapter that the request names, "" for none.
func (r *Request) adapter() string {
	if r.Model == Base {
		return ""
	}
	return r.Model
}

// Trace returns the requests of a scenario, in order of time.
func (s Scenario) Trace(seed uint64) []Request {
	t := tracer{Scenario: s, rng: rand.New(rand.NewPCG(seed, 0x7ace))}
	for range s.Groups {
		t.beginnings = append(t.beginnings, t.text(s.Shared*bytesPerToken))
	}
	t.order = t.rng.Perm(s.Adapters)
	// Bursts come as often as leaves the rate what it is.
	perArrival := 1 + s.Bursts/(1-s.Bursts)
	burst := 0.0
	if s.Burst > 0 {
		burst = (perArrival - 1) / float64(s.Burst)
	}
	requests := make([]Request, 0, s.Requests)
	for len(requests) < s.Requests {
		t.clock += time.Duration(float64(time.Second) * perArrival / s.Rate * t.rng.ExpFloat64())
		n := 1
		if t.rng.Float64() < burst {
			n += s.Burst
		}
		for range min(n, s.Requests-len(requests)) {
			requests = append(requests, t.request())
		}
	}
	return requests
}

type tracer struct {
	Scenario
	rng        *rand.Rand
	clock      time.Duration
	beginnings [][]byte
	order      []int // of adapters, the most asked for first
	churned    time.Duration
}

func (t *tracer) request() Request {
	r := Request{At: t.clock, Model: Base, Output: t.length(t.Output)}
	if t.Churn > 0 && t.clock-t.churned >= t.Churn {
		t.order, t.churned = t.rng.Perm(t.Adapters), t.clock
	}
	if t.Adapters > 0 {
		r.Model = Adapter(t.order[t.zipf(t.Adapters)])
	}
	if t.Groups > 0 {
		r.Prompt = append(r.Prompt, t.beginnings[t.zipf(t.Groups)]...)
	}
	r.Prompt = append(r.Prompt, t.text(t.length(t.Scenario.Prompt)*bytesPerToken)...)
	r.Tokens = len(r.Prompt) / bytesPerToken
	r.Blocks = modelsim.PrefixBlocks(r.adapter(), string(r.Prompt), t.Engine.BlockSize)
	return r
}

// length draws around a mean, never more than ten times as much.
func (t *tracer) length(mean int) int {
	factor := math.Exp(t.Spread*t.rng.NormFloat64() - t.Spread*t.Spread/2)
	return max(1, int(float64(mean)*min(factor, 10)))
}

// zipf draws below n, k in proportion to 1/(k+1).
func (t *tracer) zipf(n int) int {
	total := 0.0
	for k := range n {
		total += 1 / float64(k+1)
	}
	left := t.rng.Float64() * total
	for k := range n {
		if left -= 1 / float64(k+1); left <= 0 {
			return k
		}
	}
	return n - 1
}

func (t *tracer) text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(t.rng.IntN(26))
	}
	return b
}
