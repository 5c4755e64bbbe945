package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// Stall is a pause in which nothing progresses.
type Stall struct {
	Every, Lasts time.Duration // mean time between two; 0 is none
}

// Shape is a kind of traffic and of fleet.
type Shape struct {
	Name           string
	Rate           float64 // requests a second, both arms together
	Stable, Canary int     // pods
	PodStall       Stall   // of one pod's whole batch
	FleetStall     Stall   // of every pod at once
	BurstEvery     time.Duration
	BurstSize      int     // requests at one instant
	Drift          float64 // 0.5: service times, arrivals and errors swing by ± 50 %
	Errors         float64 // fraction of requests that fail by themselves
	Reset          time.Duration
	// Reset is the mean time between the moments at which a pod drops all the
	// requests it is running; 0 is never.
	AtLimit bool
	// AtLimit gives every gate an absolute limit that the healthy fleet meets
	// exactly: the hardest canary that must not be rolled back.
}

// Harm is what is wrong with the canary from step From on (0-based).
type Harm struct {
	LateFirst float64 // this part of its requests gets the first token 30 s late
	Slow      float64 // its servers are so many times slower; 0 is not at all
	Errors    float64 // this part of its requests fails as well
	From      int
}

// late is the delay of LateFirst, in seconds: beyond every edge in question.
const late = 30

// driftPeriod is the time of one swing.
const driftPeriod = 600.0

// sample is what one pod showed within one scrape window.
type sample struct {
	ttft, tpot []float32 // seconds
	finished   int
	failed     int
	running    int  // at its end
	progress   bool // a token came
}

type pod struct {
	engine  *modelsim.Engine
	running []*modelsim.Sequence
	now     sample
	hung    bool
}

// fleet is both arms: stable's pods first, then the canary's.
type fleet struct {
	shape  Shape
	rng    *rand.Rand
	pods   []*pod
	clock  time.Time
	weight float64 // the canary's part of the requests
	harm   Harm

	arrival, burst, stall, mend time.Time
	resets                      []time.Time
	requests                    uint64
}

func never() time.Time { return time.Unix(1<<40, 0) }

func newFleet(shape Shape, seed uint64) *fleet {
	f := &fleet{
		shape: shape, rng: rand.New(rand.NewPCG(seed, 0x5eed)), clock: time.Unix(0, 0),
		arrival: time.Unix(0, 0), mend: never(),
	}
	for range shape.Stable + shape.Canary {
		cfg := modelsim.DefaultConfig().EngineConfig
		cfg.Seed, cfg.Jitter = f.rng.Uint64(), 0.4
		cfg.StallEvery, cfg.StallDuration = shape.PodStall.Every, shape.PodStall.Lasts
		f.pods = append(f.pods, &pod{engine: modelsim.NewEngine(cfg, f.clock)})
		f.resets = append(f.resets, f.after(shape.Reset))
	}
	f.burst, f.stall = f.after(shape.BurstEvery), f.after(shape.FleetStall.Every)
	return f
}

// after is an exponentially distributed time from now.
func (f *fleet) after(mean time.Duration) time.Time {
	if mean == 0 {
		return never()
	}
	return f.clock.Add(time.Duration(float64(mean) * f.rng.ExpFloat64()))
}

// swing is 1 without drift, and otherwise between 1−Drift and 1+Drift.
func (f *fleet) swing(phase float64) float64 {
	t := float64(f.clock.UnixNano())/1e9/driftPeriod + phase
	return 1 + f.shape.Drift*math.Sin(2*math.Pi*t)
}

// window serves the traffic of one scrape interval and returns what each pod
// showed.
func (f *fleet) window(interval time.Duration) []sample {
	f.setFaults()
	for end := f.clock.Add(interval); ; {
		next := earliest(f.arrival, f.burst, f.stall, f.mend, end, slices.MinFunc(f.resets, time.Time.Compare))
		f.clock = next
		switch {
		case next.Equal(end):
			out := make([]sample, len(f.pods))
			for i, p := range f.pods {
				p.advance(end)
				out[i], p.now = p.now, sample{}
				out[i].running = len(p.running)
				if i >= f.shape.Stable && f.harm.LateFirst > 0 {
					f.delay(out[i].ttft)
				}
			}
			return out
		case next.Equal(f.arrival):
			f.submit()
			f.arrival = f.after(time.Duration(float64(time.Second) / (f.shape.Rate * f.swing(0.3))))
		case next.Equal(f.burst):
			for range f.shape.BurstSize {
				f.submit()
			}
			f.burst = f.after(f.shape.BurstEvery)
		case next.Equal(f.stall):
			f.hang(true)
			f.stall, f.mend = never(), f.clock.Add(f.shape.FleetStall.Lasts)
		case next.Equal(f.mend):
			f.hang(false)
			f.stall, f.mend = f.after(f.shape.FleetStall.Every), never()
		default:
			i := slices.IndexFunc(f.resets, next.Equal)
			f.pods[i].reset(next)
			f.resets[i] = f.after(f.shape.Reset)
		}
	}
}

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

// delay puts off LateFirst of the first tokens.
func (f *fleet) delay(ttft []float32) {
	for i := range ttft {
		if f.rng.Float64() < f.harm.LateFirst {
			ttft[i] += late
		}
	}
}

func (f *fleet) hang(yes bool) {
	for _, p := range f.pods {
		p.hung = yes
	}
	f.setFaults()
}

func (f *fleet) setFaults() {
	for i, p := range f.pods {
		p.advance(f.clock)
		faults := modelsim.Faults{Hang: p.hung}
		if f.shape.Drift > 0 {
			faults.SlowFactor = f.swing(0) / (1 - f.shape.Drift)
		}
		if i >= f.shape.Stable && f.harm.Slow > 0 {
			faults.SlowFactor = max(1, faults.SlowFactor) * f.harm.Slow
		}
		p.engine.SetFaults(faults)
	}
}

// submit sends one request to a pod of the arm that the weight picks.
func (f *fleet) submit() {
	at := f.rng.IntN(f.shape.Stable)
	errors := f.shape.Errors * f.swing(0.6)
	if f.rng.Float64() < f.weight {
		at = f.shape.Stable + f.rng.IntN(f.shape.Canary)
		errors += f.harm.Errors
	}
	p := f.pods[at]
	if f.rng.Float64() < errors {
		p.now.failed++
		return
	}
	p.advance(f.clock)
	f.requests++
	seq, err := p.engine.Submit(f.clock, modelsim.Job{
		Request: f.requests, PromptTokens: 32 + f.rng.IntN(192), OutputTokens: 3 + f.rng.IntN(6),
	})
	if err != nil {
		p.now.failed++
		return
	}
	p.running = append(p.running, seq)
}

func (p *pod) advance(now time.Time) {
	for _, e := range p.engine.Advance(now) {
		s := e.Seq
		p.now.progress = true
		switch {
		case e.Kind == modelsim.EventFinished:
			p.now.finished++
			gap := s.Finished.Sub(s.FirstToken).Seconds() / float64(max(1, s.OutputTokens-1))
			p.now.tpot = append(p.now.tpot, float32(gap))
			i := slices.Index(p.running, s)
			p.running = slices.Delete(p.running, i, i+1)
		case e.Nth == 1:
			p.now.ttft = append(p.now.ttft, float32(s.FirstToken.Sub(s.Arrived).Seconds()))
		}
	}
}

// reset drops every running request.
func (p *pod) reset(now time.Time) {
	p.advance(now)
	for _, s := range p.running {
		p.engine.Abort(s)
		p.now.failed++
	}
	p.running = nil
}
