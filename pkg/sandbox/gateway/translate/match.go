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
