package translate

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func compileMatch(m gwv1.HTTPRouteMatch) (Match, error) {
	out := Match{PathKind: PathPrefix, Path: "/", Method: string(ptr.Deref(m.Method, ""))}
	if m.Path != nil {
		out.Path = ptr.Deref(m.Path.Value, "/")
		switch ptr.Deref(m.Path.Type, gwv1.PathMatchPathPrefix) {
		case gwv1.PathMatchExact:
			out.PathKind = PathExact
		case gwv1.PathMatchRegularExpression:
			out.PathKind = PathRegex
			if _, err := regexp.Compile(out.Path); err != nil {
				return Match{}, fmt.Errorf("path: %w", err)
			}
		default:
			if out.Path = strings.TrimRight(out.Path, "/"); out.Path == "" {
				out.Path = "/"
			}
		}
	}
	seen := map[string]bool{}
	for _, h := range m.Headers {
		name := strings.ToLower(string(h.Name))
		if seen[name] { // a repeated name is to be ignored
			continue
		}
		seen[name] = true
		v, err := compileValue(name, h.Value, ptr.Deref(h.Type, gwv1.HeaderMatchExact) == gwv1.HeaderMatchRegularExpression)
		if err != nil {
			return Match{}, err
		}
		out.Headers = append(out.Headers, v)
	}
	seen = map[string]bool{}
	for _, q := range m.QueryParams {
		if seen[string(q.Name)] {
			continue
		}
		seen[string(q.Name)] = true
		v, err := compileValue(string(q.Name), q.Value, ptr.Deref(q.Type, gwv1.QueryParamMatchExact) == gwv1.QueryParamMatchRegularExpression)
		if err != nil {
			return Match{}, err
		}
		out.Query = append(out.Query, v)
	}
	return out, nil
}

func compileValue(name, value string, regex bool) (ValueMatch, error) {
	if regex {
		if _, err := regexp.Compile(value); err != nil {
			return ValueMatch{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return ValueMatch{Name: name, Value: value, Regex: regex}, nil
}

// compileTimeout reads a Gateway API duration; absent and 0s both mean none.
func compileTimeout(d *gwv1.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	return time.ParseDuration(string(*d))
}

// compileFilters reads the header modifiers; any other filter is an error.
func compileFilters(filters []gwv1.HTTPRouteFilter) (request, response HeaderEdits, err error) {
	for _, f := range filters {
		switch f.Type {
		case gwv1.HTTPRouteFilterRequestHeaderModifier:
			request, err = compileEdits(f.RequestHeaderModifier)
		case gwv1.HTTPRouteFilterResponseHeaderModifier:
			response, err = compileEdits(f.ResponseHeaderModifier)
		default:
			err = fmt.Errorf("filter %s is not supported", f.Type)
		}
		if err != nil {
			return HeaderEdits{}, HeaderEdits{}, err
		}
	}
	return request, response, nil
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
