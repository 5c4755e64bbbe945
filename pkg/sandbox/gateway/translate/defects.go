package translate

import (
	"errors"
	"fmt"
	"strings"
)

// Defects are wrongs of real providers, to be switched on for testing.
type Defects struct {
	// OneEPPPerRule asks the last weighted pool's picker about every member
	// (Istio before istio#61601).
	OneEPPPerRule bool
	// SinglePoolRule refuses a rule with more than one InferencePool (Envoy AI
	// Gateway).
	SinglePoolRule bool
	// IgnoreWeights gives every member the same share, those of weight 0 too
	// (higress#4519, kgateway#11667).
	IgnoreWeights bool
	// AlwaysFailClosed ignores failureMode FailOpen (Envoy AI Gateway).
	AlwaysFailClosed bool
}

// ParseDefects reads names such as "one-epp-per-rule".
func ParseDefects(names []string) (Defects, error) {
	d := Defects{}
	byName := map[string]*bool{
		"one-epp-per-rule": &d.OneEPPPerRule, "single-pool-rule": &d.SinglePoolRule,
		"ignore-weights": &d.IgnoreWeights, "always-fail-closed": &d.AlwaysFailClosed,
	}
	for _, name := range names {
		on, known := byName[name]
		if !known {
			return Defects{}, fmt.Errorf("read provider defect %q: want one of %s", name, strings.Join(DefectNames(), ", "))
		}
		*on = true
	}
	return d, nil
}

// DefectNames lists what ParseDefects reads.
func DefectNames() []string {
	return []string{"one-epp-per-rule", "single-pool-rule", "ignore-weights", "always-fail-closed"}
}

// spoil makes a rule as wrong as the defects say.
func (d Defects) spoil(r Route) (Route, error) {
	last, pools := "", map[string]bool{}
	for i := range r.Members {
		m := &r.Members[i]
		if m.Picker != "" {
			pools[m.Picker] = true
			if m.Weight > 0 {
				last = m.Picker
			}
		}
		if d.IgnoreWeights {
			m.Weight = 1
		}
	}
	if d.SinglePoolRule && len(pools) > 1 {
		return Route{}, errors.New("more than one InferencePool in a rule is not supported (provider defect single-pool-rule)")
	}
	for i := range r.Members {
		if d.OneEPPPerRule && r.Members[i].Picker != "" && last != "" {
			r.Members[i].Picker = last
		}
	}
	return r, nil
}
