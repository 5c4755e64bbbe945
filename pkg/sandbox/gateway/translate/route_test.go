package translate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	fine     = "Accepted=True/Accepted@7 ResolvedRefs=True/ResolvedRefs@7"
	chatName = "chat"
)

func TestBackendRefs(t *testing.T) {
	t.Parallel()
	elsewhere := func(ref gwv1.HTTPBackendRef) gwv1.HTTPBackendRef {
		ref.Namespace = ptr.To(gwv1.Namespace("other"))
		return ref
	}
	ofKind := func(kind string) gwv1.HTTPBackendRef {
		ref := serviceRef("plain", 80)
		ref.Kind = ptr.To(gwv1.Kind(kind))
		return ref
	}
	unresolved := func(reason string) string {
		return "Accepted=True/Accepted@7 ResolvedRefs=False/" + reason + "@7"
	}
	for _, row := range []struct {
		rule   string
		refs   []gwv1.HTTPBackendRef
		shares string
		said   string
	}{
		{"pools share by weight", []gwv1.HTTPBackendRef{poolRef("a", 95), poolRef("b", 5)}, "pool/default/a:95 pool/default/b:5", fine},
		{"a weight of zero is kept", []gwv1.HTTPBackendRef{poolRef("a", 100), poolRef("b", 0)}, "pool/default/a:100 pool/default/b:0", fine},
		{"an absent weight is 1", []gwv1.HTTPBackendRef{serviceRef("plain", 80)}, "service/default/plain/80:1", fine},
		{"pool and Service mix", []gwv1.HTTPBackendRef{poolRef("a", 1), serviceRef("plain", 80)}, "pool/default/a:1 service/default/plain/80:1", fine},
		{"a missing pool keeps its share", []gwv1.HTTPBackendRef{poolRef("a", 9), poolRef("gone", 1)}, "pool/default/a:9 !:1", unresolved("BackendNotFound")},
		{"a missing Service keeps its share", []gwv1.HTTPBackendRef{serviceRef("gone", 80)}, "!:1", unresolved("BackendNotFound")},
		{"a port the Service has not", []gwv1.HTTPBackendRef{serviceRef("plain", 81)}, "!:1", unresolved("BackendNotFound")},
		{"an unknown kind", []gwv1.HTTPBackendRef{ofKind("Bucket")}, "!:1", unresolved("InvalidKind")},
		{"another namespace needs a grant", []gwv1.HTTPBackendRef{elsewhere(poolRef("a", 1))}, "!:1", unresolved("RefNotPermitted")},
		{"no backendRefs at all", []gwv1.HTTPBackendRef{}, "", fine},
	} {
		o := world()
		o.route(chatName, row.refs)
		ir, statuses := Translate(*o)
		if got := shares(ir.Listeners[0].Hosts[0].Routes[0]); got != row.shares {
			t.Errorf("%s: got shares %q, want %q", row.rule, got, row.shares)
		}
		parents := statuses.Routes[types.NamespacedName{Namespace: "default", Name: chatName}]
		if got := said(parents[0].Conditions); got != row.said || parents[0].ControllerName != ControllerName {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.said)
		}
	}
}

func TestAReferenceGrantPermitsWhatItNames(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		from gwv1.ReferenceGrantFrom
		to   gwv1.ReferenceGrantTo
		want bool
	}{
		{"all Services", gwv1.ReferenceGrantFrom{Group: gwv1.GroupName, Kind: "HTTPRoute", Namespace: "other"}, gwv1.ReferenceGrantTo{Kind: "Service"}, true},
		{"this Service", gwv1.ReferenceGrantFrom{Group: gwv1.GroupName, Kind: "HTTPRoute", Namespace: "other"}, gwv1.ReferenceGrantTo{Kind: "Service", Name: ptr.To(gwv1.ObjectName("plain"))}, true},
		{"another Service", gwv1.ReferenceGrantFrom{Group: gwv1.GroupName, Kind: "HTTPRoute", Namespace: "other"}, gwv1.ReferenceGrantTo{Kind: "Service", Name: ptr.To(gwv1.ObjectName("x"))}, false},
		{"another kind of route", gwv1.ReferenceGrantFrom{Group: gwv1.GroupName, Kind: "GRPCRoute", Namespace: "other"}, gwv1.ReferenceGrantTo{Kind: "Service"}, false},
		{"another namespace", gwv1.ReferenceGrantFrom{Group: gwv1.GroupName, Kind: "HTTPRoute", Namespace: "third"}, gwv1.ReferenceGrantTo{Kind: "Service"}, false},
	} {
		o := world()
		o.Gateways[0].Spec.Listeners[0].AllowedRoutes = &gwv1.AllowedRoutes{Namespaces: &gwv1.RouteNamespaces{From: ptr.To(gwv1.NamespacesFromAll)}}
		ref := serviceRef("plain", 80)
		ref.Namespace = ptr.To(gwv1.Namespace("default"))
		r := o.route(chatName, []gwv1.HTTPBackendRef{ref})
		r.Namespace, r.Spec.ParentRefs[0].Namespace = "other", ptr.To(gwv1.Namespace("default"))
		grant := &gwv1.ReferenceGrant{Spec: gwv1.ReferenceGrantSpec{From: []gwv1.ReferenceGrantFrom{row.from}, To: []gwv1.ReferenceGrantTo{row.to}}}
		grant.Namespace = "default"
		o.Grants = append(o.Grants, grant)
		ir, _ := Translate(*o)
		if got := ir.Listeners[0].Hosts[0].Routes[0].Members[0].Backend != ""; got != row.want {
			t.Errorf("a grant for %s: permitted %v", row.rule, got)
		}
	}
}

