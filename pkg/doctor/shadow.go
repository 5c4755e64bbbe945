package doctor

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// shadows: the request that a rule was written for reaches the rule. Of each
// match that leads to a pool a request is made, with nothing but what the match
// asks for, on the paths that clients of models use; then all routes of the same
// listener compete for it as the Gateway API says (HTTPRouteRule.matches).
func (c *checkup) shadows() {
	for i := range c.Routes {
		r := &c.Routes[i]
		shares := r.shares()
		rivals := c.rivals(r)
		for k, rule := range r.Spec.Rules {
			if len(shares[k].pools) == 0 {
				continue
			}
			by, why := lost(r, k, rivals)
			if by == nil {
				continue
			}
			other := "httproute " + by.route.Namespace + "/" + by.route.Name + " (rule " + by.label() + ")"
			c.found("route-shadowed", Warning, r.ref(), "make the match of rule "+ruleLabel(rule, k)+" narrower, or delete the other: "+by.route.ref().get("-o yaml"),
				"rule %s gets no request: %s takes what it matches, because it %s", ruleLabel(rule, k), other, why)
		}
	}
}

// lost is who takes the requests of a rule, if it gets none of its own.
func lost(r *Route, index int, rivals []candidate) (by *candidate, why string) {
	for _, m := range matchesOf(r.Spec.Rules[index]) {
		own := candidate{route: r, rule: index, match: m}
		requests, ok := own.requests()
		if !ok {
			return nil, ""
		}
		for _, q := range requests {
			best := own
			for _, other := range rivals {
				if q.fits(other) && other.beats(best) {
					best = other
				}
			}
			if best.route == r && best.rule == index {
				return nil, ""
			}
			by, why = &best, best.reason(own)
		}
	}
	return by, why
}

// candidate is one match of one rule.
type candidate struct {
	route *Route
	rule  int
	match gatewayv1.HTTPRouteMatch
}

func (m candidate) label() string { return ruleLabel(m.route.Spec.Rules[m.rule], m.rule) }

func matchesOf(rule gatewayv1.HTTPRouteRule) []gatewayv1.HTTPRouteMatch {
	if len(rule.Matches) == 0 {
		return []gatewayv1.HTTPRouteMatch{{}}
	}
	return rule.Matches
}

// rivals are all matches of routes on a listener that r is on, r's own among them.
func (c *checkup) rivals(r *Route) []candidate {
	var all []candidate
	for i := range c.Routes {
		other := &c.Routes[i]
		if !meet(r, other) {
			continue
		}
		for k, rule := range other.Spec.Rules {
			for _, m := range matchesOf(rule) {
				all = append(all, candidate{other, k, m})
			}
		}
	}
	return all
}

// meet says whether two routes are on one listener, as far as they tell.
func meet(a, b *Route) bool {
	for _, x := range a.Spec.ParentRefs {
		for _, y := range b.Spec.ParentRefs {
			section := x.SectionName == nil || y.SectionName == nil || *x.SectionName == *y.SectionName
			port := x.Port == nil || y.Port == nil || *x.Port == *y.Port
			if x.Name == y.Name && parentNamespace(*a, x) == parentNamespace(*b, y) && section && port {
				return true
			}
		}
	}
	return false
}

// pathOf reads a match's path: "/" as a prefix when it has none.
func pathOf(m gatewayv1.HTTPRouteMatch) (kind gatewayv1.PathMatchType, value string) {
	kind, value = gatewayv1.PathMatchPathPrefix, "/"
	if m.Path != nil && m.Path.Type != nil {
		kind = *m.Path.Type
	}
	if m.Path != nil && m.Path.Value != nil {
		value = *m.Path.Value
	}
	return kind, value
}

// request is what a client would send.
type request struct {
	host, path, method string
	headers, query     map[string]string
}

