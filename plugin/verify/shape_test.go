package verify

import (
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func ptr[T any](v T) *T { return &v }

func byPath(kind gatewayv1.PathMatchType, value string) gatewayv1.HTTPRouteMatch {
	return gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}}
}

func byHeader(kind gatewayv1.HeaderMatchType, name, value string) gatewayv1.HTTPRouteMatch {
	return gatewayv1.HTTPRouteMatch{Headers: []gatewayv1.HTTPHeaderMatch{{Type: &kind, Name: gatewayv1.HTTPHeaderName(name), Value: value}}}
}

func TestRequestsFitTheRule(t *testing.T) {
	t.Parallel()
	match := func(m ...gatewayv1.HTTPRouteMatch) []gatewayv1.HTTPRouteMatch { return m }
	tests := map[string]struct {
		matches []gatewayv1.HTTPRouteMatch
		extra   http.Header
		paths   []string // nil for refused
		header  string   // the value of X-Team that is sent
	}{
		"no match takes both paths":                  {nil, nil, []string{"/v1/chat/completions", "/v1/completions"}, ""},
		"a prefix above takes both":                  {match(byPath(gatewayv1.PathMatchPathPrefix, "/v1")), nil, []string{"/v1/chat/completions", "/v1/completions"}, ""},
		"a prefix of one path takes that one":        {match(byPath(gatewayv1.PathMatchPathPrefix, "/v1/chat")), nil, []string{"/v1/chat/completions"}, ""},
		"each path goes by the match that takes it":  {match(byPath(gatewayv1.PathMatchExact, "/v1/completions"), byPath(gatewayv1.PathMatchExact, "/v1/chat/completions")), nil, []string{"/v1/chat/completions", "/v1/completions"}, ""},
		"a prefix of the user's own goes before":     {match(byPath(gatewayv1.PathMatchPathPrefix, "/team-a")), nil, []string{"/team-a/v1/chat/completions", "/team-a/v1/completions"}, ""},
		"another path of the API takes neither":      {match(byPath(gatewayv1.PathMatchPathPrefix, "/v1/embeddings")), nil, nil, ""},
		"an exact header is sent":                    {match(byHeader(gatewayv1.HeaderMatchExact, "X-Team", "a")), nil, []string{"/v1/chat/completions", "/v1/completions"}, "a"},
		"the model's header is the gateway's to set": {match(byHeader(gatewayv1.HeaderMatchExact, "x-gateway-model-name", "m")), nil, []string{"/v1/chat/completions", "/v1/completions"}, ""},
		"a header by expression has to be given":     {match(byHeader(gatewayv1.HeaderMatchRegularExpression, "X-Team", "b+")), nil, nil, ""},
		"one that is given and fits is sent":         {match(byHeader(gatewayv1.HeaderMatchRegularExpression, "X-Team", "b+")), http.Header{"X-Team": {"bb"}}, []string{"/v1/chat/completions", "/v1/completions"}, "bb"},
		"one that contradicts the match is refused":  {match(byHeader(gatewayv1.HeaderMatchExact, "X-Team", "a")), http.Header{"X-Team": {"c"}}, nil, ""},
		"another method than POST is refused":        {match(gatewayv1.HTTPRouteMatch{Method: ptr(gatewayv1.HTTPMethodGet)}), nil, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := &gatewayv1.HTTPRoute{Spec: gatewayv1.HTTPRouteSpec{Hostnames: []gatewayv1.Hostname{"*.example"}, Rules: []gatewayv1.HTTPRouteRule{{Matches: tt.matches}}}}
			got, err := calls(route, 0, []string{chat, completions}, tt.extra)
			if (err != nil) != (tt.paths == nil) || err != nil && hint.Of(err) == "" {
				t.Fatalf("error %v with hint %q", err, hint.Of(err))
			}
			if len(got) != len(tt.paths) {
				t.Fatalf("%d requests, want %d: %+v", len(got), len(tt.paths), got)
			}
			for i, c := range got {
				if c.path != tt.paths[i] || c.header.Get("X-Team") != tt.header || c.header.Get("X-Gateway-Model-Name") != "" || c.host != "verify.example" {
					t.Errorf("%+v, want path %s and header %q", c, tt.paths[i], tt.header)
				}
			}
		})
	}
}

func TestAddressOfAListener(t *testing.T) {
	t.Parallel()
	gateway := func(address, message string) *gatewayv1.Gateway {
		g := &gatewayv1.Gateway{Spec: gatewayv1.GatewaySpec{Listeners: []gatewayv1.Listener{
			{Name: "tcp", Port: 9, Protocol: gatewayv1.TCPProtocolType}, {Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}, {Name: "tls", Port: 443, Protocol: gatewayv1.HTTPSProtocolType},
		}}}
		if address != "" {
			g.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Value: address}}
		}
		g.Status.Listeners = []gatewayv1.ListenerStatus{{Name: "http", Conditions: []metav1.Condition{{Message: message}}}}
		return g
	}
	section := func(name string) gatewayv1.ParentReference {
		return gatewayv1.ParentReference{SectionName: ptr(gatewayv1.SectionName(name))}
	}
	tests := map[string]struct {
		gateway *gatewayv1.Gateway
		ref     gatewayv1.ParentReference
		want    string // "" for refused
	}{
		"the first HTTP listener is taken":                  {gateway("192.0.2.1", ""), gatewayv1.ParentReference{}, "http://192.0.2.1:80"},
		"a named listener is taken":                         {gateway("192.0.2.1", ""), section("tls"), "https://192.0.2.1:443"},
		"a listener by port is taken":                       {gateway("192.0.2.1", ""), gatewayv1.ParentReference{Port: ptr(gatewayv1.PortNumber(443))}, "https://192.0.2.1:443"},
		"a port that the status says is elsewhere is there": {gateway("192.0.2.1", "port 80 is served at 8080: no right to bind"), section("http"), "http://192.0.2.1:8080"},
		"IPv6 has brackets":                                 {gateway("2001:db8::1", ""), section("http"), "http://[2001:db8::1]:80"},
		"a listener that is not HTTP is refused":            {gateway("192.0.2.1", ""), section("tcp"), ""},
		"a gateway without an address is refused":           {gateway("", ""), section("http"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := address(tt.gateway, tt.ref)
			if got != tt.want || (err != nil) != (tt.want == "") || err != nil && hint.Of(err) == "" {
				t.Errorf("%q, %v with hint %q; want %q", got, err, hint.Of(err), tt.want)
			}
		})
	}
}
