package target

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func shadowed() Mirror {
	return Mirror{Backend: mirror.Backend{Kind: "Service", Name: "shadow", Port: 8000}}
}

// copies is a filter that copies to a Service as the API server keeps it.
func copies(name string, percent int64) map[string]any {
	ref := map[string]any{"group": "", "kind": "Service", "name": name, "port": int64(8000)}
	return map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": ref, "percent": percent}}
}

func filtered(rule map[string]any, filters ...any) map[string]any {
	rule["filters"] = filters
	return rule
}

func mirroredRoute(t *testing.T, route *unstructured.Unstructured, m Mirror) *Object {
	t.Helper()
	kind := mirrorKind(m)
	o := &Object{kind: kind, name: "chat", stamp: stamp, layout: kind.layout(Selection{})}
	if err := o.layout.take(route); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestWhichRuleIsMirrored(t *testing.T) {
	t.Parallel()
	plain := func() map[string]any { return ruleOf("a", ref("v1", nil)) }
	for rule, tt := range map[string]struct {
		route *unstructured.Unstructured
		m     Mirror
		err   string
	}{
		"the only rule with backends":             {routeOf(map[string]any{"filters": []any{}}, plain()), shadowed(), ""},
		"two rules are ambiguous":                 {routeOf(plain(), ruleOf("b", ref("v1", nil))), shadowed(), "2 rules have backends"},
		"a name chooses":                          {routeOf(plain(), ruleOf("b", ref("v1", nil))), Mirror{Rule: "b", Backend: shadowed().Backend}, ""},
		"a rule that is not there is refused":     {routeOf(plain()), Mirror{Rule: "z"}, `no rule "z"`},
		"a filter to the same backend is refused": {routeOf(filtered(plain(), copies("shadow", 5))), shadowed(), "mirrors to Service shadow already"},
		"a filter to another one is kept":         {routeOf(filtered(plain(), copies("other", 5))), shadowed(), ""},
		"of two pools the primary must be named":  {routeOf(ruleOf("", ref("v1", nil), ref("v2", nil))), shadowed(), "2 backends of the rule serve"},
		"a pool of weight 0 serves nobody":        {routeOf(ruleOf("", ref("v1", nil), ref("v2", int64(0)))), shadowed(), ""},
	} {
		kind := mirrorKind(tt.m)
		err := kind.layout(Selection{}).take(tt.route)
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestAMirrorComesAndGoesAndLeavesEveryByte(t *testing.T) {
	t.Parallel()
	header := map[string]any{"type": "RequestHeaderModifier", "requestHeaderModifier": map[string]any{"remove": []any{"x"}}}
	for rule, route := range map[string]*unstructured.Unstructured{
		"a rule without filters":   routeOf(ruleOf("a", ref("v1", int64(3)))),
		"a rule with a filter":     routeOf(map[string]any{"matches": []any{}}, filtered(ruleOf("", ref("v1", nil)), header)),
		"a rule with a mirror too": routeOf(filtered(ruleOf("", ref("v1", nil)), copies("other", 5), header)),
	} {
		o := mirroredRoute(t, route, shadowed())
		there := mustPlan(t, o, route, rollout.Baseline, 20)
		if share, exact, err := o.layout.at(there, 20); err != nil || !exact || share != 20 {
			t.Errorf("%s: at %v, exact %v, %v", rule, share, exact, err)
		}
		raw, err := o.Record()
		if err != nil {
			t.Fatal(err)
		}
		kind := mirrorKind(shadowed())
		again := &Object{kind: kind, stamp: stamp, layout: kind.layout(Selection{})}
		if err := again.layout.recall(raw); err != nil {
			t.Fatal(err)
		}
		back := mustPlan(t, again, there, 20, rollout.Baseline)
		if !reflect.DeepEqual(back.Object, route.Object) {
			t.Errorf("%s: not as before:\n%v\n%v", rule, back.Object, route.Object)
		}
	}
}

// mustPlan applies what takes object from one goal to another.
func mustPlan(t *testing.T, o *Object, object *unstructured.Unstructured, from, goal rollout.Goal) *unstructured.Unstructured {
	t.Helper()
	ops, err := o.plan(object, from, goal)
	if err != nil {
		t.Fatal(err)
	}
	after, refused := apply(t, object, ops)
	if refused {
		t.Fatalf("refused: %v", ops)
	}
	return after
}

func TestWhatOthersWriteIsSeenAndOurFilterIsFoundAgain(t *testing.T) {
	t.Parallel()
	route := routeOf(ruleOf("a", ref("v1", nil)))
	o := mirroredRoute(t, route, shadowed())
	edited := routeOf(ruleOf("new", ref("v0", nil)), filtered(ruleOf("a", ref("v1", int64(9))), copies("other", 1), copies("shadow", 77)))
	if share, exact, _ := o.layout.at(edited, 20); exact || share != 77 {
		t.Errorf("at %v, exact %v", share, exact)
	}
	back := mustPlan(t, o, edited, 20, rollout.Baseline)
	if want := routeOf(ruleOf("new", ref("v0", nil)), filtered(ruleOf("a", ref("v1", int64(9))), copies("other", 1))); !reflect.DeepEqual(back.Object, want.Object) {
		t.Errorf("%v", back.Object)
	}
	if _, err := o.plan(routeOf(ruleOf("a", ref("v2", nil))), rollout.Baseline, 20); !errors.Is(err, rollout.ErrDrift) {
		t.Errorf("a changed rule is mirrored: %v", err)
	}
	ops, err := o.plan(route, rollout.Baseline, 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := apply(t, edited, ops); !refused {
		t.Error("a patch was taken though the rule had changed")
	}
	if text, err := json.Marshal(o.layout.manual()); err != nil || !strings.Contains(string(text), `"remove"`) {
		t.Errorf("%s %v", text, err)
	}
}
