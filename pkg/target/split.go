package target

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// Share is one entry of a split: a backendRef, or a target model, which has a
// name only.
type Share struct {
	Group, Kind, Namespace, Name string
	Weight                       int64
	Unset                        bool // a target model without a weight of its own
}

// Split is what one rule of an object asks for.
type Split struct {
	Rule   string // its name, else its index; "" where there is only one place
	Index  int    // in spec.rules
	Shares []Share
}

// Percent is how much of the requests the i-th share asks for, from 0 to 1.
func (s Split) Percent(i int) float64 {
	sum := int64(0)
	for _, share := range s.Shares {
		sum += share.Weight
	}
	if sum == 0 {
		return 0
	}
	return float64(s.Shares[i].Weight) / float64(sum)
}

// Splits reads every split of an object of this kind.
func (k Kind) Splits(object *unstructured.Unstructured) []Split {
	if k.Resource == kube.HTTPRoutes() {
		return routeSplits(object)
	}
	shape := modelRewriteShape()
	if k.Resource == kube.InferenceModels() {
		shape = inferenceModelShape()
	}
	var splits []Split
	for _, l := range shape.lists(object) {
		s := Split{Rule: l.rule}
		s.Index, _ = strconv.Atoi(l.rule)
		absent := int64(1)
		if weighted(l.List) {
			absent = 0
		}
		for _, entry := range l.List {
			e, _ := entry.(map[string]any)
			name, _ := e[shape.key].(string)
			s.Shares = append(s.Shares, Share{Name: name, Weight: weightOr(entry, absent), Unset: e["weight"] == nil})
		}
		splits = append(splits, s)
	}
	return splits
}

// Sends says whether a split of the object names model as a target, at whatever
// weight.
func (k Kind) Sends(object *unstructured.Unstructured, model string) bool {
	for _, split := range k.Splits(object) {
		if slices.ContainsFunc(split.Shares, func(s Share) bool { return s.Name == model }) {
			return true
		}
	}
	return false
}

func routeSplits(route *unstructured.Unstructured) []Split {
	var splits []Split
	for i, rule := range rulesOf(route) {
		s := Split{Rule: ruleLabel(rule, i), Index: i}
		for _, ref := range backendsOf(rule) {
			m, _ := ref.(map[string]any)
			text := func(key string) string { v, _ := m[key].(string); return v }
			s.Shares = append(s.Shares, Share{
				Group: text("group"), Kind: cmp.Or(text("kind"), "Service"),
				Namespace: cmp.Or(text("namespace"), route.GetNamespace()), Name: text("name"), Weight: weightOf(ref),
			})
		}
		splits = append(splits, s)
	}
	return splits
}

// Split reads the split that rule (a name or an index) names; "" is the only
// one, or the only one with several shares.
func (k Kind) Split(object *unstructured.Unstructured, rule string) (Split, error) {
	var found, several []Split
	var labels []string
	for _, s := range k.Splits(object) {
		labels = append(labels, s.Rule)
		if rule != "" && rule != s.Rule && rule != strconv.Itoa(s.Index) || len(s.Shares) == 0 {
			continue
		}
		found = append(found, s)
		if len(s.Shares) > 1 {
			several = append(several, s)
		}
	}
	name := k.Name + " " + object.GetNamespace() + "/" + object.GetName()
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(several) == 1:
		return several[0], nil
	case len(found) > 1:
		return Split{}, hint.Errorf("--rule "+strings.Join(labels, " or --rule "), "%s: %d rules may be meant: %s", name, len(found), strings.Join(labels, ", "))
	case rule != "":
		return Split{}, hint.Errorf("rules there are: "+strings.Join(labels, ", "), "%s: no rule %q sends requests anywhere", name, rule)
	default:
		return Split{}, hint.Errorf("kubectl get "+k.Name+" "+object.GetName()+" -n "+object.GetNamespace()+" -o yaml", "%s: no rule sends requests anywhere", name)
	}
}
