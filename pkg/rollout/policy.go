package rollout

import (
	"fmt"
	"time"
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
		field   string
		flag    string
		value   Policy
		allowed [2]Policy
	}{
		{"onBlind", "--on-blind", p.OnBlind, [2]Policy{Hold, GoBack}},
		{"onInconclusive", "--on-inconclusive", p.OnInconclusive, [2]Policy{Hold, GoBack}},
		{"promoteOn", "--promote-on", p.PromoteOn, [2]Policy{PromoteOnBake, PromoteOnEvidence}},
	} {
		if c.value != "" && c.value != c.allowed[0] && c.value != c.allowed[1] {
			return wrong(c.field, fmt.Sprintf("%s=%s", c.flag, c.allowed[0]), "%s %q is neither %s nor %s", c.flag, c.value, c.allowed[0], c.allowed[1])
		}
	}
	for _, c := range []struct {
		field, flag string
		value       time.Duration
	}{{"blindLimit", "--blind-limit 5m", p.BlindLimit}, {"calibrate", "--calibrate 5m", p.Calibrate}, {"stepDeadline", "--step-deadline 30m", p.StepDeadline}} {
		if c.value < 0 {
			return wrong(c.field, c.flag, "%s %v must not be negative", c.field, c.value)
		}
	}
	return nil
}
