package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Mirror says which RequestMirror filter a run adds to which rule. A goal of a
// mirrored route is the percentage of requests that are copied, and the
// baseline is the rule without the filter.
type Mirror struct {
	// Rule is a rule's name or index; empty when one rule has backends.
	Rule string
	// Primary is the backendRef whose answers clients get, optionally
	// KIND/NAME; empty when one backend of the rule has a weight.
	Primary string
	// Backend gets the copies. It is of the route's own namespace.
	Backend mirror.Backend
}

// reference writes out what the API server would fill in, so that the filter is
// read back as it was written.
func reference(b mirror.Backend) map[string]any {
	return map[string]any{"group": b.Group, "kind": b.Kind, "name": b.Name, "port": b.Port}
}

func mirrorKind(m Mirror) Kind {
	kind, _ := KindOf("httproute")
	kind.layout = func(Selection) layout { return &mirrored{mirror: m} }
	return kind
}

// OpenMirror reads the HTTPRoute called name and makes it, without the filter,
// the baseline. A route that copies to the same backend already is refused:
// that filter is somebody else's.
func OpenMirror(ctx context.Context, client dynamic.Interface, namespace, name string, m Mirror) (*Object, error) {
	return Open(ctx, client, mirrorKind(m), namespace, name, Selection{})
}

// ResumeMirror takes up a route whose baseline an earlier process recorded.
func ResumeMirror(client dynamic.Interface, namespace, name string, m Mirror, recorded json.RawMessage) (*Object, error) {
	return Resume(client, mirrorKind(m), namespace, name, Selection{}, recorded)
}

// mirrored is the layout of an HTTPRoute one rule of which is copied.
type mirrored struct {
	mirror   Mirror
	baseline mirrorBaseline
}

type mirrorBaseline struct {
	UID       types.UID      `json:"uid"`
	Rule      map[string]any `json:"rule"`
	RuleIndex int            `json:"ruleIndex"`
}

func (r *mirrored) take(route *unstructured.Unstructured) error {
	name := "httproute " + route.GetNamespace() + "/" + route.GetName()
	if found := r.filters(route); len(found) > 0 {
		return hint.Errorf("take the RequestMirror filter out of rule "+ruleLabel(rulesOf(route)[found[0].rule], found[0].rule)+", or measure it as it is: kubectl infer verify mirror httproute/"+route.GetName(),
			"%s mirrors to %s %s already, by a filter that is not ours", name, r.mirror.Backend.Kind, r.mirror.Backend.Name)
	}
	var found []int
	var labels []string
	for i, rule := range rulesOf(route) {
		if sel := r.mirror.Rule; len(backendsOf(rule)) == 0 || sel != "" && sel != ruleName(rule) && sel != strconv.Itoa(i) {
			continue
		}
		found, labels = append(found, i), append(labels, ruleLabel(rule, i))
	}
	switch {
	case len(found) == 0 && r.mirror.Rule != "":
		return hint.Errorf("kubectl get httproute "+route.GetName()+" -n "+route.GetNamespace()+" -o yaml", "%s: no rule %q has backends", name, r.mirror.Rule)
	case len(found) == 0:
		return hint.Errorf("kubectl get httproute "+route.GetName()+" -n "+route.GetNamespace()+" -o yaml", "%s: no rule has backends", name)
	case len(found) > 1:
		return hint.Errorf("--rule "+strings.Join(labels, " or --rule "), "%s: %d rules have backends: %s", name, len(found), strings.Join(labels, ", "))
	}
	rule, _ := rulesOf(route)[found[0]].(map[string]any)
	r.baseline = mirrorBaseline{UID: route.GetUID(), Rule: rule, RuleIndex: found[0]}
	_, err := r.primary()
	return err
}

// primary is the backendRef that answers.
func (r *mirrored) primary() (map[string]any, error) {
	var serving []map[string]any
	var names []string
	for i, ref := range backendsOf(r.baseline.Rule) {
		m, _ := ref.(map[string]any)
		if r.mirror.Primary != "" && i != indexOf(r.baseline.Rule, r.mirror.Primary) || r.mirror.Primary == "" && weightOf(ref) == 0 {
			continue
		}
		serving, names = append(serving, m), append(names, fmt.Sprint(m["name"]))
	}
	switch {
	case len(serving) == 1:
		return serving[0], nil
	case len(serving) > 1:
		return nil, hint.Errorf("--primary "+strings.Join(names, " or --primary "), "%d backends of the rule serve requests: %s", len(serving), strings.Join(names, ", "))
	case r.mirror.Primary != "":
		return nil, hint.Errorf("--primary one of the rule's backendRefs", "the rule has no backendRef %s", r.mirror.Primary)
	default:
		return nil, hint.Errorf("give a backendRef a weight", "no backend of the rule serves requests")
	}
}

func (r *mirrored) record() any { return r.baseline }

func (r *mirrored) recall(raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &r.baseline); err != nil {
		return err
	}
	r.baseline.Rule, _ = integers(r.baseline.Rule).(map[string]any)
	return nil
}

