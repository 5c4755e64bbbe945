package rewrite

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// ruleOf is the rule that a Table makes of targets.
func ruleOf(targets ...Target) *Rule {
	return NewTable([]Object{{Rules: []Rule{{Targets: targets}}}}).Match("")
}

func TestSharesAreExactToFourSigmaOver100000Requests(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for rule, targets := range map[string][]Target{
		"90 to 10":                      {{"a", 90}, {"b", 10}},
		"one in a million":              {{"a", 999_999}, {"b", 1}},
		"three of ten at odd weights":   {{"a", 7}, {"b", 11}, {"c", 13}},
		"no weight, no traffic":         {{"a", 5}, {"b", 0}},
		"the largest weights there are": {{"a", math.MaxInt32}, {"b", math.MaxInt32}, {"c", 1}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(3, 4))
			got, total := map[string]int{}, 0.0
			r := ruleOf(targets...)
			for range n {
				got[r.Draw(random.Uint64N)]++
			}
			for _, target := range targets {
				total += float64(target.Weight)
			}
			for _, target := range targets {
				p := float64(target.Weight) / total
				if off := math.Abs(float64(got[target.Model]) - n*p); off > max(4*math.Sqrt(n*p*(1-p)), 1e-6) && (p == 0 || off >= 1) {
					t.Errorf("%s: %d of %d, want %.6f", target.Model, got[target.Model], n, p)
				}
			}
		})
	}
}

func TestDrawCoversEveryNumberBelowTheTotalOnce(t *testing.T) {
	t.Parallel()
	r := ruleOf(Target{"a", 2}, Target{"b", 0}, Target{"c", 3})
	got := ""
	for n := range uint64(5) {
		got += r.Draw(func(total uint64) uint64 {
			if total != 5 {
				t.Errorf("drew below %d", total)
			}
			return n
		})
	}
	if got != "aaccc" {
		t.Errorf("got %s", got)
	}
}

func TestDrawAllocatesNothing(t *testing.T) {
	r := ruleOf(Target{"a", 1}, Target{"b", 2})
	if n := testing.AllocsPerRun(100, func() { r.Draw(rand.Uint64N) }); n != 0 {
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
	table := NewTable([]Object{{Rules: []Rule{
		{Model: "m", Targets: []Target{{"b", 1}, {"a", 1}}}, {Targets: []Target{{"c", 1}, {"a", 1}}},
	}}})
	if got := table.Targets(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("targets %v", got)
	}
	if !table.Names("m") || !table.Names("c") || table.Names("x") || table.Names("") {
		t.Error("wrong names")
	}
	if table.Empty() || !new(Table).Empty() {
		t.Error("wrong empty")
	}
}

func TestPriority(t *testing.T) {
	t.Parallel()
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	table := NewTable([]Object{
		{Created: young, Name: "a", Model: "batch", Priority: 5},
		{Created: old, Name: "b", Model: "batch", Priority: -1},
		{Created: old, Name: "urgent", Objective: true, Priority: 10},
	})
	for rule, tc := range map[string]struct {
		model, objective string
		want             int
	}{
		"nothing is said: 0":                   {"chat", "", 0},
		"its model's, by the oldest object":    {"batch", "", -1},
		"the objective's before its model's":   {"batch", "urgent", 10},
		"one that does not exist says nothing": {"batch", "none", -1},
		"an InferenceModel is no objective":    {"chat", "b", 0},
	} {
		if got := table.Priority(tc.model, tc.objective); got != tc.want {
			t.Errorf("%s: %d, want %d", rule, got, tc.want)
		}
	}
}