// requests are those a match is for; not ok when a regular expression keeps them
// from being made.
func (m candidate) requests() (list []request, ok bool) {
	kind, value := pathOf(m.match)
	paths := []string{value}
	if kind == gatewayv1.PathMatchPathPrefix {
		var known []string
		for _, p := range []string{"/v1/chat/completions", "/v1/completions"} {
			if under(p, value) {
				known = append(known, p)
			}
		}
		if len(known) > 0 {
			paths = known
		}
	}
	q := request{method: "POST", headers: map[string]string{}, query: map[string]string{}}
	if m.match.Method != nil {
		q.method = string(*m.match.Method)
	}
	if len(m.route.Spec.Hostnames) > 0 {
		q.host = strings.Replace(string(m.route.Spec.Hostnames[0]), "*", "any", 1)
	}
	ok = kind != gatewayv1.PathMatchRegularExpression
	for _, h := range m.match.Headers {
		ok = ok && (h.Type == nil || *h.Type == gatewayv1.HeaderMatchExact)
		q.headers[strings.ToLower(string(h.Name))] = h.Value
	}
	for _, p := range m.match.QueryParams {
		ok = ok && (p.Type == nil || *p.Type == gatewayv1.QueryParamMatchExact)
		q.query[string(p.Name)] = p.Value
	}
	for _, p := range paths {
		q.path = p
		list = append(list, q)
	}
	return list, ok
}

// under says whether a path begins with the prefix, by whole elements.
func under(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// fits says whether a match takes the request. One with an expression that Go
// cannot read, or over a path, takes none: better no finding than a wrong one.
func (q request) fits(m candidate) bool {
	kind, value := pathOf(m.match)
	switch {
	case kind == gatewayv1.PathMatchExact && value != q.path,
		kind == gatewayv1.PathMatchPathPrefix && !under(q.path, value),
		kind == gatewayv1.PathMatchRegularExpression,
		m.match.Method != nil && string(*m.match.Method) != q.method,
		!m.hosts(q.host):
		return false
	}
	for _, h := range m.match.Headers {
		if !accepts(h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression, h.Value, q.headers, strings.ToLower(string(h.Name))) {
			return false
		}
	}
	for _, p := range m.match.QueryParams {
		if !accepts(p.Type != nil && *p.Type == gatewayv1.QueryParamMatchRegularExpression, p.Value, q.query, string(p.Name)) {
			return false
		}
	}
	return true
}

func accepts(expression bool, value string, sent map[string]string, name string) bool {
	got, there := sent[name]
	if !there || !expression {
		return there && got == value
	}
	re, err := regexp.Compile("^(?:" + value + ")$")
	return err == nil && re.MatchString(got)
}

// hosts says whether the route takes requests for host; one without hostnames
// takes all, and a request without a host is for such routes only.
func (m candidate) hosts(host string) bool {
	return len(m.route.Spec.Hostnames) == 0 || slices.ContainsFunc(m.route.Spec.Hostnames, func(h gatewayv1.Hostname) bool {
		tail, wild := strings.CutPrefix(string(h), "*")
		return string(h) == host || wild && strings.HasSuffix(host, tail)
	})
}

// rank is how specific a match is, most important first.
func (m candidate) rank() [6]int {
	kind, value := pathOf(m.match)
	exact, method := 0, 0
	if kind == gatewayv1.PathMatchExact {
		exact = 1
	}
	if m.match.Method != nil {
		method = 1
	}
	return [6]int{m.hostRank(), exact, len(strings.TrimSuffix(value, "/")), method, len(m.match.Headers), len(m.match.QueryParams)}
}

func (m candidate) hostRank() int {
	best := 0
	for _, h := range m.route.Spec.Hostnames {
		rank := len(h)
		if !strings.HasPrefix(string(h), "*") {
			rank += 1 << 10 // exact before wildcard
		}
		best = max(best, rank)
	}
	return best
}

// beats says whether m takes requests that both match.
func (m candidate) beats(other candidate) bool {
	a, b := m.rank(), other.rank()
	return cmp.Or(slices.Compare(b[:], a[:]), m.age(other)) < 0
}

// age orders candidates of equal rank: the older route, then its name, then the
// first rule.
func (m candidate) age(other candidate) int {
	return cmp.Or(
		m.route.CreationTimestamp.Compare(other.route.CreationTimestamp.Time),
		strings.Compare(m.route.Namespace+"/"+m.route.Name, other.route.Namespace+"/"+other.route.Name),
		m.rule-other.rule,
	)
}

// reason says why m took it from other.
func (m candidate) reason(other candidate) string {
	if m.rank() != other.rank() {
		return "is narrower by host, path, method or number of headers"
	}
	if m.route == other.route {
		return "stands before it with the same match"
	}
	return "is older and has the same match"
}
