package translate

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// deed is what the first route does, in a few words.
func deed(r Route) string {
	words := []string{shares(r)}
	if d := r.Redirect; d != nil {
		words = append(words, fmt.Sprintf("redirect %d %s://%s:%d%s", d.Code, d.Scheme, d.Host, d.Port, d.Path.Path))
	}
	if r.Rewrite != (Rewrite{}) {
		words = append(words, "rewrite "+r.Rewrite.Host+r.Rewrite.Path.Path)
	}
	for _, m := range r.Mirrors {
		words = append(words, fmt.Sprintf("%s %d", m.Backend, m.Numerator))
	}
	if r.Retry != nil {
		words = append(words, fmt.Sprintf("retry %d %v %s", r.Retry.Attempts, r.Retry.Codes, r.Retry.Backoff))
	}
	return strings.TrimPrefix(strings.Join(words, "; "), "; ")
}

func filtered(refs []gwv1.HTTPBackendRef, filters ...gwv1.HTTPRouteFilter) gwv1.HTTPRouteRule {
	return gwv1.HTTPRouteRule{BackendRefs: refs, Filters: filters}
}

func mirror(ref gwv1.HTTPBackendRef, percent *int32, fraction *gwv1.Fraction) gwv1.HTTPRouteFilter {
	return gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterRequestMirror, RequestMirror: &gwv1.HTTPRequestMirrorFilter{
		BackendRef: ref.BackendObjectReference, Percent: percent, Fraction: fraction,
	}}
}

func redirectTo(r gwv1.HTTPRequestRedirectFilter) gwv1.HTTPRouteFilter {
	return gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterRequestRedirect, RequestRedirect: &r}
}

func rewriteTo(r gwv1.HTTPURLRewriteFilter) gwv1.HTTPRouteFilter {
	return gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterURLRewrite, URLRewrite: &r}
}

