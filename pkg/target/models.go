package target

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// listing is one list of target models in an object, and where it stands.
type listing struct {
	Path []any `json:"path"`
	List []any `json:"list"`
	// rule is how people choose it with --rule; "" where there is only one.
	rule string
}

// modelShape finds the lists of one kind of object; key is what an entry calls
// its model.
type modelShape struct {
	key   string
	lists func(object *unstructured.Unstructured) []listing
}

// inferenceModelShape is InferenceModelSpec.targetModels of
// inference.networking.x-k8s.io/v1alpha2.
func inferenceModelShape() modelShape {
	return modelShape{key: "name", lists: func(object *unstructured.Unstructured) []listing {
		list, _, _ := unstructured.NestedSlice(object.Object, "spec", "targetModels")
		return []listing{{Path: []any{"spec", "targetModels"}, List: list}}
	}}
}

// modelRewriteShape is InferenceModelRewriteSpec.rules of
// inference.networking.x-k8s.io/v1alpha2 and llm-d.ai/v1alpha2. The list is
// called split in one form of the CRD and targets in the other; the API server
// prunes what its schema lacks, so the object itself tells which.
func modelRewriteShape() modelShape {
	return modelShape{key: "modelRewrite", lists: func(object *unstructured.Unstructured) []listing {
		var found []listing
		for i, rule := range rulesOf(object) {
			m, _ := rule.(map[string]any)
			for _, field := range []string{"split", "targets"} {
				if list, ok := m[field].([]any); ok {
					found = append(found, listing{Path: []any{"spec", "rules", i, field}, List: list, rule: strconv.Itoa(i)})
				}
			}
		}
		return found
	}}
}

// models is the layout of objects that give target models, such as LoRA
// adapters, shares of one model name: a list of names with weights.
//
// Both kinds of object reject weight 0, and want weights on all entries or on
// none. So absence is 0 %: the canary joins the list in the first move that
// gives it a share, at 100 stable leaves it, and the way back restores the
// entries as they were, their places and absent weights included.
type models struct {
	modelShape
	selection Selection
	baseline  modelsBaseline
}

// modelsBaseline is what a rollout returns to: the list exactly as found.
type modelsBaseline struct {
	UID types.UID `json:"uid"`
	listing
}

func (m *models) take(object *unstructured.Unstructured) error {
	var found []listing
	var rules, listed []string
	for _, l := range m.lists(object) {
		listed = append(listed, m.names(l.List)...)
		if (m.selection.Rule == "" || m.selection.Rule == l.rule) && m.index(l.List, m.selection.Stable) >= 0 {
			found, rules = append(found, l), append(rules, l.rule)
		}
	}
	name := strings.ToLower(object.GetKind()) + " " + object.GetNamespace() + "/" + object.GetName()
	switch {
	case len(found) > 1:
		return hint.Errorf("--rule "+strings.Join(rules, " or --rule "), "%s: %d rules list target %s: %s",
			name, len(found), m.selection.Stable, strings.Join(rules, ", "))
	case len(found) == 0:
		return hint.Errorf("targets listed: "+strings.Join(listed, ", "), "%s: no %s lists target %s",
			name, map[bool]string{true: "rule", false: "rule called " + m.selection.Rule}[m.selection.Rule == ""], m.selection.Stable)
	}
	m.baseline = modelsBaseline{UID: object.GetUID(), listing: found[0]}
	return nil
}

func (m *models) record() any { return m.baseline }

func (m *models) recall(raw json.RawMessage) error {
	if err := json.Unmarshal(raw, &m.baseline); err != nil {
		return err
	}
	m.baseline.Path, _ = integers(m.baseline.Path).([]any)
	m.baseline.List, _ = integers(m.baseline.List).([]any)
	if m.index(m.baseline.List, m.selection.Stable) < 0 {
		return fmt.Errorf("target %s is not in it", m.selection.Stable)
	}
	return nil
}

