package target

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// modelForms are the objects that list target models: spec of a list.
var modelForms = []struct {
	kind, key, spec string
}{
	{"inferencemodel", "name", "{modelName: m, targetModels: %s}"},
	{"inferencemodelrewrite", "modelRewrite", "{rules: [{matches: [{model: {value: other}}], split: [{modelRewrite: x, weight: 7}]}, {matches: [{model: {value: m}}], split: %s}]}"},
	{"inferencemodelrewrite.llm-d.ai", "modelRewrite", "{rules: [{targets: %s}]}"},
}

// listingOf is an object of a form with the list written as "a=90 b".
func listingOf(t *testing.T, form int, list string) *unstructured.Unstructured {
	t.Helper()
	f := modelForms[form]
	var entries []string
	for _, field := range strings.Fields(list) {
		name, weight, weighted := strings.Cut(field, "=")
		entry := "{" + f.key + ": " + name
		if weighted {
			entry += ", weight: " + weight
		}
		entries = append(entries, entry+"}")
	}
	text := "{kind: X, metadata: {name: lora, namespace: default, annotations: {kept: a}}, spec: " + fmt.Sprintf(f.spec, "["+strings.Join(entries, ", ")+"]") + "}"
	object := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	object, _ = integers(object).(map[string]any)
	u := &unstructured.Unstructured{Object: object}
	u.SetAnnotations(map[string]string{StampAnnotation: stamp, "kept": "a"})
	return u
}

func modelsOf(t *testing.T, form int, object *unstructured.Unstructured) *Object {
	t.Helper()
	kind, ok := KindOf(modelForms[form].kind)
	if !ok {
		t.Fatal(modelForms[form].kind)
	}
	o := &Object{kind: kind, name: "lora", stamp: stamp, layout: kind.layout(Selection{Stable: "a", Canary: "b"})}
	if err := o.layout.take(object); err != nil {
		t.Fatal(err)
	}
	return o
}

