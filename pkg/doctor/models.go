package doctor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// models: every object with target models is of a pool that is there.
func (c *checkup) models() {
	for _, m := range c.Models {
		if _, ok := c.pool(m.Pool); ok || !c.reads("inferencepools", m.Namespace) {
			continue
		}
		if twin, ok := c.twin(m.Pool); ok {
			c.found("model-dead", Warning, m.ref(), "kubectl patch "+m.Type+" "+m.Name+m.ref().at()+` --type merge -p '{"spec":{"poolRef":{"group":"`+twin.Group+`"}}}'`,
				"its poolRef is of group %s, where no pool %s is; the pool is of %s, and pickers other than kubectl-infer's do not read this object for it", m.Pool.Group, m.Pool.Name, twin.Group)
			continue
		}
		c.found("model-no-pool", Error, m.ref(), "kubectl get inferencepools."+m.Pool.Group+m.ref().at(), "its pool %s is not there: no picker reads it", m.Pool.Name)
	}
}

// poolOf is the pool an object is of: that of the other group, where only that
// is there.
func (c *checkup) poolOf(m Models) PoolKey {
	if _, ok := c.pool(m.Pool); !ok {
		if twin, ok := c.twin(m.Pool); ok {
			return twin.PoolKey
		}
	}
	return m.Pool
}

// claims: one object speaks for a model name of a pool.
func (c *checkup) claims() {
	type claim struct {
		pool  PoolKey
		model string
	}
	owners := map[claim]Models{}
	list := slices.SortedStableFunc(slices.Values(c.Models), func(a, b Models) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	for _, m := range list {
		for _, name := range m.Claims {
			key := claim{c.poolOf(m), name}
			first, taken := owners[key]
			if !taken {
				owners[key] = m
				continue
			}
			if first.ref() == m.ref() {
				continue
			}
			c.found("model-twice", Error, m.ref(), "kubectl delete "+m.Type+" "+m.Name+m.ref().at()+"   # or the other, or change its model name",
				"%s says which targets serve %s too, and is older: pickers read nothing of this one", first.ref().object, called(name))
			break
		}
	}
}

func called(model string) string {
	if model == "" {
		return "every model"
	}
	return "model " + model
}

// targets: each rule has targets, with weights on all or on none, and the pool's
// pods have them loaded.
func (c *checkup) targets() {
	for _, m := range c.Models {
		for _, rule := range m.Rules {
			label := ""
			if rule.Label != "" {
				label = "rule " + rule.Label + ": "
			}
			unset := 0
			for _, t := range rule.Targets {
				if t.Unset {
					unset++
				}
			}
			switch {
			case len(rule.Targets) == 0:
				c.found("targets-none", Error, m.ref(), "kubectl explain "+m.Type+".spec.rules   # is the list called split or targets here?",
					"%sit has no targets; the API server drops the list when its definition calls it by the other name", label)
			case unset > 0 && unset < len(rule.Targets):
				c.found("weights-mixed", Error, m.ref(), "kubectl edit "+m.Type+" "+m.Name+m.ref().at(),
					"%s%d of %d targets have no weight and the others have: pickers disagree on what that means", label, unset, len(rule.Targets))
			}
		}
		if !c.blamed[m.ref()] {
			c.loaded(m)
		}
	}
}

// loaded looks for every target on every pod that said what it has.
func (c *checkup) loaded(m Models) {
	missing := map[string][]string{} // pods by target
	asked := 0
	for _, s := range c.Servers {
		if s.Pool != c.poolOf(m) || s.Problem != "" {
			continue
		}
		asked++
		for _, rule := range m.Rules {
			for _, t := range rule.Targets {
				if !slices.Contains(s.Models, t.Name) && !slices.Contains(missing[t.Name], s.Pod) {
					missing[t.Name] = append(missing[t.Name], s.Pod)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		c.found("adapter-missing", Error, m.ref(), "load it on each pod: POST /v1/load_lora_adapter, or --lora-modules "+name+"=PATH in its arguments",
			"target %s is not loaded on %d of %d pods (%s): requests for it are refused there", name, len(missing[name]), asked, some(missing[name]))
	}
}

// adapters: one base model for each adapter name.
func (c *checkup) adapters() {
	first := map[string]Adapters{}
	for _, a := range c.Adapters {
		for _, name := range a.Names {
			other, taken := first[name]
			if !taken {
				first[name] = a
				continue
			}
			if other.Base == a.Base {
				continue
			}
			at := ref{a.Namespace, "configmap/" + a.Name}
			c.found("adapter-twice", Error, at, "kubectl edit configmap "+a.Name+at.at(),
				"adapter %s is of base model %s here and of %s in configmap %s/%s: the body router follows the older one", name, a.Base, other.Base, other.Namespace, other.Name)
			break
		}
	}
}
