package translate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// rankedRoute is a Route with what decides ties between equal matches.
type rankedRoute struct {
	Route
	created     time.Time
	owner       types.NamespacedName
	rule, match int
}

// problem is why a condition is not True.
type problem struct {
	reason  gwv1.RouteConditionReason
	message string
}

// compiledRoute is an HTTPRoute before it is attached to anything.
type compiledRoute struct {
	routes []rankedRoute
	policy *policy // in force, or nil
	// badRules names the rules that cannot be served, badRefs the backendRefs.
	badRules []string
	badRefs  []problem
	notes    []string // what works otherwise than one may think
	allBad   bool     // no rule can be served
	pools    []poolKey
}

// translateRoute attaches a route to each of our Gateways that it names and
// records its status.
func (t *translation) translateRoute(route *gwv1.HTTPRoute, gateways map[types.NamespacedName]*gateway) {
	for _, ref := range route.Spec.ParentRefs {
		gw := gateways[parentName(route, ref)]
		if gw == nil || !isGateway(ref) {
			continue
		}
		compiled := t.compileRoute(route, nameOf(gw.object))
		refused := t.attach(route, ref, gw, compiled)
		t.usePools(compiled.pools, gw, refused == problem{})
		t.statuses.Routes[nameOf(route)] = append(t.statuses.Routes[nameOf(route)], gwv1.RouteParentStatus{
			ParentRef:      ref,
			ControllerName: gw.controller,
			Conditions:     routeConditions(route.Generation, refused, compiled),
		})
	}
}

func parentName(route *gwv1.HTTPRoute, ref gwv1.ParentReference) types.NamespacedName {
	return types.NamespacedName{
		Namespace: string(ptr.Deref(ref.Namespace, gwv1.Namespace(route.Namespace))),
		Name:      string(ref.Name),
	}
}

func isGateway(ref gwv1.ParentReference) bool {
	return ptr.Deref(ref.Group, gwv1.GroupName) == gwv1.GroupName && ptr.Deref(ref.Kind, "Gateway") == "Gateway"
}

// attach adds the route to every listener that takes it and says why none
// does; the zero problem means it is attached.
func (t *translation) attach(route *gwv1.HTTPRoute, ref gwv1.ParentReference, gw *gateway, compiled *compiledRoute) problem {
	if compiled.allBad {
		return problem{gwv1.RouteReasonUnsupportedValue, strings.Join(compiled.badRules, "; ")}
	}
	refused := problem{gwv1.RouteReasonNoMatchingParent, "the Gateway has no such listener"}
	attached := false
	for _, l := range gw.listeners {
		if (ref.SectionName != nil && *ref.SectionName != l.spec.Name) || (ref.Port != nil && *ref.Port != l.spec.Port) {
			continue
		}
		if !l.allows(route.Namespace, gw, t.index) {
			if refused.reason == gwv1.RouteReasonNoMatchingParent {
				refused = problem{gwv1.RouteReasonNotAllowedByListeners, "allowedRoutes of the listener excludes this route"}
			}
			continue
		}
		domains := intersect(ptr.Deref(l.spec.Hostname, ""), route.Spec.Hostnames)
		if len(domains) == 0 {
			refused = problem{gwv1.RouteReasonNoMatchingListenerHostname, "no hostname of the route fits the listener's"}
			continue
		}
		attached = true
		l.attached++
		for _, domain := range domains {
			for _, r := range compiled.routes {
				r.Redirect = r.Redirect.at(l.served)
				l.hosts[domain] = append(l.hosts[domain], r)
			}
		}
	}
	if attached {
		return problem{}
	}
	return refused
}