func TestWhatARuleMaySay(t *testing.T) {
	t.Parallel()
	a := []gwv1.HTTPBackendRef{poolRef("a", 1)}
	const toA = "pool/default/a:1"
	prefix := &gwv1.HTTPPathModifier{Type: gwv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: ptr.To("/v2/")}
	unsupported := "Accepted=False/UnsupportedValue@7 ResolvedRefs=True/ResolvedRefs@7"
	unresolved := "Accepted=True/Accepted@7 ResolvedRefs=False/BackendNotFound@7"
	hosted := poolRef("a", 1)
	hosted.Filters = []gwv1.HTTPRouteFilter{rewriteTo(gwv1.HTTPURLRewriteFilter{Hostname: ptr.To(gwv1.PreciseHostname("x"))})}
	moved := poolRef("a", 1)
	moved.Filters = []gwv1.HTTPRouteFilter{rewriteTo(gwv1.HTTPURLRewriteFilter{Path: prefix})}
	for _, row := range []struct {
		rule string
		said gwv1.HTTPRouteRule
		deed string // "" when nothing is attached
		want string
	}{
		{"weights up to 1,000,000", filtered([]gwv1.HTTPBackendRef{poolRef("a", 1_000_000), poolRef("b", 1)}), "pool/default/a:1000000 pool/default/b:1", fine},
		{"a redirect names its scheme's port", filtered(nil, redirectTo(gwv1.HTTPRequestRedirectFilter{Scheme: ptr.To("https"), StatusCode: ptr.To(301)})), "redirect 301 https://:443", fine},
		{"a redirect without scheme or port goes back to the listener", filtered(nil, redirectTo(gwv1.HTTPRequestRedirectFilter{Hostname: ptr.To(gwv1.PreciseHostname("x"))})), "redirect 302 ://x:8080", fine},
		{"a redirect to a port", filtered(nil, redirectTo(gwv1.HTTPRequestRedirectFilter{Port: ptr.To(gwv1.PortNumber(99)), Path: prefix})), "redirect 302 ://:99/v2", fine},
		{"a redirect with another status", filtered(nil, redirectTo(gwv1.HTTPRequestRedirectFilter{StatusCode: ptr.To(200)})), "", unsupported},
		{"a redirect to another scheme", filtered(nil, redirectTo(gwv1.HTTPRequestRedirectFilter{Scheme: ptr.To("ftp")})), "", unsupported},
		{"a rewrite", filtered(a, rewriteTo(gwv1.HTTPURLRewriteFilter{Hostname: ptr.To(gwv1.PreciseHostname("x")), Path: prefix})), toA + "; rewrite x/v2", fine},
		{"a rewrite beside a redirect", filtered(a, rewriteTo(gwv1.HTTPURLRewriteFilter{Path: prefix}), redirectTo(gwv1.HTTPRequestRedirectFilter{})), "", unsupported},
		{"a backendRef may rewrite the host", filtered([]gwv1.HTTPBackendRef{hosted}), toA, fine},
		{"a backendRef may not rewrite the path", filtered([]gwv1.HTTPBackendRef{moved}), "", unsupported},
		{"a mirror to a Service", filtered(a, mirror(serviceRef("plain", 80), nil, nil)), toA + "; mirror/service/default/plain/80 1000000", fine},
		{"a mirror to a pool, percent", filtered(a, mirror(poolRef("b", 1), ptr.To[int32](20), nil)), toA + "; mirror/pool/default/b 200000", fine},
		{"a mirror, fraction", filtered(a, mirror(poolRef("b", 1), nil, &gwv1.Fraction{Numerator: 1, Denominator: ptr.To[int32](3)})), toA + "; mirror/pool/default/b 333333", fine},
		{"a mirror of 0 is none", filtered(a, mirror(poolRef("b", 1), ptr.To[int32](0), nil)), toA, fine},
		{"two mirrors", filtered(a, mirror(poolRef("b", 1), ptr.To[int32](25), nil), mirror(serviceRef("plain", 80), ptr.To[int32](50), nil)), toA + "; mirror/pool/default/b 250000; mirror/service/default/plain/80 500000", fine},
		{"a mirror to what is missing is left out", filtered(a, mirror(poolRef("gone", 1), nil, nil)), toA, unresolved},
		{"a retry", gwv1.HTTPRouteRule{BackendRefs: a, Retry: &gwv1.HTTPRouteRetry{Attempts: ptr.To(3), Codes: []gwv1.HTTPRouteRetryStatusCode{503}, Backoff: ptr.To(gwv1.Duration("20ms"))}}, toA + "; retry 3 [503] 20ms", fine},
		{"CORS", filtered(a, gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterCORS}), "", unsupported},
		{"ExtensionRef", filtered(a, gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterExtensionRef}), "", unsupported},
		{"ExternalAuth", filtered(a, gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterExternalAuth}), "", unsupported},
		{"session persistence", gwv1.HTTPRouteRule{BackendRefs: a, SessionPersistence: &gwv1.SessionPersistence{}}, "", unsupported},
	} {
		o := world()
		r := o.route(chatName, nil, row.said)
		ir, statuses := Translate(*o)
		got := ""
		if hosts := ir.Listeners[0].Hosts; len(hosts) > 0 {
			got = deed(hosts[0].Routes[0])
		}
		if words := said(statuses.Routes[nameOf(r)][0].Conditions); got != row.deed || words != row.want {
			t.Errorf("%s: got %q and %s, want %q and %s", row.rule, got, words, row.deed, row.want)
		}
	}
}

func TestAMirrorToAPoolSaysThatNoPickerIsAsked(t *testing.T) {
	t.Parallel()
	o := world()
	r := o.route(chatName, nil, filtered([]gwv1.HTTPBackendRef{poolRef("a", 1)}, mirror(poolRef("b", 1), nil, nil)))
	ir, statuses := Translate(*o)
	if m := statuses.Routes[nameOf(r)][0].Conditions[0].Message; !strings.Contains(m, "default/b asks no endpoint picker") {
		t.Errorf("Accepted says %q", m)
	}
	for _, b := range ir.Backends {
		if b.Mirror != strings.HasPrefix(b.Name, "mirror/") || b.Mirror && b.Picker != nil {
			t.Errorf("backend %+v", b)
		}
	}
}

