package rollout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
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
	DefaultCapacity       = 0.8
	DefaultBlindLimit     = 5 * time.Minute
	minStepDeadline       = 30 * time.Minute
)

// CalibrateBakes is how many bakes stable is watched before the first raise,
// unless a plan says how long: ten minutes at the default bake, so that φ is
// known well enough to find a doubling of the bad requests within 600 of the
// canary's (docs/gates.md).
const CalibrateBakes = 2

// Plan is what the user asked for. Its digest decides whether a later run is
// the same plan and may resume.
type Plan struct {
	// Target is TYPE/NAME, in Namespace; Also are further targets that move
	// with it, one by one, all names rising.
	Target    string   `json:"target"`
	Also      []string `json:"also,omitempty"`
	Namespace string   `json:"namespace"`
	// Rule is the rule's name or index; empty when one rule matches.
	Rule   string `json:"rule,omitempty"`
	Stable string `json:"stable"`
	Canary string `json:"canary"`
	// AddBackend allows a canary the rule does not list yet.
	AddBackend bool `json:"addBackend,omitempty"`
	// Steps are canary shares in percent, rising, at most 100.
	Steps []int `json:"steps"`
	// Approve are those steps that a person must approve before the next.
	Approve []int `json:"approve,omitempty"`
	// Gates in canonical form (see pkg/gate).
	Gates []string `json:"gates"`
	// Bake is how long each step is watched; only scraped time counts.
	Bake time.Duration `json:"bake"`
	// Settle is discarded after every move.
	Settle time.Duration `json:"settle"`
	// StepDeadline ends a step that cannot be judged with Held.
	StepDeadline time.Duration `json:"stepDeadline"`
	// Calibrate is how long stable is watched before the first raise, for the
	// edges and the overdispersion of the first step.
	Calibrate time.Duration `json:"calibrate,omitempty"`
	// OnBlind says what happens when nothing could be seen for BlindLimit,
	// OnInconclusive when a step cannot be judged by its deadline: Hold or GoBack.
	OnBlind        Policy        `json:"onBlind,omitempty"`
	BlindLimit     time.Duration `json:"blindLimit,omitempty"`
	OnInconclusive Policy        `json:"onInconclusive,omitempty"`
	// PromoteOn is PromoteOnBake: a step passes when no gate shows harm at the end of
	// its bake; or PromoteOnEvidence: every gate must be shown kept as well.
	PromoteOn Policy `json:"promoteOn,omitempty"`
	// ScrapeInterval is the time between two looks.
	ScrapeInterval time.Duration `json:"scrapeInterval"`
	// MinRequests is the floor of finished canary requests before a step passes.
	MinRequests int `json:"minRequests"`
	// Alpha bounds the probability that a run rolls back a canary that obeys
	// every gate.
	Alpha float64 `json:"alpha"`
	// MaxRestarts is how many canary container restarts one step tolerates.
	MaxRestarts int `json:"maxRestarts"`
	// Capacity is the part of stable's ready endpoints, times the share asked,
	// that the canary must have ready before each raise; 0 asks for none.
	Capacity float64 `json:"capacity,omitempty"`
	// IgnoreShare lets a step pass whatever share of the requests the canary
	// gets: for pools that other routes send traffic to as well.
	IgnoreShare bool `json:"ignoreShare,omitempty"`
	// LoadAdapter is NAME=PATH of the LoRA adapter, which is the canary, that pods
	// without it load before the first raise; empty when all have it.
	LoadAdapter string `json:"loadAdapter,omitempty"`
}

// Adapter is the LoRA adapter that the plan has pods load; "" for none.
func (p Plan) Adapter() (name, path string) {
	name, path, _ = strings.Cut(p.LoadAdapter, "=")
	return name, path
}

// Targets are all targets, the one with the journal first.
func (p Plan) Targets() []string { return append([]string{p.Target}, p.Also...) }

// ParseSteps reads "5,25:approve,50,100": shares in percent, and which of them
// a person must approve before the next.
func ParseSteps(text string) (steps, approve []int, err error) {
	for _, field := range strings.Split(text, ",") {
		share, gate, manual := strings.Cut(strings.TrimSpace(field), ":")
		n, err := strconv.Atoi(strings.TrimSuffix(share, "%"))
		if err != nil {
			return nil, nil, hint.Errorf("--steps 5,25,50,100", "steps %q: %q is not a whole percentage", text, field)
		}
		if manual && gate != "approve" {
			return nil, nil, hint.Errorf("--steps 5,25:approve,50", "steps %q: %q after a step is not known, only approve", text, gate)
		}
		steps = append(steps, n)
		if manual {
			approve = append(approve, n)
		}
	}
	return steps, approve, nil
}

