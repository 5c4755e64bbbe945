package translate

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// compileFilters puts the filters of a rule into r. The error names what is
// not supported; a mirror's bad reference is only recorded in c, and the mirror
// left out, as the Gateway API wants it.
func (t *translation) compileFilters(route *gwv1.HTTPRoute, filters []gwv1.HTTPRouteFilter, r *Route, c *compiledRoute) error {
	var err error
	rewrites := 0
	for _, f := range filters {
		switch f.Type {
		case gwv1.HTTPRouteFilterRequestHeaderModifier:
			r.RequestHeaders, err = compileEdits(f.RequestHeaderModifier)
		case gwv1.HTTPRouteFilterResponseHeaderModifier:
			r.ResponseHeaders, err = compileEdits(f.ResponseHeaderModifier)
		case gwv1.HTTPRouteFilterRequestRedirect:
			rewrites++
			r.Redirect, err = compileRedirect(f.RequestRedirect)
		case gwv1.HTTPRouteFilterURLRewrite:
			rewrites++
			r.Rewrite, err = compileRewrite(f.URLRewrite)
		case gwv1.HTTPRouteFilterRequestMirror:
			err = t.compileMirror(route, f.RequestMirror, r, c)
		default:
			err = fmt.Errorf("filter %s is not supported", f.Type)
		}
		if err != nil {
			return err
		}
	}
	if rewrites > 1 {
		return errors.New("a rule has room for one RequestRedirect or one URLRewrite")
	}
	return nil
}

