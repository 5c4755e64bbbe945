package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	// astrayShare and astrayLeast are the part of answers from another endpoint
	// than the one picked that is called wrong, and how many there must be: a few
	// come with every pod that goes away.
	astrayShare = 0.01
	astrayLeast = 5
)

// weight is the largest weight that any rule gives the pool; -1 when none names it.
func (c *checkup) weight(key PoolKey) int64 {
	most := int64(-1)
	for _, r := range c.Routes {
		for _, rule := range r.shares() {
			for _, s := range rule.pools {
				if s.PoolKey == key {
					most = max(most, s.weight)
				}
			}
		}
	}
	return most
}

// twins: no pool is there in both groups.
func (c *checkup) twins() {
	for _, p := range c.Pools {
		other, ok := c.twin(p.PoolKey)
		if !ok || p.Group != groupAlpha {
			continue
		}
		used, newer := c.weight(p.PoolKey), c.weight(other.PoolKey)
		switch {
		case used < 0:
			c.found("pool-dead", Warning, p.ref(), "kubectl delete inferencepool."+groupAlpha+" "+p.Name+p.ref().at(),
				"no route names it, and the same pool is there as %s: what is changed here has no effect", groupV1)
		case newer >= 0:
			c.found("pool-twice", Warning, p.ref(), "let every rule name the pool of one group, then delete the other: kubectl get httproutes"+p.ref().at()+" -o yaml",
				"routes name this pool in both groups: one of the two changes without the other")
		}
	}
}

// pools: each one has pods that are ready.
func (c *checkup) pools() {
	for _, p := range c.Pools {
		if !c.reads("pods", p.Namespace) || c.blamed[p.ref()] {
			continue // a dead one needs none
		}
		severity, effect := Warning, "it cannot be given requests"
		if c.weight(p.PoolKey) > 0 {
			severity, effect = Error, "its share of the requests fails"
		}
		look := "kubectl get pods" + p.ref().at() + " -l " + selector(p.Selector)
		switch pods := c.servers(p); {
		case len(pods) == 0:
			c.found("pool-empty", severity, p.ref(), look, "its selector %s takes no pod: %s", selector(p.Selector), effect)
		case len(ready(pods)) == 0:
			c.found("pool-unready", severity, p.ref(), look, "none of its %d pods is ready: %s", len(pods), effect)
		}
	}
}

func selector(set map[string]string) string {
	if len(set) == 0 {
		return "(empty)"
	}
	return labels.SelectorFromSet(set).String()
}

func (c *checkup) service(namespace, name string) (corev1.Service, bool) {
	i := slices.IndexFunc(c.Services, func(s corev1.Service) bool { return s.Namespace == namespace && s.Name == name })
	if i < 0 {
		return corev1.Service{}, false
	}
	return c.Services[i], true
}

// pickers: each pool's picker is there, ready, read, and the pool's own.
func (c *checkup) pickers() {
	for _, p := range c.Pools {
		if p.Picker == "" || !c.reads("services", p.Namespace) || c.weight(p.PoolKey) < 0 {
			continue
		}
		severity, effect := Warning, "requests go to any pod"
		if p.FailClose {
			severity, effect = Error, "its requests fail"
		}
		service, ok := c.service(p.Namespace, p.Picker)
		if !ok {
			c.found("picker-missing", severity, p.ref(), "kubectl get services"+p.ref().at(), "its endpoint picker, service %s, is not there: %s, and nothing counts them", p.Picker, effect)
			continue
		}
		if !c.reads("pods", p.Namespace) {
			continue
		}
		if len(ready(c.selected(p.Namespace, service.Spec.Selector))) == 0 {
			c.found("picker-unready", severity, p.ref(), "kubectl get pods"+p.ref().at()+" -l "+selector(service.Spec.Selector),
				"no pod of its endpoint picker, service %s, is ready: %s, and nothing counts them", p.Picker, effect)
			continue
		}
		c.pages(p)
	}
}

