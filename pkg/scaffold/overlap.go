package scaffold

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// Winner says which of two routes gets a request that both match.
type Winner string

// Why one of two matches wins. Source: Gateway API v1, HTTPRouteRule.matches:
// hostname, path, method, number of headers, number of query parameters, then
// the older route, then its name.
const (
	OtherIsOlder    Winner = "other is older"    // the same match: the other keeps all requests
	OtherIsNarrower Winner = "other is narrower" // it keeps the requests that it matches
	OursIsOlder     Winner = "ours is older"     // the same match: the other gets nothing
	OursIsNarrower  Winner = "ours is narrower"  // the other loses the model's requests
)

// Overlap is a rule of another route that matches models of a planned one.
type Overlap struct {
	Ours, Other string // routes: ours by name, the other NAMESPACE/NAME
	Rule        string // of the other: its name, else its index
	Models      []string
	Winner      Winner
}

func (o Overlap) String() string {
	other := fmt.Sprintf("httproute %s (rule %s)", o.Other, o.Rule)
	names := strings.Join(o.Models, ", ")
	switch o.Winner {
	case OtherIsOlder:
		return fmt.Sprintf("%s has the same match and is older: httproute %s gets no request for %s", other, o.Ours, names)
	case OtherIsNarrower:
		return fmt.Sprintf("%s has a narrower match: it, not httproute %s, gets what it matches of the requests for %s", other, o.Ours, names)
	case OursIsOlder:
		return fmt.Sprintf("%s has the same match and is younger than httproute %s: it gets no request for %s", other, o.Ours, names)
	default:
		return fmt.Sprintf("%s has a wider match than httproute %s: it gets no more requests for %s", other, o.Ours, names)
	}
}

// Overlaps compares planned routes with those that exist, and says by age and
// precedence who gets the requests that both match. A planned route that exists
// has the age of the one it replaces. Routes of other Gateways, or of other
// listeners, do not matter.
func Overlaps(planned, existing []*gwv1.HTTPRoute) []Overlap {
	var all []Overlap
	for _, ours := range planned {
		ours = aged(ours, existing)
		for _, other := range existing {
			if slices.ContainsFunc(planned, func(p *gwv1.HTTPRoute) bool { return routeKey(p) == routeKey(other) }) || !meet(ours, other) {
				continue
			}
			for i, rule := range other.Spec.Rules {
				all = append(all, overlapsOf(ours, other, i, rule)...)
			}
		}
	}
	return all
}

// aged is planned with the creation time of the route it replaces.
func aged(planned *gwv1.HTTPRoute, existing []*gwv1.HTTPRoute) *gwv1.HTTPRoute {
	for _, e := range existing {
		if routeKey(e) == routeKey(planned) {
			planned = planned.DeepCopy()
			planned.CreationTimestamp = e.CreationTimestamp
		}
	}
	return planned
}

func routeKey(r *gwv1.HTTPRoute) string { return r.Namespace + "/" + r.Name }

// meet says whether two routes are attached to one listener of one Gateway, as
// far as the routes themselves tell.
func meet(a, b *gwv1.HTTPRoute) bool {
	for _, x := range a.Spec.ParentRefs {
		for _, y := range b.Spec.ParentRefs {
			if (y.Kind == nil || *y.Kind == "Gateway") && x.Name == y.Name && parentNamespace(a, x) == parentNamespace(b, y) &&
				(x.SectionName == nil || y.SectionName == nil || *x.SectionName == *y.SectionName) {
				return true
			}
		}
	}
	return false
}

func parentNamespace(r *gwv1.HTTPRoute, ref gwv1.ParentReference) string {
	if ref.Namespace != nil {
		return string(*ref.Namespace)
	}
	return r.Namespace
}

// overlapsOf are the models of ours that one rule of other matches too, by winner.
func overlapsOf(ours, other *gwv1.HTTPRoute, index int, rule gwv1.HTTPRouteRule) []Overlap {
	label := fmt.Sprint(index)
	if rule.Name != nil {
		label = string(*rule.Name)
	}
	matches := rule.Matches
	if len(matches) == 0 {
		matches = []gwv1.HTTPRouteMatch{{}}
	}
	models := map[Winner][]string{}
	for _, r := range ours.Spec.Rules {
		for _, m := range r.Matches {
			model := m.Headers[0].Value
			for _, match := range matches {
				if winner, both := compare(ours, other, match, model); both && !slices.Contains(models[winner], model) {
					models[winner] = append(models[winner], model)
				}
			}
		}
	}
	var all []Overlap
	for _, winner := range []Winner{OtherIsOlder, OtherIsNarrower, OursIsOlder, OursIsNarrower} {
		if len(models[winner]) > 0 {
			all = append(all, Overlap{Ours: ours.Name, Other: routeKey(other), Rule: label, Models: models[winner], Winner: winner})
		}
	}
	return all
}

// compare says who wins a request for model, if a match of other's takes it too.
// Ours has no hostname, the path /, no method, one header and no query.
func compare(ours, other *gwv1.HTTPRoute, match gwv1.HTTPRouteMatch, model string) (winner Winner, both bool) {
	for _, h := range match.Headers {
		if strings.EqualFold(string(h.Name), header.ModelName) && !accepts(h, model) {
			return "", false
		}
	}
	switch {
	case len(other.Spec.Hostnames) > 0, narrowPath(match.Path), match.Method != nil,
		len(match.Headers) > 1, len(match.Headers) == 1 && len(match.QueryParams) > 0:
		return OtherIsNarrower, true
	case len(match.Headers) == 0:
		return OursIsNarrower, true
	case !strings.EqualFold(string(match.Headers[0].Name), header.ModelName):
		// One header each, of different names: age decides for requests that have both.
		if older(other, ours) {
			return OtherIsNarrower, true
		}
		return OursIsNarrower, true
	case older(other, ours):
		return OtherIsOlder, true
	default:
		return OursIsOlder, true
	}
}

// accepts says whether a match of the model header takes model. A regular
// expression that Go cannot read is taken to accept it: better one warning more.
func accepts(h gwv1.HTTPHeaderMatch, model string) bool {
	if h.Type != nil && *h.Type == gwv1.HeaderMatchRegularExpression {
		expression, err := regexp.Compile("^(?:" + h.Value + ")$")
		return err != nil || expression.MatchString(model)
	}
	return h.Value == model
}

// narrowPath says whether a path match wins over no path match at all. Where a
// regular expression stands is the gateway's choice.
func narrowPath(p *gwv1.HTTPPathMatch) bool {
	if p == nil {
		return false
	}
	prefix := p.Type == nil || *p.Type == gwv1.PathMatchPathPrefix
	return !prefix || (p.Value != nil && *p.Value != "/" && *p.Value != "")
}

// older says whether a was created before b, by name where the times are equal.
// A route that does not exist yet is the youngest.
func older(a, b *gwv1.HTTPRoute) bool {
	if a.CreationTimestamp.IsZero() != b.CreationTimestamp.IsZero() {
		return b.CreationTimestamp.IsZero()
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(routeKey(a), routeKey(b))) < 0
}