// intersect answers the domains at which a listener hostname and a route's
// hostnames agree; an empty hostname stands for every host.
func intersect(listener gwv1.Hostname, route []gwv1.Hostname) []string {
	if len(route) == 0 {
		return []string{cmp.Or(string(listener), "*")}
	}
	var domains []string
	for _, r := range route {
		switch {
		case listener == "" || covers(string(listener), string(r)):
			domains = append(domains, string(r))
		case covers(string(r), string(listener)):
			domains = append(domains, string(listener))
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

// covers reports whether pattern, a host name or "*.suffix", includes host.
func covers(pattern, host string) bool {
	suffix, wildcard := strings.CutPrefix(pattern, "*")
	return pattern == host || wildcard && strings.HasSuffix(host, suffix)
}

func routeConditions(generation int64, refused problem, compiled *compiledRoute) []metav1.Condition {
	accepted := condition(generation, string(gwv1.RouteConditionAccepted), true, string(gwv1.RouteReasonAccepted), strings.Join(compiled.notes, "; "))
	if refused != (problem{}) {
		accepted = condition(generation, accepted.Type, false, string(refused.reason), refused.message)
	}
	resolved := condition(generation, string(gwv1.RouteConditionResolvedRefs), true, string(gwv1.RouteReasonResolvedRefs), "")
	if len(compiled.badRefs) > 0 {
		messages := make([]string, len(compiled.badRefs))
		for i, p := range compiled.badRefs {
			messages[i] = p.message
		}
		resolved = condition(generation, resolved.Type, false, string(compiled.badRefs[0].reason), strings.Join(messages, "; "))
	}
	conditions := []metav1.Condition{accepted, resolved}
	if len(compiled.badRules) > 0 && !compiled.allBad {
		conditions = append(conditions, condition(generation, string(gwv1.RouteConditionPartiallyInvalid), true,
			string(gwv1.RouteReasonUnsupportedValue), strings.Join(compiled.badRules, "; ")))
	}
	return conditions
}

// compileRoute turns the rules into routes of a Gateway, whatever listeners they
// will be attached to.
func (t *translation) compileRoute(route *gwv1.HTTPRoute, gateway types.NamespacedName) *compiledRoute {
	c := &compiledRoute{}
	good := 0
	for i, rule := range route.Spec.Rules {
		c.policy = t.policies.backendPolicyOf(nameOf(route), string(ptr.Deref(rule.Name, "")), gateway)
		base, err := t.compileRule(route, rule, c)
		if err != nil {
			c.badRules = append(c.badRules, fmt.Sprintf("rule %d: %v", i, err))
		} else {
			good++
		}
		matches := rule.Matches
		if len(matches) == 0 {
			matches = []gwv1.HTTPRouteMatch{{}}
		}
		for j, m := range matches {
			r := rankedRoute{Route: base, created: route.CreationTimestamp.Time, owner: nameOf(route), rule: i, match: j}
			r.Name = fmt.Sprintf("%s/%s/%d/%d", route.Namespace, route.Name, i, j)
			if r.Match, err = compileMatch(m); err != nil {
				c.badRules = append(c.badRules, fmt.Sprintf("rule %d match %d: %v", i, j, err))
				continue
			}
			c.routes = append(c.routes, r)
		}
	}
	c.allBad = len(c.badRules) > 0 && (good == 0 || len(c.routes) == 0)
	return c
}

// compileRule compiles everything of a rule but its matches. The error names
// what is not supported.
func (t *translation) compileRule(route *gwv1.HTTPRoute, rule gwv1.HTTPRouteRule, c *compiledRoute) (Route, error) {
	r := Route{}
	var err error
	if rule.SessionPersistence != nil {
		return Route{}, errors.New("sessionPersistence is not supported")
	}
	if err = t.compileFilters(route, rule.Filters, &r, c); err != nil {
		return Route{}, err
	}
	if r.Retry, err = compileRetry(rule); err != nil {
		return Route{}, err
	}
	if rule.Timeouts != nil {
		if r.Timeout, err = compileTimeout(rule.Timeouts.Request); err != nil {
			return Route{}, fmt.Errorf("timeouts.request: %w", err)
		}
		if r.BackendTimeout, err = compileTimeout(rule.Timeouts.BackendRequest); err != nil {
			return Route{}, fmt.Errorf("timeouts.backendRequest: %w", err)
		}
	}
	for _, ref := range rule.BackendRefs {
		m := Member{
			Weight: uint32(ptr.Deref(ref.Weight, 1)),
			Ref:    string(ptr.Deref(ref.Namespace, gwv1.Namespace(route.Namespace))) + "/" + string(ref.Name),
		}
		if err = compileMemberFilters(ref.Filters, &m); err != nil {
			return Route{}, fmt.Errorf("backendRef %s: %w", ref.Name, err)
		}
		backend, bad := t.resolve(route, ref.BackendObjectReference, c)
		if bad != (problem{}) {
			c.badRefs = append(c.badRefs, bad)
		} else {
			backend = c.policy.shape(backend, route.Name)
			t.backends[backend.Name] = backend
			m.Backend = backend.Name
			if backend.Picker != nil {
				m.Picker = backend.Name
			}
		}
		r.Members = append(r.Members, m)
	}
	if rule.Timeouts == nil || rule.Timeouts.Request == nil {
		c.policy.applyTimeout(&r)
	}
	c.policy.applyRetry(&r)
	return t.defects.spoil(r)
}

// compareRanked orders routes of one virtual host by Gateway API precedence.
func compareRanked(a, b rankedRoute) int {
	rank := func(r rankedRoute) [2]int { // kind, then longer first
		return [2]int{int(r.Match.PathKind), -len(r.Match.Path)}
	}
	noMethod := func(r rankedRoute) int {
		if r.Match.Method == "" {
			return 1
		}
		return 0
	}
	ra, rb := rank(a), rank(b)
	return cmp.Or(
		slices.Compare(ra[:], rb[:]),
		cmp.Compare(noMethod(a), noMethod(b)),
		cmp.Compare(len(b.Match.Headers), len(a.Match.Headers)),
		cmp.Compare(len(b.Match.Query), len(a.Match.Query)),
		a.created.Compare(b.created),
		cmp.Compare(a.owner.Namespace, b.owner.Namespace),
		cmp.Compare(a.owner.Name, b.owner.Name),
		cmp.Compare(a.rule, b.rule),
		cmp.Compare(a.match, b.match),
	)
}
