package simulate

import (
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// Scenario is what a fleet of model servers meets.
type Scenario struct {
	Name     string
	Servers  int
	Requests int
	Rate     float64       // requests a second
	Scrape   time.Duration // mean time between two looks at one server
	Replicas int           // of the picker, each with a mind of its own
	Engine   modelsim.EngineConfig

	// Slow is how many times slower than the others the first server is; 0: as they.
	Slow float64

	// Bursts is the part of all requests that come Burst at a time.
	Bursts float64
	Burst  int

	// Prompt and Output are mean lengths in tokens, the shared beginning left out;
	// Spread is the shape of their log-normal distribution.
	Prompt, Output int
	Spread         float64

	// Groups of requests begin with the same Shared tokens; 0: no request shares
	// anything. The first groups are asked for most (Zipf).
	Groups, Shared int

	// Adapters are asked for unequally too; every Churn their order is another one.
	// 0 adapters: the base model.
	Adapters int
	Churn    time.Duration
}

// steady is the base of all: eight equal servers, three quarters busy.
func steady() Scenario {
	engine := modelsim.DefaultConfig().EngineConfig
	engine.MaxNumSeqs, engine.NumBlocks, engine.MaxLoRAs = 16, 4096, 4
	engine.TTFT, engine.TPOT = 200*time.Millisecond, 20*time.Millisecond
	return Scenario{
		Name: "steady", Servers: 8, Requests: 6000, Rate: 55, Scrape: time.Second, Replicas: 1, Engine: engine,
		Prompt: 200, Output: 60, Spread: 0.3,
	}
}

// Scenarios are the rows of the table in docs/picker-quality.md.
func Scenarios() []Scenario {
	with := func(name string, change func(*Scenario)) Scenario {
		s := steady()
		s.Name = name
		change(&s)
		return s
	}
	uneven := func(s *Scenario) { s.Spread, s.Rate = 1, 54 }
	shared := func(s *Scenario) { s.Groups, s.Shared, s.Prompt, s.Rate = 40, 1200, 100, 46 }
	adapters := func(s *Scenario) { s.Adapters, s.Churn, s.Rate = 24, 20*time.Second, 46 }
	slow := func(s *Scenario) { s.Slow, s.Rate = 3, 48 }
	all := func(s *Scenario) {
		uneven(s)
		shared(s)
		adapters(s)
		s.Slow, s.Rate, s.Burst, s.Bursts = 3, 26, 10, 0.2
	}
	scenarios := []Scenario{
		steady(),
		with("steady, scraped every 50ms", func(s *Scenario) { s.Scrape = 50 * time.Millisecond }),
		with("uneven lengths", uneven),
		with("bursts of 20", func(s *Scenario) { s.Bursts, s.Burst, s.Rate = 0.5, 20, 48 }),
		with("shared prefixes", shared),
		with("LoRA churn", adapters),
		with("one slow pod", slow),
		with("two pickers", func(s *Scenario) { s.Replicas = 2 }),
	}
	for _, age := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second, 5 * time.Second} {
		scenarios = append(scenarios, with("all of it, scraped every "+age.String(), func(s *Scenario) {
			all(s)
			s.Scrape = age
		}))
	}
	return append(scenarios, with("all of it, two pickers", func(s *Scenario) {
		all(s)
		s.Replicas = 2
	}))
}
