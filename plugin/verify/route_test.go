package verify

import (
	"strings"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

func TestAnAnswerIsRightWhenAPoolOfItsRuleServed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		check modelCheck
		says  string // "" for right
	}{
		"a pool of the rule served":                {modelCheck{Code: "200", Asked: []string{"a", "b"}, Served: []string{"b"}}, ""},
		"another pool served":                      {modelCheck{Code: "200", Asked: []string{"a"}, Served: []string{"c"}}, "answered by c, not by a"},
		"a busy pool beside it is no fault":        {modelCheck{Code: "200", Asked: []string{"a"}, Served: []string{"a", "c"}}, ""},
		"no pool of the route served":              {modelCheck{Code: "200", Asked: []string{"a"}}, "none of the route's pools"},
		"no rule took it":                          {modelCheck{Code: "404", Rule: "r", Asked: []string{"a"}}, "no rule takes it, though rule r names it"},
		"a pool without the model says 404 itself": {modelCheck{Code: "404", Asked: []string{"a"}, Served: []string{"a"}}, "HTTP 404"},
		"a failed answer is no answer":             {modelCheck{Code: "503", Asked: []string{"a"}, Served: []string{"a"}}, "HTTP 503"},
	}
	for name, tt := range tests {
		if got := tt.check.judge(); (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%s: %q, want %q", name, got, tt.says)
		}
	}
}

func TestARuleThatNamesTheModelGoesFirst(t *testing.T) {
	t.Parallel()
	rule := func(model string) gatewayv1.HTTPRouteRule {
		return gatewayv1.HTTPRouteRule{Matches: []gatewayv1.HTTPRouteMatch{byHeader(gatewayv1.HeaderMatchExact, header.ModelName, model)}}
	}
	open := gatewayv1.HTTPRouteRule{Matches: []gatewayv1.HTTPRouteMatch{byPath(gatewayv1.PathMatchPathPrefix, "/v1")}}
	tests := map[string]struct {
		rules []gatewayv1.HTTPRouteRule
		want  int
	}{
		"the rule that names it":              {[]gatewayv1.HTTPRouteRule{rule("a"), rule("m")}, 1},
		"before one that takes every model":   {[]gatewayv1.HTTPRouteRule{open, rule("m")}, 1},
		"else the one that takes every model": {[]gatewayv1.HTTPRouteRule{rule("a"), open}, 1},
		"a rule without matches takes all":    {[]gatewayv1.HTTPRouteRule{rule("a"), {}}, 1},
		"no rule when others are named only":  {[]gatewayv1.HTTPRouteRule{rule("a"), rule("b")}, -1},
	}
	for name, tt := range tests {
		route := &gatewayv1.HTTPRoute{Spec: gatewayv1.HTTPRouteSpec{Rules: tt.rules}}
		if got := ruleFor(route, "m"); got != tt.want {
			t.Errorf("%s: rule %d, want %d", name, got, tt.want)
		}
	}
}
