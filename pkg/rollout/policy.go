package rollout

import (
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Policy is what a plan does where the gates do not decide.
type Policy string

// The policies. OnBlind and OnInconclusive are Hold or GoBack; PromoteOn is
// PromoteOnBake or PromoteOnEvidence.
const (
	Hold              Policy = "hold"
	GoBack            Policy = "rollback"
	PromoteOnBake     Policy = "bake"
	PromoteOnEvidence Policy = "evidence"
)

// harmed says why the run must go back: for harm, or, with the policy GoBack,
// because nothing could be seen for too long; "" otherwise.
func (s State) harmed(now time.Time, f Finding) (State, string) {
	switch {
	case f.Blind == "":
		s.Watch.BlindSince = time.Time{}
	case s.Watch.BlindSince.IsZero():
		s.Watch.BlindSince = now
	}
	length := now.Sub(s.Watch.BlindSince)
	if s.Watch.BlindSince.IsZero() || s.Plan.OnBlind != GoBack || length < s.Plan.BlindLimit {
		return s, f.Harm
	}
	return s, fmt.Sprintf("blind for %v: %s", length.Round(time.Second), f.Blind)
}

// due decides about a step that could not be judged before its deadline.
func due(s State, o Observation, f Finding) (State, Action) {
	if f.Blind == "" && f.Missing != "" && s.Plan.OnInconclusive == GoBack {
		return goBack(s, o.Now, ByGate, held(s, f))
	}
	return s, Action{Verb: Stop, Outcome: Held, Why: held(s, f)}
}

func (p Plan) checkPolicies() error {
	for _, c := range []struct {
		flag    string
		value   Policy
		allowed [2]Policy
	}{
		{"--on-blind", p.OnBlind, [2]Policy{Hold, GoBack}},
		{"--on-inconclusive", p.OnInconclusive, [2]Policy{Hold, GoBack}},
		{"--promote-on", p.PromoteOn, [2]Policy{PromoteOnBake, PromoteOnEvidence}},
	} {
		if c.value != "" && c.value != c.allowed[0] && c.value != c.allowed[1] {
			return hint.Errorf(fmt.Sprintf("%s=%s", c.flag, c.allowed[0]), "%s %q is neither %s nor %s", c.flag, c.value, c.allowed[0], c.allowed[1])
		}
	}
	if p.BlindLimit < 0 || p.Calibrate < 0 || p.StepDeadline < 0 {
		return fmt.Errorf("blind limit %v, calibration %v and step deadline %v must not be negative", p.BlindLimit, p.Calibrate, p.StepDeadline)
	}
	return nil
}