func (m *models) entries() (stable, canary map[string]any) {
	return m.entry(m.baseline.List, m.selection.Stable), m.entry(m.baseline.List, m.selection.Canary)
}

func (m *models) weights(goal rollout.Goal) (weights, error) {
	was := m.weightsIn(m.baseline.List)
	if goal == rollout.Baseline || (goal == 0 && was.canary < 0) {
		return was, nil
	}
	sum := int64(100)
	if m.others() {
		sum = (max(0, was.stable) + max(0, was.canary)) * m.scale()
	}
	if sum*int64(goal)%100 != 0 {
		return weights{}, hint.Errorf("give the two targets weights that sum to a multiple of 100",
			"weights of the two targets sum to %d beside other targets: a share of %s cannot be written exactly", sum, goal)
	}
	w := weights{canary: sum * int64(goal) / 100}
	w.stable = sum - w.canary
	return weights{stable: listedAbove0(w.stable), canary: listedAbove0(w.canary)}, nil
}

// listedAbove0 is how a weight is written: 0 by not listing it.
func listedAbove0(weight int64) int64 {
	if weight == 0 {
		return -1
	}
	return weight
}

// others says whether further targets take part of the requests.
func (m *models) others() bool {
	return slices.ContainsFunc(m.baseline.List, func(entry any) bool {
		return !m.ours(m.name(entry)) && (!weighted(m.baseline.List) || weightOr(entry, 0) > 0)
	})
}

// scale is what an absent weight becomes: shares of targets without weights are
// equal, and have to be written as numbers once two of them differ.
func (m *models) scale() int64 {
	if weighted(m.baseline.List) {
		return 1
	}
	return 100
}

func (m *models) at(object *unstructured.Unstructured, goal rollout.Goal) (float64, bool, error) {
	list, err := m.find(object)
	if err != nil {
		return 0, false, err
	}
	want, err := m.weights(goal)
	if err != nil {
		return 0, false, err
	}
	now := m.weightsIn(list)
	return now.share(), now == want, nil
}

// find is the live list at the place of the baseline's. One without either
// target is not the rollout's any more.
func (m *models) find(object *unstructured.Unstructured) ([]any, error) {
	for _, l := range m.lists(object) {
		if pointer(l.Path...) == pointer(m.baseline.Path...) &&
			(m.index(l.List, m.selection.Stable) >= 0 || m.index(l.List, m.selection.Canary) >= 0) {
			return l.List, nil
		}
	}
	return nil, fmt.Errorf("%s %s lists neither %s nor %s at %s: %w", strings.ToLower(object.GetKind()), object.GetName(),
		m.selection.Stable, m.selection.Canary, pointer(m.baseline.Path...), rollout.ErrDrift)
}

func (m *models) move(object *unstructured.Unstructured, goal rollout.Goal) ([]operation, error) {
	list, err := m.find(object)
	if err != nil {
		return nil, err
	}
	w, err := m.weights(goal)
	if err != nil {
		return nil, err
	}
	path := pointer(m.baseline.Path...)
	return []operation{{Op: "test", Path: path, Value: list}, {Op: "replace", Path: path, Value: m.with(list, w)}}, nil
}

// with is list at weights w. Other targets keep their part.
func (m *models) with(list []any, w weights) []any {
	wanted := map[string]int64{m.selection.Stable: w.stable, m.selection.Canary: w.canary}
	var out []any
	for _, entry := range list {
		switch weight, ours := wanted[m.name(entry)]; {
		case ours && weight >= 0:
			out = append(out, weigh(entry, weight))
		case !ours && weighted(m.baseline.List):
			out = append(out, entry)
		case !ours:
			out = append(out, weigh(entry, weightOr(entry, m.scale())))
		}
	}
	if w.stable >= 0 && m.index(list, m.selection.Stable) < 0 {
		place := min(m.index(m.baseline.List, m.selection.Stable), len(out))
		out = slices.Insert(out, place, weigh(m.entry(m.baseline.List, m.selection.Stable), w.stable))
	}
	if w.canary >= 0 && m.index(list, m.selection.Canary) < 0 {
		out = append(out, any(map[string]any{m.key: m.selection.Canary, "weight": w.canary}))
	}
	return out
}

