package verify

import (
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestARouteCopiesThatHasAMirrorInAnyRule(t *testing.T) {
	t.Parallel()
	mirror := gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestMirror, RequestMirror: &gatewayv1.HTTPRequestMirrorFilter{}}
	header := gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestHeaderModifier, RequestHeaderModifier: &gatewayv1.HTTPHeaderFilter{}}
	for rule, tc := range map[string]struct {
		rules []gatewayv1.HTTPRouteRule
		want  bool
	}{
		"no filter copies nothing":              {[]gatewayv1.HTTPRouteRule{{}}, false},
		"another filter copies nothing":         {[]gatewayv1.HTTPRouteRule{{Filters: []gatewayv1.HTTPRouteFilter{header}}}, false},
		"a mirror beside another filter copies": {[]gatewayv1.HTTPRouteRule{{Filters: []gatewayv1.HTTPRouteFilter{header, mirror}}}, true},
		"a mirror in a later rule copies":       {[]gatewayv1.HTTPRouteRule{{}, {Filters: []gatewayv1.HTTPRouteFilter{mirror}}}, true},
	} {
		route := &gatewayv1.HTTPRoute{Spec: gatewayv1.HTTPRouteSpec{Rules: tc.rules}}
		if got := copies(route); got != tc.want {
			t.Errorf("%s: got %t", rule, got)
		}
	}
}
