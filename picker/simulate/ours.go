package simulate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/score"
	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// ours is the real picker, its scorers and its prefix index, with the defaults of
// the endpoint-picker program but for the size of the index: hashes are seeded anew
// in each process, and where nothing is given up for want of room, that does not show.
type ours struct {
	now       *moment
	picker    *picker.Picker
	prefixes  *prefix.Index
	endpoints []picker.Endpoint
	slots     int // LoRA adapters in one batch
}

// moment is a clock that is set by hand.
type moment struct{ time.Time }

func (m *moment) Now() time.Time                  { return m.Time }
func (m *moment) Since(t time.Time) time.Duration { return m.Sub(t) }

// Ours is this project's picker; nil weights are its defaults. It returns the error of
// weights that make no sense.
func Ours(weights score.Weights) (Kind, error) {
	scorers, err := score.New(weights)
	if err != nil {
		return Kind{}, fmt.Errorf("simulate: %w", err)
	}
	return Kind{"ours", func(s Scenario, rng *rand.Rand) Policy { return newOurs(s, scorers, rng) }}, nil
}

func newOurs(s Scenario, scorers []picker.Scorer, rng *rand.Rand) *ours {
	p := &ours{
		now:      &moment{begin},
		prefixes: prefix.New(prefix.Options{Block: 512, Blocks: prefix.MaxBlocks, Entries: 1 << 18, Window: 5 * time.Minute}),
		slots:    s.Engine.MaxLoRAs,
	}
	p.picker = picker.New(picker.Options{Scorers: scorers, Clock: p.now, Exp: rng.ExpFloat64})
	models := picker.Models{Base: false}
	for i := range s.Adapters {
		models[Adapter(i)] = true
	}
	for i := range s.Servers {
		e := picker.NewEndpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i % 256)}), 8000))
		e.Live.Serve(models)
		p.endpoints = append(p.endpoints, e)
	}
	p.picker.SetSnapshot(&picker.Snapshot{Endpoints: p.endpoints})
	return p
}

// Choose does what the picker's handler does with a request whose body it was shown.
func (p *ours) Choose(r *Request, now time.Time) int {
	p.now.Time = now
	prompt := p.prefixes.NewPrompt()
	prompt.Write(r.Prompt)
	request := picker.Request{Model: r.Model}
	if prompt.Blocks() > 0 {
		request.Prompt = &prefix.Match{}
		p.prefixes.Lookup(prompt, r.Model, now, request.Prompt)
	}
	chosen := p.picker.Pick(&request).Endpoint.Live
	chosen.Begin()
	p.prefixes.Learn(prompt, r.Model, chosen.Slot(), now)
	for i := range p.endpoints {
		if p.endpoints[i].Live == chosen {
			return i
		}
	}
	return 0
}

func (p *ours) Ended(server int) { p.endpoints[server].Live.End() }

func (p *ours) Scraped(server int, load modelsim.Load, at time.Time) {
	live := p.endpoints[server].Live
	live.Report(picker.Load{
		At: at, InFlight: live.InFlight(), Running: float64(load.Running), Waiting: float64(load.Waiting),
		KVCache: load.KVUsage, ActiveAdapters: load.RunningAdapters, QueuedAdapters: load.WaitingAdapters, MaxAdapters: p.slots,
	})
}
