package mirror

import (
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Defaults of a Plan. Each is a flag of `mirror start`.
const (
	DefaultDuration  = 5 * time.Minute
	DefaultCalibrate = 30 * time.Second
)

// DefaultGates are those of a plan that names none: errors, time to first token
// and time of the whole request. In the language of gates stable is the primary.
func DefaultGates() []string {
	return []string{"errors < 1.2x stable or < 0.5%", "ttft p95 < 1.5x stable", "e2e p95 < 1.5x stable"}
}

// Plan is what the user asked for.
type Plan struct {
	// Target is TYPE/NAME of the route, in Namespace.
	Target    string `json:"target"`
	Namespace string `json:"namespace"`
	// Rule is the rule's name or index; empty when one has backends.
	Rule string `json:"rule,omitempty"`
	// Primary is the InferencePool that answers clients, Shadow what gets the
	// copies, as KIND/NAME.
	Primary string `json:"primary"`
	Shadow  string `json:"shadow"`
	// Percent of the rule's requests is copied, 1 to 100.
	Percent int `json:"percent"`
	// MaxTokensPerSecond bounds what the shadow may spend, prompts and answers
	// together, over any ten seconds.
	MaxTokensPerSecond int `json:"maxTokensPerSecond"`
	// Duration is how long both sides are compared, once Settle is discarded.
	Duration time.Duration `json:"duration"`
	Settle   time.Duration `json:"settle"`
	// Calibrate is how long the primary is watched before anything is copied.
	Calibrate      time.Duration `json:"calibrate"`
	ScrapeInterval time.Duration `json:"scrapeInterval"`
	// Gates in canonical form (see package gate).
	Gates []string `json:"gates"`
	// MinRequests is the floor of finished copies for a verdict.
	MinRequests int `json:"minRequests"`
	// Alpha bounds the probability that a shadow which keeps every gate is
	// called worse.
	Alpha float64 `json:"alpha"`
	// MaxRestarts is how many shadow container restarts are tolerated.
	MaxRestarts int `json:"maxRestarts"`
}

// halves is the one step that a mirror is for its judge: both sides have
// traffic, so that stable is never alone.
const halves = 50

// Judging is the plan as package rollout judges it: one step, the primary as
// stable and the shadow as canary.
func (p Plan) Judging() rollout.Plan {
	return rollout.Plan{
		Target: p.Target, Namespace: p.Namespace, Stable: p.Primary, Canary: p.Shadow, Steps: []int{halves}, Gates: p.Gates,
		Bake: p.Duration, Settle: p.Settle, Calibrate: p.Calibrate, ScrapeInterval: p.ScrapeInterval,
		MinRequests: p.MinRequests, Alpha: p.Alpha, MaxRestarts: p.MaxRestarts,
	}.Complete()
}

// Validate refuses a plan that cannot be carried out, before anything is read.
func (p Plan) Validate() error {
	switch {
	case p.Shadow == "":
		return hint.Errorf("--to SERVICE, or --to inferencepool/NAME", "--to is not given: nothing would get the copies")
	case p.Percent < 1 || p.Percent > 100:
		return hint.Errorf("--percent 10", "--percent must be given, from 1 to 100: each copy costs what a request costs")
	case p.MaxTokensPerSecond < 1:
		return hint.Errorf("--max-tokens-per-second 1000", "--max-tokens-per-second must be given: it bounds what the copies may cost")
	case p.Duration <= 0:
		return hint.Errorf("--duration 5m", "--duration %v is not positive", p.Duration)
	case p.Settle < 0 || p.Calibrate < 0:
		return hint.Errorf("--settle 10s --calibrate 30s", "--settle %v and --calibrate %v must not be negative", p.Settle, p.Calibrate)
	case p.ScrapeInterval <= 0:
		return hint.Errorf("--scrape-interval 2s", "--scrape-interval %v is not positive", p.ScrapeInterval)
	case p.MinRequests < 0 || p.MaxRestarts < 0:
		return hint.Errorf("--min-requests 200", "--min-requests %d and --max-restarts %d must not be negative", p.MinRequests, p.MaxRestarts)
	case p.Alpha <= 0 || p.Alpha >= 1:
		return hint.Errorf("--alpha 0.01", "--alpha %v is not between 0 and 1", p.Alpha)
	case len(p.Gates) == 0:
		return hint.Errorf("--gate 'ttft p95 < 1.5x stable'", "the plan has no gates: nothing would judge the shadow")
	}
	if _, err := p.Judging().Expressions(); err != nil {
		return fmt.Errorf("gates: %w", err)
	}
	return nil
}
