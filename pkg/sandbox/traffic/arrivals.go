package traffic

import (
	"math/rand/v2"
	"time"
)

// arrival is one request to send.
type arrival struct {
	n      uint64
	at     time.Duration // after the start
	model  string
	stream bool
	prompt int // tokens
	output int // tokens
}

// arrivals is the seeded sequence of requests; what happens to a request does
// not change the ones after it.
type arrivals struct {
	o     Options
	r     *rand.Rand
	total float64 // weight of the mix
	last  arrival
}

func newArrivals(o Options) *arrivals {
	a := &arrivals{o: o, r: rand.New(rand.NewPCG(o.Seed, 0))}
	for _, m := range o.Mix {
		a.total += m.Weight
	}
	return a
}

func (a *arrivals) next() arrival {
	gap := time.Duration(a.r.ExpFloat64() / a.o.Rate * float64(time.Second))
	a.last = arrival{
		n:      a.last.n + 1,
		at:     a.last.at + gap,
		model:  a.model(a.r.Float64() * a.total),
		stream: a.r.Float64() < a.o.StreamingShare,
		prompt: a.draw(a.o.PromptTokens),
		output: a.draw(a.o.OutputTokens),
	}
	return a.last
}

// model is the one that holds point x of the cumulated weights.
func (a *arrivals) model(x float64) string {
	for _, m := range a.o.Mix {
		if x -= m.Weight; x < 0 {
			return m.Model
		}
	}
	return a.o.Mix[len(a.o.Mix)-1].Model
}

func (a *arrivals) draw(r Range) int { return r.Min + a.r.IntN(r.Max-r.Min+1) }