// compileMemberFilters puts the filters of a backendRef into m.
func compileMemberFilters(filters []gwv1.HTTPRouteFilter, m *Member) error {
	var err error
	for _, f := range filters {
		switch {
		case f.Type == gwv1.HTTPRouteFilterRequestHeaderModifier:
			m.RequestHeaders, err = compileEdits(f.RequestHeaderModifier)
		case f.Type == gwv1.HTTPRouteFilterResponseHeaderModifier:
			m.ResponseHeaders, err = compileEdits(f.ResponseHeaderModifier)
		case f.Type == gwv1.HTTPRouteFilterURLRewrite && f.URLRewrite != nil && f.URLRewrite.Path == nil:
			m.Host = string(ptr.Deref(f.URLRewrite.Hostname, ""))
		default:
			err = fmt.Errorf("filter %s is not supported on a backendRef", f.Type)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func compileRedirect(f *gwv1.HTTPRequestRedirectFilter) (*Redirect, error) {
	if f == nil {
		return nil, errors.New("requestRedirect is missing")
	}
	path, err := compilePathEdit(f.Path)
	r := &Redirect{
		Scheme: ptr.Deref(f.Scheme, ""), Host: string(ptr.Deref(f.Hostname, "")), Path: path,
		Port: int32(ptr.Deref(f.Port, 0)), Code: ptr.Deref(f.StatusCode, 302),
	}
	switch {
	case err != nil:
		return nil, err
	case r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https":
		return nil, fmt.Errorf("redirect to scheme %s is not supported", r.Scheme)
	}
	switch r.Code {
	case 301, 302, 303, 307, 308:
		return r, nil
	}
	return nil, fmt.Errorf("redirect with status %d is not supported", r.Code)
}

// at is the redirect as served on a port: one that names no port goes to its
// scheme's, or back to the listener.
func (r *Redirect) at(served uint16) *Redirect {
	if r == nil || r.Port != 0 {
		return r
	}
	out := *r
	switch r.Scheme {
	case "http":
		out.Port = 80
	case "https":
		out.Port = 443
	default:
		out.Port = int32(served)
	}
	return &out
}

func compileRewrite(f *gwv1.HTTPURLRewriteFilter) (Rewrite, error) {
	if f == nil {
		return Rewrite{}, errors.New("urlRewrite is missing")
	}
	path, err := compilePathEdit(f.Path)
	return Rewrite{Host: string(ptr.Deref(f.Hostname, "")), Path: path}, err
}

func compilePathEdit(m *gwv1.HTTPPathModifier) (PathEdit, error) {
	switch {
	case m == nil:
		return PathEdit{}, nil
	case m.Type == gwv1.FullPathHTTPPathModifier && m.ReplaceFullPath != nil:
		return PathEdit{ReplaceFullPath, "/" + strings.TrimLeft(*m.ReplaceFullPath, "/")}, nil
	case m.Type == gwv1.PrefixMatchHTTPPathModifier && m.ReplacePrefixMatch != nil:
		return PathEdit{ReplacePrefix, "/" + strings.Trim(*m.ReplacePrefixMatch, "/")}, nil
	default:
		return PathEdit{}, fmt.Errorf("path modifier %s is not supported", m.Type)
	}
}

// compileMirror adds a mirror to r. Whatever it names, the copies are spread
// over its endpoints without asking a picker.
func (t *translation) compileMirror(route *gwv1.HTTPRoute, f *gwv1.HTTPRequestMirrorFilter, r *Route, c *compiledRoute) error {
	if f == nil {
		return errors.New("requestMirror is missing")
	}
	numerator := uint32(Million)
	switch {
	case f.Percent != nil && f.Fraction != nil:
		return errors.New("requestMirror has both percent and fraction")
	case f.Percent != nil:
		numerator = uint32(*f.Percent) * (Million / 100)
	case f.Fraction != nil:
		denominator := int64(cmp.Or(ptr.Deref(f.Fraction.Denominator, 100), 1))
		numerator = uint32(min(Million, int64(f.Fraction.Numerator)*Million/denominator))
	}
	backend, bad := t.resolve(route, f.BackendRef, c)
	if bad != (problem{}) {
		bad.message = "mirror: " + bad.message
		c.badRefs = append(c.badRefs, bad)
		return nil
	}
	if backend.Picker != nil {
		c.notes = append(c.notes, fmt.Sprintf("the mirror to InferencePool %s asks no endpoint picker", backend.Owner))
	}
	if numerator == 0 {
		return nil
	}
	backend.Name, backend.Picker, backend.Mirror = "mirror/"+backend.Name, nil, true
	t.backends[backend.Name] = backend
	r.Mirrors = append(r.Mirrors, Mirror{Backend: backend.Name, Numerator: numerator})
	return nil
}

func compileRetry(rule gwv1.HTTPRouteRule) (*Retry, error) {
	if rule.Retry == nil {
		return nil, nil
	}
	r := &Retry{Attempts: 1}
	if rule.Retry.Attempts != nil {
		r.Attempts = uint32(max(0, *rule.Retry.Attempts))
	}
	for _, code := range rule.Retry.Codes {
		r.Codes = append(r.Codes, uint32(code))
	}
	var err error
	if r.Backoff, err = compileTimeout(rule.Retry.Backoff); err != nil {
		return nil, fmt.Errorf("retry.backoff: %w", err)
	}
	return r, nil
}

func compileEdits(f *gwv1.HTTPHeaderFilter) (HeaderEdits, error) {
	if f == nil {
		return HeaderEdits{}, nil
	}
	edits := HeaderEdits{}
	for _, h := range f.Set {
		edits.Set = append(edits.Set, Header{string(h.Name), h.Value})
	}
	for _, h := range f.Add {
		edits.Add = append(edits.Add, Header{string(h.Name), h.Value})
	}
	edits.Remove = append(edits.Remove, f.Remove...)
	for _, h := range append(append([]Header(nil), edits.Set...), edits.Add...) {
		if err := editable(h.Name); err != nil {
			return HeaderEdits{}, err
		}
	}
	for _, name := range edits.Remove {
		if err := editable(name); err != nil {
			return HeaderEdits{}, err
		}
	}
	return edits, nil
}

// editable refuses the headers that a filter must not touch: a forged pick
// would send a request past its endpoint picker, and Envoy refuses host.
func editable(name string) error {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "x-gateway-destination-endpoint") || name == "host" {
		return fmt.Errorf("a header modifier must not touch %s", name)
	}
	return nil
}
