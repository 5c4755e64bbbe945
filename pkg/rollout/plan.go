package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Defaults of a Plan. Each is a flag of `canary run`.
const (
	DefaultBake           = 5 * time.Minute
	DefaultSettle         = 10 * time.Second
	DefaultScrapeInterval = 2 * time.Second
	DefaultMinRequests    = 200
	DefaultAlpha          = 0.01
	DefaultMaxRestarts    = 0
	DefaultRollbackLimit  = time.Minute
	minStepDeadline       = 30 * time.Minute
)

// Plan is what the user asked for. Its digest decides whether a later run is
// the same plan and may resume.
type Plan struct {
	// Target is TYPE/NAME, in Namespace.
	Target    string `json:"target"`
	Namespace string `json:"namespace"`
	// Rule is the rule's name or index; empty when one rule matches.
	Rule   string `json:"rule,omitempty"`
	Stable string `json:"stable"`
	Canary string `json:"canary"`
	// AddBackend allows a canary the rule does not list yet.
	AddBackend bool `json:"addBackend,omitempty"`
	// Steps are canary shares in percent, rising, at most 100.
	Steps []int `json:"steps"`
	// Gates in canonical form (see pkg/gate).
	Gates []string `json:"gates"`
	// Bake is how long each step is watched; only scraped time counts.
	Bake time.Duration `json:"bake"`
	// Settle is discarded after every move.
	Settle time.Duration `json:"settle"`
	// StepDeadline ends a step that cannot be judged with Held.
	StepDeadline time.Duration `json:"stepDeadline"`
	// ScrapeInterval is the time between two looks.
	ScrapeInterval time.Duration `json:"scrapeInterval"`
	// MinRequests is the floor of finished canary requests before a step passes.
	MinRequests int `json:"minRequests"`
	// Alpha bounds the probability that a run rolls back a canary that obeys
	// every gate.
	Alpha float64 `json:"alpha"`
	// MaxRestarts is how many canary container restarts one step tolerates.
	MaxRestarts int `json:"maxRestarts"`
}

// ParseSteps reads "5,25,50,100".
func ParseSteps(text string) ([]int, error) {
	var steps []int
	for _, field := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(field), "%"))
		if err != nil {
			return nil, hint.Errorf("--steps 5,25,50,100", "steps %q: %q is not a whole percentage", text, field)
		}
		steps = append(steps, n)
	}
	return steps, nil
}

// Complete fills what depends on other fields: the step deadline is the larger
// of ten bakes and half an hour.
func (p Plan) Complete() Plan {
	if p.StepDeadline == 0 {
		p.StepDeadline = max(10*p.Bake, minStepDeadline)
	}
	return p
}

// Validate refuses a plan that cannot be carried out, before anything is read.
func (p Plan) Validate() error {
	switch {
	case p.Stable == "" || p.Canary == "":
		return hint.Errorf("--stable POOL --canary POOL", "stable and canary must both be named")
	case p.Stable == p.Canary:
		return fmt.Errorf("stable and canary are both %q", p.Stable)
	case len(p.Steps) == 0:
		return hint.Errorf("--steps 5,25,50,100", "the plan has no steps")
	case p.Bake <= 0 || p.Settle < 0 || p.ScrapeInterval <= 0:
		return fmt.Errorf("bake %v and scrape interval %v must be positive, settle %v not negative", p.Bake, p.ScrapeInterval, p.Settle)
	case p.MinRequests < 0 || p.MaxRestarts < 0:
		return fmt.Errorf("min requests %d and max restarts %d must not be negative", p.MinRequests, p.MaxRestarts)
	case p.Alpha <= 0 || p.Alpha >= 1:
		return fmt.Errorf("alpha %v is not between 0 and 1", p.Alpha)
	}
	last := 0
	for _, step := range p.Steps {
		if step <= last || step > 100 {
			return hint.Errorf("--steps 5,25,50,100", "steps %v must rise from above 0 to at most 100", p.Steps)
		}
		last = step
	}
	_, err := p.Expressions()
	return err
}

// Expressions parses the plan's gates.
func (p Plan) Expressions() ([]gate.Expr, error) {
	exprs := make([]gate.Expr, 0, len(p.Gates))
	for _, text := range p.Gates {
		expr, err := gate.Parse(text)
		if err != nil {
			return nil, err
		}
		exprs = append(exprs, expr)
	}
	return exprs, nil
}

// Digest identifies the plan: the first 16 hex digits of the SHA-256 of its
// canonical JSON.
func (p Plan) Digest() (string, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode plan: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}