func (m *models) restore(object *unstructured.Unstructured) ([]operation, error) {
	list, err := m.find(object)
	if err != nil {
		return nil, err
	}
	var test, set []operation
	for i, entry := range list {
		old := m.entry(m.baseline.List, m.name(entry))
		change := restoreWeight(m.path(i), entry, old)
		if old == nil || (!m.ours(m.name(entry)) && weighted(m.baseline.List)) {
			change = nil // not ours to restore
		}
		if len(change) > 0 {
			test, set = append(test, m.testName(list, i)), append(set, change...)
		}
	}
	if i := m.index(list, m.selection.Canary); i >= 0 && m.index(m.baseline.List, m.selection.Canary) < 0 {
		test, set = append(test, m.testName(list, i)), append(set, operation{Op: "remove", Path: m.path(i)})
		list = slices.Delete(slices.Clone(list), i, i+1)
	}
	for place, entry := range m.baseline.List {
		if name := m.name(entry); m.ours(name) && m.index(list, name) < 0 {
			place = min(place, len(list))
			set = append(set, operation{Op: "add", Path: m.path(place), Value: entry})
			list = slices.Insert(slices.Clone(list), place, entry)
		}
	}
	return append(test, set...), nil
}

func (m *models) removeStable(*unstructured.Unstructured) ([]operation, error) {
	return nil, nil // at 100 % it is not listed
}

// accepted: neither kind has a status that says who honours it.
func (m *models) accepted(*unstructured.Unstructured) (bool, string) { return true, "" }

func (m *models) manual() []operation {
	return []operation{{Op: "replace", Path: pointer(m.baseline.Path...), Value: m.baseline.List}}
}

func (m *models) path(index int) string {
	return pointer(append(slices.Clone(m.baseline.Path), index)...)
}

func (m *models) testName(list []any, index int) operation {
	return operation{Op: "test", Path: m.path(index) + pointer(m.key), Value: m.name(list[index])}
}

func (m *models) name(entry any) string {
	e, _ := entry.(map[string]any)
	name, _ := e[m.key].(string)
	return name
}

// ours says whether name is stable or canary.
func (m *models) ours(name string) bool {
	return name == m.selection.Stable || name == m.selection.Canary
}

func (m *models) names(list []any) []string {
	var names []string
	for _, entry := range list {
		names = append(names, m.name(entry))
	}
	return names
}

func (m *models) index(list []any, name string) int { return slices.Index(m.names(list), name) }

func (m *models) entry(list []any, name string) map[string]any {
	if i := m.index(list, name); i >= 0 {
		entry, _ := list[i].(map[string]any)
		return entry
	}
	return nil
}

// weightsIn are the two weights of a list, negative where it has no entry.
// With no weight set all are equal, with some set those without get nothing.
func (m *models) weightsIn(list []any) weights {
	absent := int64(0)
	if !weighted(list) {
		absent = 1
	}
	w := weights{stable: -1, canary: -1}
	if entry := m.entry(list, m.selection.Stable); entry != nil {
		w.stable = weightOr(entry, absent)
	}
	if entry := m.entry(list, m.selection.Canary); entry != nil {
		w.canary = weightOr(entry, absent)
	}
	return w
}

// weighted says whether any entry has a weight.
func weighted(list []any) bool {
	return slices.ContainsFunc(list, func(entry any) bool { return weightOr(entry, -1) >= 0 })
}

// weigh is entry at another weight.
func weigh(entry any, weight int64) any {
	e, _ := entry.(map[string]any)
	out := maps.Clone(e)
	out["weight"] = weight
	return out
}