// entries are the primary and none.
func (r *mirrored) entries() (stable, canary map[string]any) {
	stable, err := r.primary()
	if err != nil {
		return nil, nil
	}
	return stable, nil
}

func (r *mirrored) weights(rollout.Goal) (weights, error) {
	return weights{}, errors.New("a mirror has no weights")
}

// filter is ours for a percentage.
func (r *mirrored) filter(goal rollout.Goal) map[string]any {
	return map[string]any{
		"type":          "RequestMirror",
		"requestMirror": map[string]any{"backendRef": reference(r.mirror.Backend), "percent": int64(goal)},
	}
}

// spot is where one of our filters is.
type spot struct {
	rule, index int
	filter      map[string]any
}

func (s spot) path() string {
	return pointer("spec", "rules", s.rule, "filters", s.index)
}

// filters finds the filters that copy to our backend, wherever rules were moved
// to and whatever percentage they have by now: take saw none, so they are ours.
func (r *mirrored) filters(route *unstructured.Unstructured) []spot {
	var found []spot
	for i, rule := range rulesOf(route) {
		for k, f := range filtersOf(rule) {
			filter, _ := f.(map[string]any)
			ref, _, _ := unstructured.NestedMap(filter, "requestMirror", "backendRef")
			kind, _ := ref["kind"].(string)
			namespace, _ := ref["namespace"].(string)
			if filter["type"] != "RequestMirror" || ref["name"] != r.mirror.Backend.Name ||
				!strings.EqualFold(kindOr(kind), r.mirror.Backend.Kind) || namespace != "" && namespace != route.GetNamespace() {
				continue
			}
			found = append(found, spot{i, k, filter})
		}
	}
	return found
}

func kindOr(kind string) string {
	if kind == "" {
		return "Service" // the API's default
	}
	return kind
}

func filtersOf(rule any) []any {
	m, _ := rule.(map[string]any)
	list, _ := m["filters"].([]any)
	return list
}

func (r *mirrored) at(route *unstructured.Unstructured, goal rollout.Goal) (float64, bool, error) {
	found := r.filters(route)
	share := 0.0
	for _, s := range found {
		percent := 100.0
		if p, ok, _ := unstructured.NestedInt64(s.filter, "requestMirror", "percent"); ok {
			percent = float64(p)
		}
		share = max(share, percent)
	}
	if goal == rollout.Baseline {
		return share, len(found) == 0, nil
	}
	return share, len(found) == 1 && reflect.DeepEqual(found[0].filter, r.filter(goal)), nil
}

func (r *mirrored) move(route *unstructured.Unstructured, goal rollout.Goal) ([]operation, error) {
	rules := rulesOf(route)
	i := slices.IndexFunc(rules, func(rule any) bool { return reflect.DeepEqual(rule, any(r.baseline.Rule)) })
	if k := r.baseline.RuleIndex; k < len(rules) && reflect.DeepEqual(rules[k], any(r.baseline.Rule)) {
		i = k // of two that are equal, the one that was chosen
	}
	if i < 0 {
		return nil, fmt.Errorf("the rule to mirror was changed: %w", rollout.ErrDrift)
	}
	ops := []operation{{Op: "test", Path: pointer("spec", "rules", i), Value: rules[i]}}
	if len(filtersOf(rules[i])) == 0 {
		return append(ops, operation{Op: "add", Path: pointer("spec", "rules", i, "filters"), Value: []any{r.filter(goal)}}), nil
	}
	return append(ops, operation{Op: "add", Path: pointer("spec", "rules", i, "filters", "-"), Value: r.filter(goal)}), nil
}

// restore takes out every filter of ours, the last first so that the places of
// the others hold, and the list with it where it is the only one.
func (r *mirrored) restore(route *unstructured.Unstructured) ([]operation, error) {
	found := r.filters(route)
	slices.Reverse(found)
	var ops []operation
	for _, s := range found {
		ops = append(ops, operation{Op: "test", Path: s.path() + pointer("requestMirror", "backendRef", "name"), Value: r.mirror.Backend.Name})
		if list := filtersOf(rulesOf(route)[s.rule]); len(list) == 1 {
			path := pointer("spec", "rules", s.rule, "filters")
			ops = append(ops, operation{Op: "test", Path: path, Value: list}, operation{Op: "remove", Path: path})
			continue
		}
		ops = append(ops, operation{Op: "remove", Path: s.path()})
	}
	return ops, nil
}

func (r *mirrored) removeStable(*unstructured.Unstructured) ([]operation, error) { return nil, nil }

func (r *mirrored) accepted(route *unstructured.Unstructured) (bool, string) {
	return routeAccepted(route)
}

func (r *mirrored) manual() []operation {
	s := spot{rule: r.baseline.RuleIndex, index: len(filtersOf(r.baseline.Rule))}
	return []operation{
		{Op: "test", Path: s.path() + pointer("requestMirror", "backendRef", "name"), Value: r.mirror.Backend.Name},
		{Op: "remove", Path: s.path()},
	}
}
