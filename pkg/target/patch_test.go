package target

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4" // the API server's own
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

const stamp = `{"run":"r","epoch":1}`

func ref(name string, weight any) map[string]any {
	m := map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": name}
	if weight != nil {
		m["weight"] = weight
	}
	return m
}

func routeOf(rules ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "chat", "namespace": "default", "annotations": map[string]any{StampAnnotation: stamp, "kept": "a/b~c"}},
		"spec":     map[string]any{"rules": rules},
	}}
}

func ruleOf(name string, refs ...any) map[string]any {
	m := map[string]any{"backendRefs": refs}
	if name != "" {
		m["name"] = name
	}
	return m
}

// apply runs ops as the API server does; refused says that a test failed.
func apply(t *testing.T, route *unstructured.Unstructured, ops []operation) (after *unstructured.Unstructured, refused bool) {
	t.Helper()
	body, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(route.Object)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(doc)
	if err != nil {
		return nil, true
	}
	var object map[string]any
	if err := json.Unmarshal(out, &object); err != nil {
		t.Fatal(err)
	}
	object, _ = integers(object).(map[string]any)
	return &unstructured.Unstructured{Object: object}, false
}

// opened is the target as it would be after reading route.
func opened(t *testing.T, route *unstructured.Unstructured, sel Selection) *Object {
	t.Helper()
	o := &Object{kind: Kinds()[0], name: "chat", stamp: stamp, layout: &httpRoute{selection: sel}}
	if err := o.layout.take(route); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestLocate(t *testing.T) {
	t.Parallel()
	both := func(name string) map[string]any { return ruleOf(name, ref("v1", int64(1)), ref("v2", int64(0))) }
	sel := Selection{Stable: "v1", Canary: "v2"}
	tests := map[string]struct {
		route *unstructured.Unstructured
		sel   Selection
		want  place
		err   string
		hint  string
	}{
		"the only rule with both backends is found":  {routeOf(ruleOf("", ref("v0", nil)), both("")), sel, place{1, 0, 1}, "", ""},
		"two rules with both backends are ambiguous": {routeOf(both("chat"), both("")), sel, place{}, "2 rules hold", "--rule chat or --rule 1"},
		"a rule's name chooses it":                   {routeOf(both("a"), both("b")), Selection{Rule: "b", Stable: "v1", Canary: "v2"}, place{1, 0, 1}, "", ""},
		"a rule's index chooses it":                  {routeOf(both("a"), both("b")), Selection{Rule: "1", Stable: "v1", Canary: "v2"}, place{1, 0, 1}, "", ""},
		"KIND/NAME tells a Service from a pool": {
			routeOf(ruleOf("", map[string]any{"kind": "Service", "name": "v1"}, ref("v1", nil), ref("v2", nil))),
			Selection{Stable: "inferencepool/v1", Canary: "v2"},
			place{0, 1, 2},
			"", "",
		},
		"a canary that is not listed is refused":                {routeOf(ruleOf("", ref("v1", nil))), sel, place{}, "does not list backendRef v2", "--add-backend"},
		"a canary that is not listed may be added":              {routeOf(ruleOf("", ref("v1", nil))), Selection{Stable: "v1", Canary: "v2", AddBackend: true}, place{0, 0, -1}, "", ""},
		"a missing stable is an error that lists what there is": {routeOf(ruleOf("", ref("v0", int64(7)))), sel, place{}, "no rule has a backendRef v1", "v0 weight 7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := locate(tt.route, tt.sel)
			if (err != nil) != (tt.err != "") {
				t.Fatalf("error %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.err) || !strings.Contains(hint.Of(err), tt.hint)) {
				t.Errorf("error %q, hint %q", err, hint.Of(err))
			}
			if err == nil && got != tt.want {
				t.Errorf("place %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rule    map[string]any
		place   place
		percent int
		want    weights
		refused bool
	}{
		"two backends share a hundred":                      {ruleOf("", ref("v1", int64(1)), ref("v2", int64(0))), place{0, 0, 1}, 5, weights{95, 5}, false},
		"an absent weight is one":                           {ruleOf("", ref("v1", nil), ref("v2", nil)), place{0, 0, 1}, 25, weights{75, 25}, false},
		"a third backend keeps its part":                    {ruleOf("", ref("v1", int64(200)), ref("v2", int64(0)), ref("v3", int64(200))), place{0, 0, 1}, 25, weights{150, 50}, false},
		"a third backend at zero does not bind":             {ruleOf("", ref("v1", int64(3)), ref("v2", int64(0)), ref("v3", int64(0))), place{0, 0, 1}, 10, weights{90, 10}, false},
		"a share that cannot be written exactly is refused": {ruleOf("", ref("v1", int64(3)), ref("v2", int64(0)), ref("v3", int64(1))), place{0, 0, 1}, 10, weights{}, true},
		"a canary to be added starts from stable's weight":  {ruleOf("", ref("v1", int64(100)), ref("v3", int64(50))), place{0, 0, -1}, 25, weights{75, 25}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := split(tt.rule, tt.place, tt.percent)
			if (err != nil) != tt.refused {
				t.Fatalf("error %v", err)
			}
			if err == nil && got != tt.want {
				t.Errorf("weights %v, want %v", got, tt.want)
			}
		})
	}
}

// TestOnlyWeightsAndTheStampEverChange moves generated routes up and back:
// the move changes two weights, the way back restores every byte.
func TestOnlyWeightsAndTheStampEverChange(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		before, sel := generate(rng)
		r := opened(t, before, sel)
		goal := rollout.Goal(25 * (1 + rng.IntN(4)))
		ops, err := r.plan(before, rollout.Baseline, goal)
		if err != nil {
			t.Fatal(err)
		}
		moved := before
		if ops != nil {
			var refused bool
			if moved, refused = apply(t, before, ops); refused {
				t.Fatalf("move to %v was refused: %v", goal, ops)
			}
		}
		if at, err := r.standing(moved, goal); err != nil || !at.AtGoal {
			t.Fatalf("after the move: %+v %v", at, err)
		}
		if !reflect.DeepEqual(withoutWeights(before, sel), withoutWeights(moved, sel)) {
			t.Fatalf("the move changed more than weights\nbefore %v\nafter  %v", before.Object, moved.Object)
		}
		back, err := r.plan(moved, goal, rollout.Baseline)
		if err != nil {
			t.Fatal(err)
		}
		restored := moved
		if back != nil {
			restored, _ = apply(t, moved, back)
		}
		if restored == nil || !reflect.DeepEqual(restored.Object, before.Object) {
			t.Fatalf("the way back is not exact\nbefore   %v\nrestored %v\nops %v", before.Object, restored, back)
		}
	}
}

// generate makes a route with other rules, third backends, filters, absent
// weights and fields this build does not know.
func generate(rng *rand.Rand) (*unstructured.Unstructured, Selection) {
	weight := func() any {
		if rng.IntN(3) == 0 {
			return nil
		}
		return int64(100 * rng.IntN(5))
	}
	refs := []any{ref("v1", weight())}
	if refs[0].(map[string]any)["weight"] == nil {
		refs[0] = ref("v1", int64(100))
	}
	add := rng.IntN(3) == 0
	if !add {
		refs = append(refs, ref("v2", int64(100*rng.IntN(3))))
	}
	for i := range rng.IntN(3) {
		refs = append(refs, ref("other-"+strconv.Itoa(i), weight()))
	}
	rng.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	rule := ruleOf("", refs...)
	rule["filters"] = []any{map[string]any{"type": "RequestMirror", "unknownField": map[string]any{"x": "<&>", "n": int64(1)}}}
	rules := []any{rule}
	for range rng.IntN(3) {
		rules = append(rules, ruleOf("", ref("elsewhere", weight())))
	}
	rng.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
	return routeOf(rules...), Selection{Stable: "v1", Canary: "v2", AddBackend: add}
}

// withoutWeights is the route with the two weights, and an added canary, taken
// out.
func withoutWeights(route *unstructured.Unstructured, sel Selection) map[string]any {
	object := route.DeepCopy().Object
	for _, rule := range rulesOf(&unstructured.Unstructured{Object: object}) {
		m, _ := rule.(map[string]any)
		var kept []any
		for _, r := range backendsOf(rule) {
			b, _ := r.(map[string]any)
			if b["name"] == sel.Stable || b["name"] == sel.Canary {
				delete(b, "weight")
			}
			if b["name"] != sel.Canary || !sel.AddBackend {
				kept = append(kept, b)
			}
		}
		m["backendRefs"] = kept
		object["spec"].(map[string]any)["rules"] = append(object["spec"].(map[string]any)["rules"].([]any)[:0:0], rule)
	}
	return object
}

func TestWhatRefusesAPatch(t *testing.T) {
	t.Parallel()
	sel := Selection{Stable: "v1", Canary: "v2"}
	before := routeOf(ruleOf("", ref("v1", int64(100)), ref("v2", int64(0))))
	r := opened(t, before, sel)
	up, err := r.plan(before, rollout.Baseline, 25)
	if err != nil {
		t.Fatal(err)
	}
	moved, _ := apply(t, before, up)
	down, err := r.plan(moved, 25, rollout.Baseline)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(from *unstructured.Unstructured, change func(rule, annotations map[string]any)) *unstructured.Unstructured {
		c := from.DeepCopy()
		annotations, _, _ := unstructured.NestedMap(c.Object, "metadata", "annotations")
		rules := rulesOf(c)
		change(rules[0].(map[string]any), annotations)
		_ = unstructured.SetNestedMap(c.Object, annotations, "metadata", "annotations")
		_ = unstructured.SetNestedSlice(c.Object, rules, "spec", "rules")
		return c
	}
	tests := map[string]struct {
		route   *unstructured.Unstructured
		ops     []operation
		refused bool
	}{
		"another stamp refuses a raise":    {edit(before, func(_, a map[string]any) { a[StampAnnotation] = "theirs" }), up, true},
		"another stamp refuses a rollback": {edit(moved, func(_, a map[string]any) { a[StampAnnotation] = "theirs" }), down, true},
		"a changed rule refuses a raise":   {edit(before, func(r, _ map[string]any) { r["timeouts"] = map[string]any{"request": "1s"} }), up, true},
		"a changed rule does not refuse a rollback": {
			edit(moved, func(r, _ map[string]any) { r["timeouts"] = map[string]any{"request": "1s"} }), down, false,
		},
		"another annotation refuses nothing": {edit(before, func(_, a map[string]any) { a["x"] = "y" }), up, false},
		"a replaced backend refuses a rollback": {
			edit(moved, func(r, _ map[string]any) { r["backendRefs"].([]any)[1].(map[string]any)["name"] = "v9" }), down, true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, refused := apply(t, tt.route, tt.ops); refused != tt.refused {
				t.Errorf("refused %v, want %v", refused, tt.refused)
			}
		})
	}
}

func TestReleaseLeavesNoTrace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ annotations, want map[string]any }{
		"an annotations map of ours alone goes": {map[string]any{StampAnnotation: stamp}, nil},
		"other annotations stay":                {map[string]any{StampAnnotation: stamp, "kept": "x"}, map[string]any{"kept": "x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := routeOf()
			_ = unstructured.SetNestedMap(route.Object, tt.annotations, "metadata", "annotations")
			after, refused := apply(t, route, releasePatch(stamp, route.GetAnnotations(), nil))
			if refused {
				t.Fatal("refused")
			}
			got, _, _ := unstructured.NestedMap(after.Object, "metadata", "annotations")
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("annotations %v, want %v", got, tt.want)
			}
		})
	}
}