// pages judges what a pool's pickers say of themselves.
func (c *checkup) pages(p Pool) {
	var silent []string
	why := ""
	answered, astray := 0.0, 0.0
	for _, page := range c.Pickers {
		switch {
		case page.Pool != p.PoolKey:
		case page.Problem != "":
			silent, why = append(silent, page.Pod), page.Problem
		case page.Serves != "" && page.Serves != p.Namespace+"/"+p.Name && len(c.sharing(p)) == 1:
			c.found("picker-other-pool", Error, p.ref(), "kubectl get pod "+page.Pod+p.ref().at()+" -o yaml   # --pool-name and --pool-namespace",
				"its picker %s serves inferencepool %s: it sends this pool's requests to the other's pods", page.Pod, page.Serves)
			return
		default:
			answered, astray = answered+page.Answered, astray+page.Astray
		}
	}
	switch {
	case len(silent) > 0:
		c.found("picker-silent", Warning, p.ref(), "kubectl infer doctor --metrics-via port-forward"+p.ref().at()+"   # or run it where pods are reached",
			"the metrics of its picker (%s) cannot be read, so no gate can be judged: %s", some(silent), why)
	case astray >= astrayLeast && astray > astrayShare*answered:
		c.found("picker-ignored", Error, p.ref(), "kubectl infer verify split httproute/NAME"+p.ref().at()+"   # is it so now?",
			"%.0f of %.0f answers came from another endpoint than the picker chose: the gateway sends where it likes", astray, answered)
	}
}

// sharing are the pools with the picker of p, p among them.
func (c *checkup) sharing(p Pool) []Pool {
	return slices.DeleteFunc(slices.Clone(c.Pools), func(other Pool) bool {
		return other.Namespace != p.Namespace || other.Picker != p.Picker
	})
}

// arms: the pools of one rule can be told apart, by their pods and their pickers.
func (c *checkup) arms() {
	for _, r := range c.Routes {
		for _, rule := range r.shares() {
			for i, a := range rule.pools {
				for _, b := range rule.pools[i+1:] {
					c.apart(r, rule.label, a.PoolKey, b.PoolKey)
				}
			}
		}
	}
}

func (c *checkup) apart(r Route, rule string, first, second PoolKey) {
	a, okA := c.pool(first)
	b, okB := c.pool(second)
	if !okA || !okB || a.Namespace != b.Namespace {
		return
	}
	both := c.both(a, b)
	switch {
	case len(both) > 0 || maps.Equal(a.Selector, b.Selector):
		what := "select the same labels " + selector(a.Selector)
		if len(both) > 0 {
			what = fmt.Sprintf("both take %s", some(both))
		}
		c.found("arms-overlap", Error, r.ref(), "give each pool a label of its own, and select it: kubectl edit inferencepool "+b.Name+b.ref().at(),
			"pools %s and %s of rule %s %s: no counter can tell stable from canary", a.Name, b.Name, rule, what)
	case a.Picker != "" && a.Picker == b.Picker:
		c.found("arms-one-picker", Error, r.ref(), "give each pool a picker of its own: spec.endpointPickerRef",
			"pools %s and %s of rule %s have one picker, service %s: it knows the pods of one of them only", a.Name, b.Name, rule, a.Picker)
	}
}

// both are the pods that two pools take.
func (c *checkup) both(a, b Pool) []string {
	var names []string
	for _, pod := range c.servers(a) {
		if labels.SelectorFromSet(b.Selector).Matches(labels.Set(pod.Labels)) && len(b.Selector) > 0 {
			names = append(names, "pod "+pod.Name)
		}
	}
	return names
}

// gates: limits are where the buckets can show them.
func (c *checkup) gates() {
	for _, g := range c.Gates {
		at := ref{g.Namespace, g.Object}
		if g.Problem != "" {
			if !c.explained(at) {
				c.found("gate-unread", Warning, at, "see docs/evidence.md for what each program exports", "gate %q cannot be judged: %s", g.Expr, g.Problem)
			}
			continue
		}
		if g.Expr.Comparison() {
			continue // its edge is found when the step begins
		}
		bound, err := g.Expr.Bind(g.Edges)
		switch {
		case err != nil:
			c.found("gate-outside", Error, at, hint.Of(err), "%v", err)
		case bound.Note() != "":
			c.found("gate-between", Warning, at, fmt.Sprintf("--gate '%s'", strings.Replace(g.Expr.String(), g.Expr.Amount(g.Expr.Limit), g.Expr.Amount(bound.HarmEdge), 1)),
				"no bucket ends at %s: %s", g.Expr.Amount(g.Expr.Limit), bound.Note())
		}
	}
}

// explained says whether something was found of a route or of its pools that
// keeps its metrics from being read.
func (c *checkup) explained(at ref) bool {
	if c.failing(at) {
		return true
	}
	for _, r := range c.Routes {
		for _, rule := range r.shares() {
			if r.ref() == at && slices.ContainsFunc(rule.pools, func(s share) bool { return c.blamed[s.ref()] }) {
				return true
			}
		}
	}
	return false
}
