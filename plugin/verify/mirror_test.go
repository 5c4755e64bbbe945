package verify

import (
	"strings"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func TestHowAMirrorIsJudged(t *testing.T) {
	t.Parallel()
	for rule, tt := range map[string]struct {
		asked            float64
		sent, ok         int
		requests, copies uint64
		verdict          gate.Verdict
		why              string
	}{
		"the asked part is as asked":             {0.2, 200, 200, 200, 37, gate.Pass, ""},
		"every request copied is as asked":       {1, 200, 200, 200, 200, gate.Pass, ""},
		"a stray copy of a hundred is tolerated": {1, 200, 200, 200, 201, gate.Pass, ""},
		"no copy is not as asked":                {0.2, 200, 200, 200, 0, gate.Fail, "contradicts"},
		"half of all copied is not as asked":     {1, 200, 200, 200, 100, gate.Fail, "contradicts"},
		"twice the asked part is not as asked":   {0.2, 200, 200, 200, 90, gate.Fail, "contradicts"},
		"a shadow with other clients is told":    {1, 200, 200, 200, 300, gate.Fail, "gets others"},
		"answers that failed are told":           {1, 200, 150, 150, 150, gate.Fail, "50 of 200 requests"},
		"answers of other pools are told":        {1, 200, 200, 60, 60, gate.Fail, "140 of 200 answers"},
		"too few requests are undecided":         {0.05, 60, 60, 60, 3, gate.Inconclusive, "too few"},
		"none at all is undecided":               {0.05, 0, 0, 0, 0, gate.Inconclusive, "too few"},
	} {
		r := &mirrorReport{Asked: tt.asked, Passive: tt.sent == 0}
		s := &splitReport{Answers: answers{Sent: tt.sent, OK: tt.ok}, Arms: []armReport{{Started: tt.requests}, {Started: tt.copies}}}
		if err := r.judge(s); err != nil {
			t.Fatal(err)
		}
		if why := strings.Join(r.Reasons, "; "); r.Verdict != tt.verdict || !strings.Contains(why, tt.why) {
			t.Errorf("%s: %s (%s), e-value %g, needed %d; want %s (%s)", rule, r.Verdict, why, r.EValue, r.Needed, tt.verdict, tt.why)
		}
		if r.Verdict != gate.Pass && r.Next == "" {
			t.Errorf("%s: nothing to do next", rule)
		}
	}
}

func TestWhichFilterIsVerified(t *testing.T) {
	t.Parallel()
	mirror := func(name string, percent *int32, fraction *gatewayv1.Fraction) gatewayv1.HTTPRouteRule {
		return gatewayv1.HTTPRouteRule{
			Name: ptr(gatewayv1.SectionName(name)),
			Filters: []gatewayv1.HTTPRouteFilter{{Type: gatewayv1.HTTPRouteFilterRequestMirror, RequestMirror: &gatewayv1.HTTPRequestMirrorFilter{
				BackendRef: gatewayv1.BackendObjectReference{Name: "shadow"}, Percent: percent, Fraction: fraction,
			}}},
		}
	}
	plain := gatewayv1.HTTPRouteRule{}
	third := &gatewayv1.Fraction{Numerator: 1, Denominator: ptr(int32(4))}
	for rule, tt := range map[string]struct {
		rules []gatewayv1.HTTPRouteRule
		name  string
		at    int
		asked float64
		err   string
	}{
		"the only filter is found":         {[]gatewayv1.HTTPRouteRule{plain, mirror("b", ptr(int32(20)), nil)}, "", 1, 0.2, ""},
		"neither percent nor part is all":  {[]gatewayv1.HTTPRouteRule{mirror("a", nil, nil)}, "", 0, 1, ""},
		"a fraction is a part":             {[]gatewayv1.HTTPRouteRule{mirror("a", nil, third)}, "a", 0, 0.25, ""},
		"an index chooses the rule":        {[]gatewayv1.HTTPRouteRule{mirror("a", nil, nil), mirror("b", ptr(int32(5)), nil)}, "1", 1, 0.05, ""},
		"two are ambiguous":                {[]gatewayv1.HTTPRouteRule{mirror("a", nil, nil), mirror("b", nil, nil)}, "", 0, 0, "2 RequestMirror filters"},
		"none is an error with a next one": {[]gatewayv1.HTTPRouteRule{plain}, "", 0, 0, "nothing is mirrored"},
	} {
		route := &gatewayv1.HTTPRoute{}
		route.Spec.Rules = tt.rules
		got, err := copyingOf(route, tt.name)
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", rule, err)
		}
		if err == nil && (got.rule != tt.at || got.asked != tt.asked) {
			t.Errorf("%s: rule %d, asked %g", rule, got.rule, got.asked)
		}
	}
}