func TestAttachment(t *testing.T) {
	t.Parallel()
	refused := func(reason string) string {
		return "Accepted=False/" + reason + "@7 ResolvedRefs=True/ResolvedRefs@7"
	}
	for _, row := range []struct {
		rule    string
		change  func(*Objects, *gwv1.HTTPRoute)
		said    string
		domains string
	}{
		{"a route of the Gateway's namespace", func(*Objects, *gwv1.HTTPRoute) {}, fine, "*"},
		{"a listener by name", func(_ *Objects, r *gwv1.HTTPRoute) {
			r.Spec.ParentRefs[0].SectionName = ptr.To(gwv1.SectionName("http"))
		}, fine, "*"},
		{"a listener that is not there", func(_ *Objects, r *gwv1.HTTPRoute) {
			r.Spec.ParentRefs[0].SectionName = ptr.To(gwv1.SectionName("https"))
		}, refused("NoMatchingParent"), ""},
		{"a Gateway that is not ours says nothing", func(o *Objects, _ *gwv1.HTTPRoute) {
			o.Classes[0].Spec.ControllerName = "example.com/other"
		}, "", ""},
		{"a route of another namespace", func(_ *Objects, r *gwv1.HTTPRoute) {
			r.Namespace, r.Spec.ParentRefs[0].Namespace = "other", ptr.To(gwv1.Namespace("default"))
			r.Spec.Rules[0].BackendRefs = nil
		}, refused("NotAllowedByListeners"), ""},
		{"a namespace that the selector finds", func(o *Objects, r *gwv1.HTTPRoute) {
			r.Namespace, r.Spec.ParentRefs[0].Namespace = "other", ptr.To(gwv1.Namespace("default"))
			r.Spec.Rules[0].BackendRefs = nil
			o.Gateways[0].Spec.Listeners[0].AllowedRoutes = selectTeam("x")
		}, fine, "*"},
		{"a namespace that the selector does not find", func(o *Objects, r *gwv1.HTTPRoute) {
			r.Namespace, r.Spec.ParentRefs[0].Namespace = "other", ptr.To(gwv1.Namespace("default"))
			r.Spec.Rules[0].BackendRefs = nil
			o.Gateways[0].Spec.Listeners[0].AllowedRoutes = selectTeam("y")
		}, refused("NotAllowedByListeners"), ""},
		{"hostnames meet at the narrower one", func(o *Objects, r *gwv1.HTTPRoute) {
			o.Gateways[0].Spec.Listeners[0].Hostname = ptr.To(gwv1.Hostname("*.example.com"))
			r.Spec.Hostnames = []gwv1.Hostname{"chat.example.com", "*.a.example.com", "example.org", "*.com"}
		}, fine, "*.a.example.com *.example.com chat.example.com"},
		{"hostnames that do not meet", func(o *Objects, r *gwv1.HTTPRoute) {
			o.Gateways[0].Spec.Listeners[0].Hostname = ptr.To(gwv1.Hostname("a.example.com"))
			r.Spec.Hostnames = []gwv1.Hostname{"b.example.com"}
		}, refused("NoMatchingListenerHostname"), ""},
	} {
		o := world()
		r := o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 1)})
		row.change(o, r)
		ir, statuses := Translate(*o)
		got := ""
		if parents := statuses.Routes[nameOf(r)]; len(parents) > 0 {
			got = said(parents[0].Conditions)
		}
		if got != row.said {
			t.Errorf("%s: got %q, want %q", row.rule, got, row.said)
		}
		var domains []string
		for _, l := range ir.Listeners {
			for _, h := range l.Hosts {
				domains = append(domains, h.Domain)
			}
		}
		if got := strings.Join(domains, " "); got != row.domains {
			t.Errorf("%s: got domains %q, want %q", row.rule, got, row.domains)
		}
	}
}

