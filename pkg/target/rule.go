package target

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Selection says which two backendRefs of which rule a rollout moves.
type Selection struct {
	// Rule is a rule's name or its index; empty when exactly one rule matches.
	Rule string
	// Stable and Canary are backendRef names, optionally KIND/NAME.
	Stable, Canary string
	// AddBackend allows a canary that the rule does not list yet.
	AddBackend bool
}

// place is where a Selection was found: the rule's index in spec.rules and the
// two indexes in its backendRefs. canary is -1 while it is not listed.
type place struct {
	rule, stable, canary int
}

func rulesOf(route *unstructured.Unstructured) []any {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	return rules
}

func backendsOf(rule any) []any {
	m, _ := rule.(map[string]any)
	refs, _ := m["backendRefs"].([]any)
	return refs
}

// locate finds sel in route. Ambiguity is an error that lists the candidates.
func locate(route *unstructured.Unstructured, sel Selection) (place, error) {
	var found []place
	var labels []string
	for i, rule := range rulesOf(route) {
		if sel.Rule != "" && sel.Rule != ruleName(rule) && sel.Rule != strconv.Itoa(i) {
			continue
		}
		p := place{rule: i, stable: indexOf(rule, sel.Stable), canary: indexOf(rule, sel.Canary)}
		if p.stable < 0 || (p.canary < 0 && !sel.AddBackend) {
			continue
		}
		found = append(found, p)
		labels = append(labels, ruleLabel(rule, i))
	}
	name := "httproute " + route.GetNamespace() + "/" + route.GetName()
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return place{}, hint.Errorf("--rule "+strings.Join(labels, " or --rule "),
			"%s: %d rules hold backend %s: %s", name, len(found), sel.Stable, strings.Join(labels, ", "))
	default:
		return place{}, absent(route, sel, name)
	}
}

// absent explains why no rule matched: what is there, and what to type.
func absent(route *unstructured.Unstructured, sel Selection, name string) error {
	var listed []string
	stableSomewhere, ruleSeen := false, sel.Rule == ""
	for i, rule := range rulesOf(route) {
		ruleSeen = ruleSeen || sel.Rule == ruleName(rule) || sel.Rule == strconv.Itoa(i)
		stableSomewhere = stableSomewhere || indexOf(rule, sel.Stable) >= 0
		for _, ref := range backendsOf(rule) {
			listed = append(listed, ruleLabel(rule, i)+": "+refString(ref))
		}
	}
	switch {
	case !ruleSeen:
		return hint.Errorf("backends listed: "+strings.Join(listed, "; "), "%s: no rule is named %q", name, sel.Rule)
	case !stableSomewhere:
		return hint.Errorf("backends listed: "+strings.Join(listed, "; "), "%s: no rule has a backendRef %s", name, sel.Stable)
	default:
		return hint.Errorf("add --add-backend to insert it at weight 0",
			"%s: the rule of %s does not list backendRef %s", name, sel.Stable, sel.Canary)
	}
}

func ruleName(rule any) string {
	m, _ := rule.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

func ruleLabel(rule any, index int) string {
	if name := ruleName(rule); name != "" {
		return name
	}
	return strconv.Itoa(index)
}

// indexOf finds the backendRef called name, or KIND/NAME, in rule; -1 if absent.
func indexOf(rule any, name string) int {
	kind, bare, qualified := strings.Cut(name, "/")
	if !qualified {
		bare = name
	}
	for i, ref := range backendsOf(rule) {
		m, _ := ref.(map[string]any)
		if m["name"] != bare {
			continue
		}
		refKind, _ := m["kind"].(string)
		if !qualified || strings.EqualFold(kind, refKind) {
			return i
		}
	}
	return -1
}

func refString(ref any) string {
	m, _ := ref.(map[string]any)
	return fmt.Sprintf("%v/%v weight %d", m["kind"], m["name"], weightOf(ref))
}

// weightOf reads a backendRef's weight; absent means 1 (Gateway API v1,
// BackendRef.weight).
func weightOf(ref any) int64 { return weightOr(ref, 1) }

// weightOr reads the weight of an entry, absent if it has none.
func weightOr(entry any, absent int64) int64 {
	m, _ := entry.(map[string]any)
	switch w := m["weight"].(type) {
	case int64:
		return w
	case float64:
		return int64(w)
	default:
		return absent
	}
}

// weightsIn are the two weights of a rule.
func weightsIn(rule any, p place) weights {
	refs := backendsOf(rule)
	w := weights{stable: weightOf(refs[p.stable]), canary: -1}
	if p.canary >= 0 {
		w.canary = weightOf(refs[p.canary])
	}
	return w
}

// split computes the weights for a canary share of percent, keeping the sum of
// the two as in the baseline rule, so that any third backend keeps its part.
// With no third backend the sum becomes 100.
func split(baseline any, p place, percent int) (weights, error) {
	refs := backendsOf(baseline)
	sum := weightOf(refs[p.stable])
	if p.canary >= 0 {
		sum += weightOf(refs[p.canary])
	}
	others := false
	for i, ref := range refs {
		others = others || (i != p.stable && i != p.canary && weightOf(ref) > 0)
	}
	if !others {
		sum = 100
	}
	if sum*int64(percent)%100 != 0 {
		return weights{}, hint.Errorf("give the two backends weights that sum to a multiple of 100",
			"weights of the two backends sum to %d beside other backends: a share of %d%% cannot be written exactly", sum, percent)
	}
	canary := sum * int64(percent) / 100
	return weights{stable: sum - canary, canary: canary}, nil
}
