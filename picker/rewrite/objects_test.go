package rewrite

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func model(spec string) string {
	return "{kind: InferenceModel, metadata: {name: x}, spec: {modelName: m, " + spec + "}}"
}

func objective(spec string) string {
	return "{kind: InferenceObjective, metadata: {name: x}, spec: {" + spec + "}}"
}

func rewriting(spec string) string {
	return "{kind: InferenceModelRewrite, metadata: {name: x}, spec: {" + spec + "}}"
}

func TestReadObject(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ object, want string }{
		"InferenceModel: weights":                           {model("poolRef: {name: p}, targetModels: [{name: a, weight: 90}, {name: b, weight: 10}]"), "[m:a=90,b=10]"},
		"InferenceModel: no weights are equal ones":         {model("poolRef: {name: p}, targetModels: [{name: a}, {name: b}]"), "[m:a=1,b=1]"},
		"InferenceModel: no targets: its own name":          {model("poolRef: {name: p}"), "[m:m=1]"},
		"InferenceModel: either group of the pool":          {model("poolRef: {name: p, group: inference.networking.k8s.io}"), "[m:m=1]"},
		"InferenceModel: another group":                     {model("poolRef: {name: p, group: example.com}"), "not ours"},
		"InferenceModel: another pool":                      {model("poolRef: {name: q}"), "not ours"},
		"InferenceModel: sheddable is below the usual":      {model("poolRef: {name: p}, criticality: Sheddable"), "[m:m=1] m has -1"},
		"InferenceModel: critical is above it":              {model("poolRef: {name: p}, criticality: Critical"), "[m:m=1] m has 1"},
		"InferenceModel: standard is the usual":             {model("poolRef: {name: p}, criticality: Standard"), "[m:m=1]"},
		"Objective: its priority":                           {objective("priority: -10, poolRef: {name: p}"), "[] objective x has -10"},
		"Objective: unset is 0":                             {objective("poolRef: {name: p}"), "[] objective x has 0"},
		"Objective: of another pool":                        {objective("priority: 1, poolRef: {name: q}"), "not ours"},
		"Objective: of the pool's own group, and no other":  {objective("priority: 1, poolRef: {name: p, group: inference.networking.x-k8s.io}"), "not ours"},
		"Rewrite: both split and targets is refused":        {rewriting("poolRef: {name: p}, rules: [{split: [{modelRewrite: a}], targets: [{modelRewrite: b}]}]"), "read InferenceModelRewrite x: a rule has both split and targets: they are one list under two names"},
		"Rewrite: split":                                    {rewriting("poolRef: {name: p}, rules: [{matches: [{model: {type: Exact, value: m}}], split: [{modelRewrite: a, weight: 3}, {modelRewrite: b, weight: 1}]}]"), "[m:a=3,b=1]"},
		"Rewrite: targets":                                  {rewriting("poolRef: {name: p}, rules: [{matches: [{model: {value: m}}], targets: [{modelRewrite: a, weight: 3}]}]"), "[m:a=3]"},
		"Rewrite: matches are alternatives":                 {rewriting("poolRef: {name: p}, rules: [{matches: [{model: {value: m}}, {model: {value: k}}], targets: [{modelRewrite: a}]}]"), "[m:a=1 k:a=1]"},
		"Rewrite: no matches: generic":                      {rewriting("poolRef: {name: p}, rules: [{targets: [{modelRewrite: a}]}]"), "[:a=1]"},
		"Rewrite: a match without model is dead":            {rewriting("poolRef: {name: p}, rules: [{matches: [{}], targets: [{modelRewrite: a}]}]"), "[]"},
		"Rewrite: all weights unset: equal":                 {rewriting("poolRef: {name: p}, rules: [{targets: [{modelRewrite: a}, {modelRewrite: b}]}]"), "[:a=1,b=1]"},
		"Rewrite: some weights unset: those get nothing":    {rewriting("poolRef: {name: p}, rules: [{targets: [{modelRewrite: a}, {modelRewrite: b, weight: 5}]}]"), "[:a=0,b=5]"},
		"Rewrite: the pool's own group, and no other":       {rewriting("poolRef: {name: p, group: inference.networking.x-k8s.io}, rules: [{targets: [{modelRewrite: a}]}]"), "not ours"},
		"Rewrite: a target that is no name is named":        {rewriting("poolRef: {name: p}, rules: [{targets: [{modelRewrite: 'a b'}]}]"), `read InferenceModelRewrite x: target "a b" is not 1 to 253 visible ASCII characters`},
		"Rewrite: a negative weight, if any, sends nothing": {rewriting("poolRef: {name: p}, rules: [{targets: [{modelRewrite: a, weight: -4}]}]"), "[:a=0]"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			o, ours, err := ReadObject(parse(t, tc.object), Pool{Group: groupV1, Name: "p"})
			got := describe(o)
			switch {
			case err != nil:
				got = err.Error()
			case !ours:
				got = "not ours"
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func describe(o Object) string {
	var rules []string
	for _, r := range o.Rules {
		s := r.Model + ":"
		for i, target := range r.Targets {
			if i > 0 {
				s += ","
			}
			s += fmt.Sprintf("%s=%d", target.Model, target.Weight)
		}
		rules = append(rules, s)
	}
	s := fmt.Sprint(rules)
	switch {
	case o.Objective:
		s += fmt.Sprintf(" objective %s has %d", o.Name, o.Priority)
	case o.Priority != 0:
		s += fmt.Sprintf(" %s has %d", o.Model, o.Priority)
	}
	return s
}