// Needed is how many ready canary endpoints a share in percent asks for, of a
// stable arm that began with stable ready endpoints.
func Needed(share, stable int, capacity float64) int {
	return int(math.Ceil(float64(share)/100*float64(stable)*capacity - 1e-9))
}

// Complete fills what was left out: the step deadline is the larger of ten bakes
// and half an hour, and every policy holds.
func (p Plan) Complete() Plan {
	p.OnBlind, p.OnInconclusive = cmp.Or(p.OnBlind, Hold), cmp.Or(p.OnInconclusive, Hold)
	p.PromoteOn, p.BlindLimit = cmp.Or(p.PromoteOn, PromoteOnBake), cmp.Or(p.BlindLimit, DefaultBlindLimit)
	if p.StepDeadline == 0 {
		p.StepDeadline = max(10*p.Bake, minStepDeadline)
	}
	return p
}

// FieldError is what is wrong with one field of a plan, by its JSON name.
type FieldError struct {
	Field string
	Err   error
}

func (e *FieldError) Error() string { return e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

func wrong(field, next, format string, args ...any) error {
	return &FieldError{Field: field, Err: hint.Errorf(next, format, args...)}
}

// Validate refuses a plan that cannot be carried out, before anything is read.
// What it finds is a FieldError.
func (p Plan) Validate() error {
	switch {
	case p.Stable == "":
		return wrong("stable", "--stable POOL --canary POOL", "stable and canary must both be named")
	case p.Canary == "":
		return wrong("canary", "--stable POOL --canary POOL", "stable and canary must both be named")
	case p.Stable == p.Canary:
		return wrong("canary", "--stable what serves now, --canary what is new", "stable and canary are both %q", p.Stable)
	case len(p.Steps) == 0:
		return wrong("steps", "--steps 5,25,50,100", "the plan has no steps")
	case len(p.Gates) == 0:
		return wrong("gates", "--gate 'errors < 1%' --gate 'ttft p95 < 800ms'", "the plan has no gates: nothing would judge the canary")
	case p.Bake <= 0:
		return wrong("bake", "--bake 5m", "bake %v is not positive", p.Bake)
	case p.ScrapeInterval <= 0:
		return wrong("scrapeInterval", "--scrape-interval 2s", "scrape interval %v is not positive", p.ScrapeInterval)
	case p.Settle < 0:
		return wrong("settle", "--settle 10s", "settle %v is negative", p.Settle)
	case p.MinRequests < 0:
		return wrong("minRequests", "--min-requests 200", "min requests %d is negative", p.MinRequests)
	case p.MaxRestarts < 0:
		return wrong("maxRestarts", "--max-restarts 0", "max restarts %d is negative", p.MaxRestarts)
	case p.Capacity < 0 || p.Capacity > 1:
		return wrong("capacity", "--capacity 0.8", "capacity %v is not between 0 and 1", p.Capacity)
	case p.Alpha <= 0 || p.Alpha >= 1:
		return wrong("alpha", "--alpha 0.01", "alpha %v is not between 0 and 1", p.Alpha)
	}
	if name, path := p.Adapter(); p.LoadAdapter != "" && (name != p.Canary || path == "") {
		return wrong("loadAdapter", "--load-adapter "+p.Canary+"=PATH, as the model servers see it", "load adapter %q is not NAME=PATH of the canary %s", p.LoadAdapter, p.Canary)
	}
	last := 0
	for _, step := range p.Steps {
		if step <= last || step > 100 {
			return wrong("steps", "--steps 5,25,50,100", "steps %v must rise from above 0 to at most 100", p.Steps)
		}
		last = step
	}
	if err := p.checkPolicies(); err != nil {
		return err
	}
	return p.checkGates()
}

// most is the largest share in percent below 100 at which stable still has
// enough traffic to be compared with.
const most = 95

func (p Plan) checkGates() error {
	exprs, err := p.Expressions()
	if err != nil {
		return &FieldError{Field: "gates", Err: err}
	}
	if bounded, _ := gate.Split(exprs); len(bounded) == 0 {
		return wrong("gates", "--gate 'errors < 1%'", "the plan has promql gates only: they have no error bound, and pass no step alone")
	}
	for _, e := range exprs {
		for _, step := range p.Steps {
			if e.Comparison() && step > most && step < 100 {
				return wrong("steps", fmt.Sprintf("steps up to %d, or 100, where limits are frozen from stable's last step", most),
					"gate %q cannot be judged at %d%%: stable has too little traffic left to compare with", e, step)
			}
		}
	}
	return nil
}

// DefaultGates are those of a plan that names none: errors, time to first token
// and time per output token, against stable.
func DefaultGates() []string {
	return []string{"errors < 1.2x stable or < 0.5%", "ttft p95 < 1.5x stable", "tpot p95 < 1.5x stable"}
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
