package doctor

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// Limits of an HTTPRoute (Gateway API v1: the CEL rules of HTTPRouteSpec.rules),
// and how near is too near.
const (
	maxMatches  = 128
	nearMatches = 120
)

func ruleLabel(rule gatewayv1.HTTPRouteRule, index int) string {
	if rule.Name != nil {
		return string(*rule.Name)
	}
	return fmt.Sprint(index)
}

// backends: every pool that a rule names is there.
func (c *checkup) backends() {
	if slices.ContainsFunc(c.findings, func(f Finding) bool { return f.Check == "definition-missing" }) {
		return
	}
	for _, r := range c.Routes {
		for _, rule := range r.shares() {
			for _, s := range rule.pools {
				if _, there := c.pool(s.PoolKey); there || !c.reads("inferencepools", s.Namespace) || s.Group != groupV1 && s.Group != groupAlpha {
					continue
				}
				fix := fmt.Sprintf("kubectl get inferencepools.%s -n %s", s.Group, s.Namespace)
				if twin, ok := c.twin(s.PoolKey); ok {
					c.found("backend-missing", Error, r.ref(), "kubectl edit httproute "+r.Name+r.ref().at()+"   # group: "+twin.Group,
						"rule %s names pool %s of group %s; it is there as %s only, so its requests fail", rule.label, s.Name, s.Group, twin.Group)
					continue
				}
				c.found("backend-missing", Error, r.ref(), fix, "rule %s names inferencepool %s, which is not there: its share of the requests fails", rule.label, s.Name)
			}
		}
	}
}

// parents are the Gateways of a route that are known.
func (c *checkup) parents(r Route) []gatewayv1.Gateway {
	var found []gatewayv1.Gateway
	for _, p := range r.Spec.ParentRefs {
		for _, g := range c.Gateways {
			if (p.Kind == nil || *p.Kind == "Gateway") && g.Name == string(p.Name) && g.Namespace == parentNamespace(r, p) {
				found = append(found, g)
			}
		}
	}
	return found
}

func parentNamespace(r Route, p gatewayv1.ParentReference) string {
	if p.Namespace != nil {
		return string(*p.Namespace)
	}
	return r.Namespace
}

// capabilities: the route's gateway can do what the route asks.
func (c *checkup) capabilities() {
	for _, r := range c.Routes {
		for _, g := range c.parents(r) {
			if p, ok := c.provider(g); ok {
				c.capable(r, g, p)
			}
		}
	}
}

func (c *checkup) capable(r Route, g gatewayv1.Gateway, p provider.Provider) {
	for _, rule := range r.shares() {
		several := len(rule.pools) > 1
		for _, s := range rule.pools {
			api := s.Group + map[string]string{groupV1: "/v1", groupAlpha: "/v1alpha2"}[s.Group]
			if !slices.Contains(p.PoolAPIs, api) {
				c.found("gateway-pool-api", Error, r.ref(), "make the pool as "+p.PoolAPIs[0]+", and name that group in the rule",
					"rule %s names an InferencePool of %s, which %s (gateway %s) does not read", rule.label, api, p.Title, g.Name)
				return
			}
		}
		switch {
		case several && p.Weighted.Answer == provider.No:
			c.found("gateway-weights", Error, r.ref(), "see docs/providers.md for gateways that split between pools",
				"rule %s splits between %d pools, which %s (gateway %s) cannot do: %s", rule.label, len(rule.pools), p.Title, g.Name, p.Weighted.Note)
			return
		case several && p.OwnPicker.Answer == provider.No:
			c.found("gateway-weights", Warning, r.ref(), "see docs/providers.md for gateways that ask every pool's own picker",
				"rule %s splits between %d pools; %s (gateway %s) asks one picker for all of them", rule.label, len(rule.pools), p.Title, g.Name)
			return
		}
	}
}

// weights: some backend of each rule gets requests.
func (c *checkup) weights() {
	for _, r := range c.Routes {
		for _, rule := range r.shares() {
			if len(rule.pools) > 0 && rule.sum == 0 {
				c.found("weights-zero", Error, r.ref(), "kubectl edit httproute "+r.Name+r.ref().at(), "all backends of rule %s have weight 0: every request gets 500", rule.label)
			}
		}
	}
}

// limits: there is room for another model.
func (c *checkup) limits() {
	for _, r := range c.Routes {
		n := 0
		for _, rule := range r.Spec.Rules {
			n += max(1, len(rule.Matches))
		}
		if n >= nearMatches {
			c.found("route-full", Warning, r.ref(), "kubectl infer create route NAME --model …   # it makes as many routes as it takes",
				"it has %d of the %d matches that a route may have: more models need another route", n, maxMatches)
		}
	}
}

// statuses: every parent took the route. Routes whose trouble is explained are
// left alone.
func (c *checkup) statuses() {
	for _, r := range c.Routes {
		if c.failing(r.ref()) || slices.ContainsFunc(c.parents(r), func(g gatewayv1.Gateway) bool { return c.failing(gatewayRef(g)) }) {
			continue
		}
		for _, p := range r.Spec.ParentRefs {
			if p.Kind != nil && *p.Kind != "Gateway" {
				continue
			}
			if why := c.parentTrouble(r, p); why != "" {
				c.found("route-status", Error, r.ref(), r.ref().get("-o jsonpath='{.status.parents}'"), "gateway %s does not serve it as it is: %s", p.Name, why)
				break
			}
		}
	}
}

func (c *checkup) parentTrouble(r Route, p gatewayv1.ParentReference) string {
	namespace := parentNamespace(r, p)
	there := slices.ContainsFunc(c.Gateways, func(g gatewayv1.Gateway) bool { return g.Name == string(p.Name) && g.Namespace == namespace })
	if !there && !slices.ContainsFunc(c.Unread, func(u Unread) bool { return u.Resource == "gateways" }) {
		return fmt.Sprintf("there is no gateway %s in namespace %s", p.Name, namespace)
	}
	reported := false
	for _, s := range r.Status.Parents {
		if s.ParentRef.Name != p.Name {
			continue
		}
		reported = true
		var trouble []string
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			if why := refused(s.Conditions, kind, false); why != "" {
				trouble = append(trouble, kind+" is not true: "+why)
			}
		}
		if len(trouble) > 0 {
			return strings.Join(trouble, "; ")
		}
	}
	if !reported {
		return "it has not reported on it"
	}
	return ""
}