func TestRoutesAreTriedInGatewayAPIPrecedence(t *testing.T) {
	t.Parallel()
	path := func(kind gwv1.PathMatchType, value string) gwv1.HTTPRouteMatch {
		return gwv1.HTTPRouteMatch{Path: &gwv1.HTTPPathMatch{Type: &kind, Value: &value}}
	}
	rule := func(m gwv1.HTTPRouteMatch) gwv1.HTTPRouteRule {
		return gwv1.HTTPRouteRule{Matches: []gwv1.HTTPRouteMatch{m}}
	}
	method, header, query := path("PathPrefix", "/v1"), path("PathPrefix", "/v1"), path("PathPrefix", "/v1")
	method.Method = ptr.To(gwv1.HTTPMethodPost)
	header.Headers = []gwv1.HTTPHeaderMatch{{Name: "X-Gateway-Model-Name", Value: "qwen"}}
	query.QueryParams = []gwv1.HTTPQueryParamMatch{{Name: "q", Value: "1"}}
	o := world()
	o.route("older", nil, rule(path("PathPrefix", "/v1")))
	o.route("z", nil, rule(query), rule(path("PathPrefix", "/")), rule(path("RegularExpression", "/v.")), rule(header),
		rule(path("PathPrefix", "/v1/chat")), rule(method), rule(path("Exact", "/v1")))
	o.route("a-newer", nil, rule(path("PathPrefix", "/v1")))
	ir, _ := Translate(*o)
	var got []string
	for _, r := range ir.Listeners[0].Hosts[0].Routes {
		got = append(got, r.Name)
	}
	want := []string{ // exact, regex, longer prefix, method, headers, query, age, shorter prefix
		"default/z/6/0", "default/z/2/0", "default/z/4/0", "default/z/5/0", "default/z/3/0", "default/z/0/0",
		"default/older/0/0", "default/a-newer/0/0", "default/z/1/0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestWhatARuleMayNotSay(t *testing.T) {
	t.Parallel()
	good := gwv1.HTTPRouteRule{BackendRefs: []gwv1.HTTPBackendRef{poolRef("a", 1)}}
	with := func(f gwv1.HTTPRouteFilter) gwv1.HTTPRouteRule {
		return gwv1.HTTPRouteRule{BackendRefs: good.BackendRefs, Filters: []gwv1.HTTPRouteFilter{f}}
	}
	setting := func(name string) gwv1.HTTPRouteRule {
		return with(gwv1.HTTPRouteFilter{Type: "RequestHeaderModifier", RequestHeaderModifier: &gwv1.HTTPHeaderFilter{
			Set: []gwv1.HTTPHeader{{Name: gwv1.HTTPHeaderName(name), Value: "v"}},
		}})
	}
	badRegex := gwv1.HTTPRouteRule{BackendRefs: good.BackendRefs, Matches: []gwv1.HTTPRouteMatch{{
		Path: &gwv1.HTTPPathMatch{Type: ptr.To(gwv1.PathMatchRegularExpression), Value: ptr.To("/(")},
	}}}
	unsupported := "Accepted=False/UnsupportedValue@7 ResolvedRefs=True/ResolvedRefs@7"
	for _, row := range []struct {
		rule  string
		rules []gwv1.HTTPRouteRule
		said  string
	}{
		{"a header modifier is fine", []gwv1.HTTPRouteRule{setting("x-team")}, fine},
		{"a modifier that forges a pick", []gwv1.HTTPRouteRule{setting("X-Gateway-Destination-Endpoint")}, unsupported},
		{"a modifier of host", []gwv1.HTTPRouteRule{setting("Host")}, unsupported},
		{"a mirror", []gwv1.HTTPRouteRule{with(gwv1.HTTPRouteFilter{Type: "RequestMirror"})}, unsupported},
		{"a path that is no regular expression", []gwv1.HTTPRouteRule{badRegex}, unsupported},
		{"one bad rule leaves the others", []gwv1.HTTPRouteRule{good, setting("host")}, fine + " PartiallyInvalid=True/UnsupportedValue@7"},
	} {
		o := world()
		r := o.route(chatName, nil, row.rules...)
		ir, statuses := Translate(*o)
		if got := said(statuses.Routes[nameOf(r)][0].Conditions); got != row.said {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.said)
		}
		if attached := len(ir.Listeners[0].Hosts) > 0; attached == strings.HasPrefix(row.said, "Accepted=False") {
			t.Errorf("%s: attached %v", row.rule, attached)
		}
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	o := world()
	o.route(chatName, nil, gwv1.HTTPRouteRule{
		Timeouts: &gwv1.HTTPRouteTimeouts{Request: ptr.To(gwv1.Duration("1m30s")), BackendRequest: ptr.To(gwv1.Duration("500ms"))},
	}, gwv1.HTTPRouteRule{Timeouts: &gwv1.HTTPRouteTimeouts{Request: ptr.To(gwv1.Duration("0s"))}})
	ir, _ := Translate(*o)
	routes := ir.Listeners[0].Hosts[0].Routes
	if got := fmt.Sprint(routes[0].Timeout, routes[0].BackendTimeout, routes[1].Timeout); got != "1m30s 500ms 0s" {
		t.Errorf("got %s", got)
	}
	if routes[0].Timeout != 90*time.Second {
		t.Errorf("got %s", routes[0].Timeout)
	}
}
