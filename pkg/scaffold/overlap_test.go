package scaffold

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// existing reads a route of Gateway gw that is minutes old.
func existing(t *testing.T, name string, minutes int, spec string) *gwv1.HTTPRoute {
	t.Helper()
	r := &gwv1.HTTPRoute{}
	if err := yaml.UnmarshalStrict([]byte(spec), &r.Spec); err != nil {
		t.Fatal(err)
	}
	if r.Spec.ParentRefs == nil {
		r.Spec.ParentRefs = []gwv1.ParentReference{{Name: "gw"}}
	}
	r.Name, r.Namespace = name, "default"
	r.CreationTimestamp = metav1.NewTime(time.Unix(1_000_000-int64(minutes)*60, 0))
	return r
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	const same = "{rules: [{matches: [{headers: [{name: x-gateway-model-name, value: qwen}]}]}]}"
	tests := map[string]struct {
		spec string
		ours int // minutes that our route is old, 0: it is new
		want Winner
	}{
		"the same match in an older route":            {same, 0, OtherIsOlder},
		"the same match in a younger route":           {same, 9, OursIsOlder},
		"a header more":                               {"{rules: [{matches: [{headers: [{name: X-Gateway-Model-Name, value: qwen}, {name: x-canary, value: a}]}]}]}", 9, OtherIsNarrower},
		"a longer path, whatever the headers":         {"{rules: [{matches: [{path: {type: PathPrefix, value: /v1}}]}]}", 9, OtherIsNarrower},
		"an exact path":                               {"{rules: [{matches: [{path: {type: Exact, value: /}}]}]}", 9, OtherIsNarrower},
		"a method":                                    {"{rules: [{matches: [{method: POST}]}]}", 9, OtherIsNarrower},
		"a hostname":                                  {"{hostnames: [a.example], rules: [{}]}", 9, OtherIsNarrower},
		"a query parameter beside the header":         {"{rules: [{matches: [{headers: [{name: X-Gateway-Model-Name, value: qwen}], queryParams: [{name: a, value: b}]}]}]}", 9, OtherIsNarrower},
		"a query parameter counts less than a header": {"{rules: [{matches: [{queryParams: [{name: a, value: b}]}]}]}", 0, OursIsNarrower},
		"a rule that takes everything":                {"{rules: [{}]}", 0, OursIsNarrower},
		"the path /":                                  {"{rules: [{matches: [{path: {type: PathPrefix, value: /}}]}]}", 0, OursIsNarrower},
		"a regular expression that has the name":      {"{rules: [{matches: [{headers: [{name: X-Gateway-Model-Name, type: RegularExpression, value: 'q.*'}]}]}]}", 0, OtherIsOlder},
		"a regular expression is of the whole name":   {"{rules: [{matches: [{headers: [{name: X-Gateway-Model-Name, type: RegularExpression, value: 'q'}]}]}]}", 0, ""},
		"another model":                               {"{rules: [{matches: [{headers: [{name: X-Gateway-Model-Name, value: other}]}]}]}", 0, ""},
		"another model on a longer path":              {"{rules: [{matches: [{path: {type: PathPrefix, value: /v1}, headers: [{name: X-Gateway-Model-Name, value: other}]}]}]}", 0, ""},
		"another Gateway":                             {"{parentRefs: [{name: other}], rules: [{}]}", 0, ""},
		"a Gateway of another namespace":              {"{parentRefs: [{name: gw, namespace: other}], rules: [{}]}", 0, ""},
		"another listener":                            {"{parentRefs: [{name: gw, sectionName: https}], rules: [{}]}", 0, ""},
		"a Service of the same name":                  {"{parentRefs: [{name: gw, kind: Service}], rules: [{}]}", 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			planned, err := Routes(RouteOptions{About: About{Name: "chat", Namespace: "default"}, Gateway: "gw", Section: "http", Models: models(t, "qwen=pool deepseek=other-pool")})
			if err != nil {
				t.Fatal(err)
			}
			there := []*gwv1.HTTPRoute{existing(t, "there", 5, tt.spec)}
			if tt.ours > 0 {
				there = append(there, existing(t, "chat", tt.ours, "{rules: [{}]}"))
			}
			got := Winner("")
			for _, o := range Overlaps(planned, there) {
				if o.Models[0] == "qwen" {
					got = o.Winner
				}
				if o.Other != "default/there" || o.String() == "" {
					t.Errorf("named wrong: %+v", o)
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnOverlapIsToldWithAllItsModels(t *testing.T) {
	t.Parallel()
	planned, err := Routes(RouteOptions{About: About{Name: "chat", Namespace: "default"}, Gateway: "gw", Models: models(t, "qwen=pool,a,b")})
	if err != nil {
		t.Fatal(err)
	}
	there := existing(t, "there", 5, "{rules: [{name: pinned, matches: [{headers: [{name: X-Gateway-Model-Name, value: qwen}]}, {headers: [{name: X-Gateway-Model-Name, value: b}]}]}]}")
	got := Overlaps(planned, []*gwv1.HTTPRoute{there})
	want := "httproute default/there (rule pinned) has the same match and is older: httproute chat gets no request for qwen, b"
	if len(got) != 1 || got[0].String() != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