// written is the list that has stable or canary, as "a=90 b".
func written(o *Object, object *unstructured.Unstructured) string {
	m, _ := o.layout.(*models)
	list, _ := m.find(object)
	var out []string
	for _, entry := range list {
		text := m.name(entry)
		if w := weightOr(entry, -1); w >= 0 {
			text += fmt.Sprint("=", w)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// moved is object after the patch to goal.
func moved(t *testing.T, o *Object, object *unstructured.Unstructured, from, goal rollout.Goal) *unstructured.Unstructured {
	t.Helper()
	ops, err := o.plan(object, from, goal)
	if err != nil {
		t.Fatalf("%v to %v: %v", from, goal, err)
	}
	if ops == nil {
		return object
	}
	after, refused := apply(t, object, ops)
	if refused {
		t.Fatalf("%v to %v: refused: %v", from, goal, ops)
	}
	return after
}

func TestTargetModelsAreListedWhileTheyHaveAShare(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		list  string
		goals []rollout.Goal
		want  string
	}{
		"both are listed":                                     {"a=90 b=10", []rollout.Goal{25}, "a=75 b=25"},
		"the canary joins with its first share":               {"a=100", []rollout.Goal{5}, "a=95 b=5"},
		"adding it at 0 changes nothing yet":                  {"a", []rollout.Goal{0}, "a"},
		"at 100 stable leaves":                                {"a=90 b=10", []rollout.Goal{50, 100}, "b=100"},
		"no weights: all get one":                             {"a", []rollout.Goal{5}, "a=95 b=5"},
		"a third target keeps its part":                       {"a=50 c=50", []rollout.Goal{10}, "a=45 c=50 b=5"},
		"a third target without weight keeps its part":        {"a c", []rollout.Goal{25}, "a=75 c=100 b=25"},
		"three without weights, two of them ours":             {"c a b", []rollout.Goal{75}, "c=100 a=50 b=150"},
		"a third target keeps its part when stable leaves":    {"a=30 c=20 b=20", []rollout.Goal{100}, "c=20 b=50"},
		"back where it was, in its place":                     {"a=60 c=40", []rollout.Goal{50, 100, rollout.Baseline}, "a=60 c=40"},
		"back without the weights it did not have":            {"a c", []rollout.Goal{25, 100, rollout.Baseline}, "a c"},
		"back with both, each in its place":                   {"b=10 c=40 a=50", []rollout.Goal{50, 100, rollout.Baseline}, "b=10 c=40 a=50"},
		"back from a canary that had no place":                {"a", []rollout.Goal{100, rollout.Baseline}, "a"},
		"a model named like a path is one name":               {"a=90 b=10 org/model-1", []rollout.Goal{50}, "a=50 b=50 org/model-1"},
		"one of no weight among weights gets nothing, as was": {"a=90 b=10 c", []rollout.Goal{100}, "b=100 c"},
	} {
		for form := range modelForms {
			t.Run(rule+"/"+modelForms[form].kind, func(t *testing.T) {
				t.Parallel()
				object := listingOf(t, form, tc.list)
				o := modelsOf(t, form, object)
				from := rollout.Baseline
				for _, goal := range tc.goals {
					object = moved(t, o, object, from, goal)
					from = goal
				}
				if got := written(o, object); got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
			})
		}
	}
}

// TestModelWeightsOverGeneratedLists walks steps up and back over 1,500
// generated lists: the share is exact, other targets keep their part, the
// API's rules hold (no weight 0, weights on all or none), nothing else changes,
// and the way back leaves the object as it was.
func TestModelWeightsOverGeneratedLists(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 1500 {
		form := n % len(modelForms)
		list := generateList(rng)
		object := listingOf(t, form, list)
		o := modelsOf(t, form, object)
		m, _ := o.layout.(*models)
		before, from := object, rollout.Baseline
		for _, goal := range []rollout.Goal{rollout.Goal(1 + rng.IntN(49)), rollout.Goal(50 + rng.IntN(50)), 100} {
			if m.others() {
				goal = goal / 10 * 10
			}
			if err := o.CheckSteps([]int{int(goal)}); err != nil || goal == 0 {
				continue
			}
			object = moved(t, o, object, from, goal)
			checkList(t, o, list, object, goal)
			from = goal
		}
		object = moved(t, o, object, from, rollout.Baseline)
		if !reflect.DeepEqual(object.Object, before.Object) {
			t.Fatalf("%s came back as %s", list, written(o, object))
		}
	}
}

func generateList(rng *rand.Rand) string {
	names := []string{"a", "c", "d"}[:1+rng.IntN(3)]
	if rng.IntN(2) == 0 {
		names = append(names, "b")
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	weighted := rng.IntN(3) > 0
	for i := range names {
		if weighted {
			names[i] += fmt.Sprint("=", 10*(1+rng.IntN(20)))
		}
	}
	return strings.Join(names, " ")
}

func checkList(t *testing.T, o *Object, was string, object *unstructured.Unstructured, goal rollout.Goal) {
	t.Helper()
	m, _ := o.layout.(*models)
	share, there, err := o.layout.at(object, goal)
	if err != nil || !there || math.Abs(share-float64(goal)) > 1e-9 {
		t.Fatalf("%s at %v: %s, share %v, %v", was, goal, written(o, object), share, err)
	}
	list, _ := m.find(object)
	total, others, had, all := int64(0), int64(0), int64(0), int64(0)
	for _, entry := range list {
		w := weightOr(entry, 0)
		if w <= 0 || w > 1_000_000 {
			t.Fatalf("%s at %v: weight %d in %s", was, goal, w, written(o, object))
		}
		total += w
		if !m.ours(m.name(entry)) {
			others += w
		}
	}
	for _, entry := range m.baseline.List {
		w := weightOr(entry, 1)
		all += w
		if !m.ours(m.name(entry)) {
			had += w
		}
	}
	if others*all != had*total {
		t.Fatalf("%s at %v: others have %d of %d in %s", was, goal, others, total, written(o, object))
	}
	if strings.Contains(written(o, object), "a=") == (goal == 100) || slices.Contains(strings.Fields(written(o, object)), "a") {
		t.Fatalf("%s at %v: stable in %s", was, goal, written(o, object))
	}
}

func TestWhatOthersWriteIntoAListOfModels(t *testing.T) {
	t.Parallel()
	for form := range modelForms {
		t.Run(modelForms[form].kind, func(t *testing.T) {
			t.Parallel()
			object := listingOf(t, form, "a=90 c=10")
			o := modelsOf(t, form, object)
			at := moved(t, o, object, rollout.Baseline, 50)

			raise, err := o.plan(at, 50, 100)
			if err != nil {
				t.Fatal(err)
			}
			back, err := o.plan(at, rollout.Anywhere, rollout.Baseline)
			if err != nil {
				t.Fatal(err)
			}
			other := listingOf(t, form, "a=45 c=11 b=45 d=5")
			if _, refused := apply(t, other, raise); !refused {
				t.Error("a raise went over a list that had changed")
			}
			after, refused := apply(t, other, back)
			if refused || written(o, after) != "a=90 c=11 d=5" {
				t.Errorf("the way back over a changed list: refused %v, %s", refused, written(o, after))
			}
			if _, err := o.plan(listingOf(t, form, "x=1"), 50, 100); !errors.Is(err, rollout.ErrDrift) {
				t.Errorf("a list without either target: %v", err)
			}
		})
	}
}

func TestModelListsThatAreRefused(t *testing.T) {
	t.Parallel()
	twice := listingOf(t, 1, "a=1 b=1")
	rules := rulesOf(twice)
	rules[0] = rules[1]
	_ = unstructured.SetNestedSlice(twice.Object, rules, "spec", "rules")
	for rule, tc := range map[string]struct {
		object *unstructured.Unstructured
		form   int
		sel    Selection
		steps  []int
		want   string
	}{
		"stable is not listed":                    {listingOf(t, 0, "c=1"), 0, Selection{Stable: "a", Canary: "b"}, nil, "no rule lists target a"},
		"two rules list it":                       {twice, 1, Selection{Stable: "a", Canary: "b"}, nil, "2 rules list target a: 0, 1"},
		"the named rule does not list it":         {listingOf(t, 1, "a"), 1, Selection{Rule: "0", Stable: "a", Canary: "b"}, nil, "no rule called 0 lists target a"},
		"a share that no whole weights express":   {listingOf(t, 0, "a=7 c=3"), 0, Selection{Stable: "a", Canary: "b"}, []int{25}, "cannot be written exactly"},
		"a first step below what the canary has":  {listingOf(t, 0, "a=50 b=50"), 0, Selection{Stable: "a", Canary: "b"}, []int{25}, "not above the canary's present share of 50%"},
		"one of two rules, named, is taken":       {twice, 1, Selection{Rule: "1", Stable: "a", Canary: "b"}, []int{75}, ""},
		"a canary that is not listed needs no ok": {listingOf(t, 2, "a"), 2, Selection{Stable: "a", Canary: "b"}, []int{1}, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			kind, _ := KindOf(modelForms[tc.form].kind)
			o := &Object{kind: kind, name: "lora", layout: kind.layout(tc.sel)}
			err := o.layout.take(tc.object)
			if err == nil {
				err = o.CheckSteps(tc.steps)
			}
			if got := fmt.Sprint(err); (tc.want == "") != (err == nil) || !strings.Contains(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
