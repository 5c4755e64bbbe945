package rewrite

import (
	"cmp"
	"slices"
	"time"
)

// Target is a model that may serve a rule's requests.
type Target struct {
	Model  string
	Weight uint64
}

// Rule says which targets serve the requests for one model.
type Rule struct {
	Object  string // kind/name, for logs
	Model   string // "" for the generic rule
	Targets []Target
	total   uint64 // of the weights
}

// Table is every rule of a pool. It does not change; the zero Table is empty.
type Table struct {
	exact              map[string]*Rule
	generic            *Rule
	models, objectives map[string]int // priorities
	names              map[string]bool
}

// Object is what one InferenceModel, InferenceModelRewrite or InferenceObjective
// says.
type Object struct {
	Kind, Name string
	Created    time.Time
	Rules      []Rule
	// Model is the one whose requests have Priority; "" where Objective has it.
	Model     string
	Objective bool // requests that name this object have Priority
	Priority  int
}

// NewTable puts objects in force, the oldest first.
func NewTable(objects []Object) *Table {
	ordered := slices.SortedStableFunc(slices.Values(objects), func(a, b Object) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	t := &Table{exact: map[string]*Rule{}, models: map[string]int{}, objectives: map[string]int{}, names: map[string]bool{}}
	for _, o := range ordered {
		if o.Model != "" {
			first(t.models, o.Model, o.Priority)
		}
		if o.Objective {
			first(t.objectives, o.Name, o.Priority)
		}
		for _, rule := range o.Rules {
			t.add(o, rule)
		}
	}
	return t
}

// first keeps what an older object said.
func first(m map[string]int, name string, priority int) {
	if _, said := m[name]; !said {
		m[name] = priority
	}
}

func (t *Table) add(o Object, rule Rule) {
	rule.Object, rule.total = o.Kind+"/"+o.Name, 0
	for _, target := range rule.Targets {
		rule.total += target.Weight
	}
	switch {
	case rule.total == 0:
		return // a rule that can send nobody anywhere
	case rule.Model == "" && t.generic == nil:
		t.generic = &rule
	case rule.Model != "" && t.exact[rule.Model] == nil:
		t.exact[rule.Model] = &rule
	default:
		return // an older rule has the name
	}
	t.names[rule.Model] = true
	for _, target := range rule.Targets {
		t.names[target.Model] = true
	}
}

// Match returns the rule for a model, "" where the request names none; nil when
// there is no rule.
func (t *Table) Match(model string) *Rule {
	if r := t.exact[model]; r != nil {
		return r
	}
	return t.generic
}

// Empty tells that no rule is in force: then no body needs to be looked at.
func (t *Table) Empty() bool { return len(t.exact) == 0 && t.generic == nil }

// Names tells whether a rule is about this model, or sends to it.
func (t *Table) Names(model string) bool { return model != "" && t.names[model] }

// Priority is that of the objective which a request names, else of its model, else
// 0; requests of a lower one are refused first when a pool is saturated.
func (t *Table) Priority(model, objective string) int {
	if priority, ok := t.objectives[objective]; ok {
		return priority
	}
	return t.models[model]
}

// Targets lists every target model in order.
func (t *Table) Targets() []string {
	var names []string
	rules := []*Rule{t.generic}
	for _, r := range t.exact {
		rules = append(rules, r)
	}
	for _, r := range rules {
		if r == nil {
			continue
		}
		for _, target := range r.Targets {
			names = append(names, target.Model)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Draw chooses a target in exact proportion to the weights, whatever is loaded:
// see the package comment. draw returns a uniform number below its argument. It
// allocates nothing.
func (r *Rule) Draw(draw func(uint64) uint64) (model string) {
	n := draw(r.total)
	for i := range r.Targets {
		if n < r.Targets[i].Weight {
			return r.Targets[i].Model
		}
		n -= r.Targets[i].Weight
	}
	return "" // no rule of a Table comes here: its total is the sum
}
