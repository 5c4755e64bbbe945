package verify

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// call is how one kind of request reaches a rule.
type call struct {
	kind   string // chat or completions
	path   string // with the query
	host   string // "" for the gateway's address
	header http.Header
}

const (
	chat        = "chat"
	completions = "completions"
)

func pathOf(kind string) string {
	if kind == chat {
		return "/v1/chat/completions"
	}
	return "/v1/completions"
}

// calls are requests that the rule's matches take: one for each kind, by the
// first match that can take it. A header that a client must send and no Exact
// match names has to be in extra.
func calls(route *gatewayv1.HTTPRoute, rule int, kinds []string, extra http.Header) ([]call, error) {
	matches := route.Spec.Rules[rule].Matches
	if len(matches) == 0 {
		matches = []gatewayv1.HTTPRouteMatch{{}}
	}
	var out []call
	var why string
	for _, kind := range kinds {
		for _, match := range matches {
			c, problem := matching(match, kind, extra)
			if problem != "" {
				why = cmp.Or(why, problem)
				continue
			}
			c.host = hostOf(route)
			out = append(out, c)
			break
		}
	}
	if len(out) == 0 {
		return nil, hint.Errorf("--path completions, or the headers it asks for with --header NAME=VALUE",
			"httproute %s/%s: no request of kind %s matches rule %s: %s", route.Namespace, route.Name, strings.Join(kinds, " or "), ruleLabel(route, rule), why)
	}
	return out, nil
}

// matching is a request of this kind that match takes, or why there is none.
func matching(match gatewayv1.HTTPRouteMatch, kind string, extra http.Header) (call, string) {
	c := call{kind: kind, path: pathOf(kind), header: extra.Clone()}
	if c.header == nil {
		c.header = http.Header{}
	}
	if match.Method != nil && *match.Method != gatewayv1.HTTPMethodPost {
		return c, "it wants method " + string(*match.Method)
	}
	if match.Path != nil {
		path, ok := pathFor(deref(match.Path.Type, gatewayv1.PathMatchPathPrefix), deref(match.Path.Value, "/"), c.path)
		if !ok {
			return c, "it wants path " + *match.Path.Value
		}
		c.path = path
	}
	for _, h := range match.Headers {
		exact := deref(h.Type, gatewayv1.HeaderMatchExact) == gatewayv1.HeaderMatchExact
		switch name := string(h.Name); {
		case strings.EqualFold(name, header.ModelName), strings.EqualFold(name, header.BaseModelName):
		case exact && c.header.Get(name) == "":
			c.header.Set(name, h.Value)
		case exact && c.header.Get(name) != h.Value, !exact && !fits(h.Value, c.header.Get(name)):
			return c, fmt.Sprintf("it wants header %s to be %s", name, h.Value)
		}
	}
	var query []string
	for _, q := range match.QueryParams {
		query = append(query, string(q.Name)+"="+q.Value)
	}
	if len(query) > 0 {
		c.path += "?" + strings.Join(query, "&")
	}
	return c, ""
}

// pathFor is the path to ask for under a path match.
func pathFor(kind gatewayv1.PathMatchType, value, want string) (string, bool) {
	switch kind {
	case gatewayv1.PathMatchExact:
		return value, strings.HasSuffix(value, want)
	case gatewayv1.PathMatchRegularExpression:
		return want, fits(value, want)
	}
	prefix := strings.TrimSuffix(value, "/")
	switch {
	case prefix == "" || want == prefix || strings.HasPrefix(want, prefix+"/"):
		return want, true
	case strings.HasPrefix(prefix, "/v1"): // a path of the API, but another one
		return "", false
	}
	return prefix + want, true // what a URLRewrite takes away again
}

func fits(expression, text string) bool {
	re, err := regexp.Compile("^(?:" + expression + ")$")
	return err == nil && re.MatchString(text)
}

// hostOf is a host name the route answers to.
func hostOf(route *gatewayv1.HTTPRoute) string {
	if len(route.Spec.Hostnames) == 0 {
		return ""
	}
	return strings.Replace(string(route.Spec.Hostnames[0]), "*.", "verify.", 1)
}

func ruleLabel(route *gatewayv1.HTTPRoute, rule int) string {
	if name := route.Spec.Rules[rule].Name; name != nil {
		return string(*name)
	}
	return strconv.Itoa(rule)
}

// modelsOf are the model names that a rule's matches name.
func modelsOf(rule gatewayv1.HTTPRouteRule) []string {
	var names []string
	for _, match := range rule.Matches {
		for _, h := range match.Headers {
			if strings.EqualFold(string(h.Name), header.ModelName) && deref(h.Type, gatewayv1.HeaderMatchExact) == gatewayv1.HeaderMatchExact &&
				!slices.Contains(names, h.Value) {
				names = append(names, h.Value)
			}
		}
	}
	return names
}

// openToAll says whether a rule takes requests whatever their model.
func openToAll(rule gatewayv1.HTTPRouteRule) bool {
	return len(rule.Matches) == 0 || slices.ContainsFunc(rule.Matches, func(match gatewayv1.HTTPRouteMatch) bool {
		return !slices.ContainsFunc(match.Headers, func(h gatewayv1.HTTPHeaderMatch) bool {
			return strings.EqualFold(string(h.Name), header.ModelName) || strings.EqualFold(string(h.Name), header.BaseModelName)
		})
	})
}

// address is where a parentRef's listener is reached, as http://HOST:PORT.
func address(gateway *gatewayv1.Gateway, ref gatewayv1.ParentReference) (string, error) {
	name := "gateway " + gateway.Namespace + "/" + gateway.Name
	look := fmt.Sprintf("kubectl get gateway %s -n %s -o yaml   # or give the address: --gateway http://HOST:PORT", gateway.Name, gateway.Namespace)
	i := slices.IndexFunc(gateway.Spec.Listeners, func(l gatewayv1.Listener) bool {
		return (ref.SectionName == nil || *ref.SectionName == l.Name) && (ref.Port == nil || *ref.Port == l.Port) &&
			(l.Protocol == gatewayv1.HTTPProtocolType || l.Protocol == gatewayv1.HTTPSProtocolType)
	})
	if i < 0 {
		return "", hint.Errorf(look, "%s has no HTTP listener %s", name, deref(ref.SectionName, "that the route may be attached to"))
	}
	if len(gateway.Status.Addresses) == 0 || gateway.Status.Addresses[0].Value == "" {
		return "", hint.Errorf(look, "%s has no address yet", name)
	}
	listener := gateway.Spec.Listeners[i]
	scheme := map[bool]string{true: "https", false: "http"}[listener.Protocol == gatewayv1.HTTPSProtocolType]
	port := servedAt(gateway, listener)
	return scheme + "://" + net.JoinHostPort(gateway.Status.Addresses[0].Value, strconv.Itoa(port)), nil
}

// servedAt is a listener's port, or the other one that its status says it is
// served at: a sandbox without the right to bind 80 serves 8080.
func servedAt(gateway *gatewayv1.Gateway, listener gatewayv1.Listener) int {
	says := regexp.MustCompile(fmt.Sprintf(`port %d is served at (\d+)`, listener.Port))
	for _, status := range gateway.Status.Listeners {
		if status.Name != listener.Name {
			continue
		}
		for _, condition := range status.Conditions {
			if found := says.FindStringSubmatch(condition.Message); found != nil {
				if port, err := strconv.Atoi(found[1]); err == nil {
					return port
				}
			}
		}
	}
	return int(listener.Port)
}

func deref[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