func TestKindsOfBackends(t *testing.T) {
	t.Parallel()
	old := poolRef("old", 1)
	old.Group = ptr.To(gwv1.Group(OldPoolGroup))
	for _, row := range []struct {
		rule   string
		change func(*Objects)
		ref    gwv1.HTTPBackendRef
		want   string // backend, HTTP/2, endpoints
		said   string
	}{
		{"several target ports", func(o *Objects) {
			o.Pools[0].Spec.TargetPorts = []infv1.Port{{Number: 8000}, {Number: 8001}}
		}, poolRef("a", 1), "pool/default/a h2=false [127.9.2.11:8000 127.9.2.11:8001 127.9.2.12:8000 127.9.2.12:8001]", fine},
		{"a pool of h2c", func(o *Objects) { o.Pools[0].Spec.AppProtocol = infv1.AppProtocolH2C }, poolRef("a", 1), "pool/default/a h2=true [127.9.2.11:8000 127.9.2.12:8000]", fine},
		{"a Service of h2c", func(o *Objects) { o.Services[2].Spec.Ports[0].AppProtocol = ptr.To(h2cProtocol) }, serviceRef("plain", 80), "service/default/plain/80 h2=true [127.9.2.31:8080]", fine},
		{"a headless Service", func(o *Objects) { o.Services[2].Spec.ClusterIP = "None" }, serviceRef("plain", 80), "service/default/plain/80 h2=false [127.9.2.31:8080]", fine},
		{"a pool of v1alpha2", func(o *Objects) {
			pool := *o.Pools[0]
			pool.Name = "old"
			o.OldPools = append(o.OldPools, &pool)
		}, old, "pool-v1alpha2/default/old h2=false [127.9.2.11:8000 127.9.2.12:8000]", fine},
		{"a pool of the other group", func(*Objects) {}, old, "none", "Accepted=True/Accepted@7 ResolvedRefs=False/BackendNotFound@7"},
		{"a Service without a selector", func(o *Objects) { o.Services[2].Spec.Selector = nil }, serviceRef("plain", 80), "none", "Accepted=True/Accepted@7 ResolvedRefs=False/UnsupportedValue@7"},
		{"ExternalName", func(o *Objects) { o.Services[2].Spec.Type = corev1.ServiceTypeExternalName }, serviceRef("plain", 80), "none", "Accepted=True/Accepted@7 ResolvedRefs=False/UnsupportedValue@7"},
	} {
		o := world()
		row.change(o)
		r := o.route(chatName, []gwv1.HTTPBackendRef{row.ref})
		ir, statuses := Translate(*o)
		got := "none"
		if len(ir.Backends) > 0 {
			got = fmt.Sprintf("%s h2=%v %v", ir.Backends[0].Name, ir.Backends[0].HTTP2, ir.Backends[0].Endpoints)
		}
		if words := said(statuses.Routes[nameOf(r)][0].Conditions); got != row.want || words != row.said {
			t.Errorf("%s: got %s and %s", row.rule, got, words)
		}
	}
}

func TestDefects(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		defect string
		want   string // weight and picker of each member
	}{
		{"", "70 a, 30 b, 0 a"},
		{"one-epp-per-rule", "70 b, 30 b, 0 b"},
		{"ignore-weights", "1 a, 1 b, 1 a"},
		{"single-pool-rule", ""},
		{"always-fail-closed", "70 a, 30 b, 0 a"},
	} {
		o := world()
		o.Pools[0].Spec.EndpointPickerRef.FailureMode = infv1.EndpointPickerFailOpen
		if row.defect != "" {
			var err error
			if o.Defects, err = ParseDefects([]string{row.defect}); err != nil {
				t.Fatal(err)
			}
		}
		o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 70), poolRef("b", 30), poolRef("a", 0)})
		ir, _ := Translate(*o)
		var members []string
		for _, h := range ir.Listeners[0].Hosts {
			for _, m := range h.Routes[0].Members {
				members = append(members, fmt.Sprintf("%d %s", m.Weight, strings.TrimPrefix(m.Picker, "pool/default/")))
			}
		}
		if got := strings.Join(members, ", "); got != row.want {
			t.Errorf("%q: got %s, want %s", row.defect, got, row.want)
		}
		for _, b := range ir.Backends {
			if b.Name == "pool/default/a" && b.Picker.FailOpen == (row.defect == "always-fail-closed") {
				t.Errorf("%q: fail open %v", row.defect, b.Picker.FailOpen)
			}
		}
	}
	if _, err := ParseDefects([]string{"no-such"}); err == nil || !strings.Contains(err.Error(), "one-epp-per-rule") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyACKMissesPickers(t *testing.T) {
	t.Parallel()
	for controller, want := range map[string]int{ControllerName: 0, ControllerNameACK: 1} {
		for _, routed := range []bool{true, false} {
			o := world()
			o.Classes[0].Spec.ControllerName = gwv1.GatewayController(controller)
			o.Services = o.Services[1:]
			if routed {
				o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 1), poolRef("b", 1)})
			}
			if _, statuses := Translate(*o); len(statuses.MissingPickers) != want {
				t.Errorf("%s, routed %v: got %+v", controller, routed, statuses.MissingPickers)
			}
		}
	}
}
