package rewrite

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func all(string) bool { return true }

func TestSharesAreExactToFourSigmaOver100000Requests(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for rule, tc := range map[string]struct {
		targets []Target
		loaded  func(string) bool
		want    map[string]float64
	}{
		"90 to 10":                              {[]Target{{"a", 90}, {"b", 10}}, all, map[string]float64{"a": 0.9, "b": 0.1}},
		"one in a million":                      {[]Target{{"a", 999_999}, {"b", 1}}, all, map[string]float64{"a": 0.999999, "b": 0.000001}},
		"three of ten at odd weights":           {[]Target{{"a", 7}, {"b", 11}, {"c", 13}}, all, map[string]float64{"a": 7.0 / 31, "b": 11.0 / 31, "c": 13.0 / 31}},
		"no weight, no traffic":                 {[]Target{{"a", 5}, {"b", 0}}, all, map[string]float64{"a": 1, "b": 0}},
		"what is not loaded leaves its share":   {[]Target{{"a", 50}, {"b", 30}, {"c", 20}}, func(m string) bool { return m != "a" }, map[string]float64{"a": 0, "b": 0.6, "c": 0.4}},
		"the only one that is loaded takes all": {[]Target{{"a", 1}, {"b", 99}}, func(m string) bool { return m == "a" }, map[string]float64{"a": 1, "b": 0}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(3, 4))
			got := map[string]int{}
			r := &Rule{Targets: tc.targets}
			for range n {
				model, ok := r.Draw(tc.loaded, random.Uint64N)
				if !ok {
					t.Fatal("nobody")
				}
				got[model]++
			}
			for model, p := range tc.want {
				if sigma := math.Sqrt(n * p * (1 - p)); math.Abs(float64(got[model])-n*p) > 4*sigma+1e-6 && math.Abs(float64(got[model])-n*p) >= 1 {
					t.Errorf("%s: %d of %d, want %.6f", model, got[model], n, p)
				}
			}
		})
	}
}

func TestDrawRefusesWhenNoTargetIsLoaded(t *testing.T) {
	t.Parallel()
	r := &Rule{Targets: []Target{{"a", 1}}}
	if model, ok := r.Draw(func(string) bool { return false }, rand.Uint64N); ok {
		t.Errorf("got %q", model)
	}
}

func TestDrawAllocatesNothing(t *testing.T) {
	r := &Rule{Targets: []Target{{"a", 1}, {"b", 2}}}
	if n := testing.AllocsPerRun(100, func() { r.Draw(all, rand.Uint64N) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWhichRuleWins(t *testing.T) {
	t.Parallel()
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	to := func(model, target string) Rule { return Rule{Model: model, Targets: []Target{{target, 1}}} }
	for rule, tc := range map[string]struct {
		objects []Object
		ask     string
		want    string
	}{
		"no object, no rule":                        {nil, "m", ""},
		"the oldest object":                         {[]Object{{Kind: "K", Name: "a", Created: young, Rules: []Rule{to("m", "new")}}, {Kind: "K", Name: "b", Created: old, Rules: []Rule{to("m", "old")}}}, "m", "old"},
		"of one age, the first by name":             {[]Object{{Kind: "K", Name: "b", Created: old, Rules: []Rule{to("m", "second")}}, {Kind: "K", Name: "a", Created: old, Rules: []Rule{to("m", "first")}}}, "m", "first"},
		"inside an object, the first":               {[]Object{{Rules: []Rule{to("m", "first"), to("m", "second")}}}, "m", "first"},
		"an old generic rule yields to a young one": {[]Object{{Name: "a", Created: old, Rules: []Rule{to("", "any")}}, {Name: "b", Created: young, Rules: []Rule{to("m", "exact")}}}, "m", "exact"},
		"other models take the generic rule":        {[]Object{{Rules: []Rule{to("m", "exact"), to("", "any")}}}, "x", "any"},
		"so do requests without a model":            {[]Object{{Rules: []Rule{to("m", "exact"), to("", "any")}}}, "", "any"},
		"a rule without targets hides nothing":      {[]Object{{Created: old, Rules: []Rule{{Model: "m"}}}, {Created: young, Rules: []Rule{to("m", "good")}}}, "m", "good"},
		"a name is compared with its case":          {[]Object{{Rules: []Rule{to("M", "big")}}}, "m", ""},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			got := ""
			if r := NewTable(tc.objects).Match(tc.ask); r != nil {
				got = r.Targets[0].Model
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTableKnowsItsNames(t *testing.T) {
	t.Parallel()
	table := NewTable([]Object{{Sheddable: []string{"s"}, Rules: []Rule{
		{Model: "m", Targets: []Target{{"b", 1}, {"a", 1}}}, {Targets: []Target{{"c", 1}, {"a", 1}}},
	}}})
	if got := table.Targets(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("targets %v", got)
	}
	if !table.Names("m") || !table.Names("c") || table.Names("x") || table.Names("") {
		t.Error("wrong names")
	}
	if !table.Sheddable("s") || table.Sheddable("m") || table.Empty() || !new(Table).Empty() {
		t.Error("wrong sheddable or empty")
	}
}
