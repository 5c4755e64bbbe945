package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// HeaderBackend names, in every answer, the pool or Service that a request was
// sent to: "namespace/name". It is there for people and tests.
const HeaderBackend = "x-kubectl-infer-backend"

func httpFilter(name string, config *anypb.Any) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: config}}
}

func (r *renderer) routeConfiguration(l translate.Listener) *routev3.RouteConfiguration {
	config := &routev3.RouteConfiguration{
		Name:                     l.Name,
		IgnorePortInHostMatching: true,
	}
	for _, host := range l.Hosts {
		vh := &routev3.VirtualHost{Name: host.Domain, Domains: []string{host.Domain}}
		for _, route := range host.Routes {
			vh.Routes = append(vh.Routes, r.route(route, bufferLimit(l, r.settings)))
		}
		config.VirtualHosts = append(config.VirtualHosts, vh)
	}
	return config
}

func (r *renderer) route(route translate.Route, limit uint32) *routev3.Route {
	out := &routev3.Route{
		Name:                   route.Name,
		Match:                  routeMatch(route.Match),
		RequestBodyBufferLimit: wrapperspb.UInt64(uint64(limit)),
	}
	out.RequestHeadersToAdd, out.RequestHeadersToRemove = headerEdits(route.RequestHeaders)
	out.ResponseHeadersToAdd, out.ResponseHeadersToRemove = headerEdits(route.ResponseHeaders)
	if route.Redirect != nil {
		out.Action = &routev3.Route_Redirect{Redirect: redirect(*route.Redirect, route.Match)}
		return out
	}
	weighted := &routev3.WeightedCluster{}
	total := uint64(0)
	for _, m := range route.Members {
		total += uint64(m.Weight)
		weighted.Clusters = append(weighted.Clusters, r.member(m))
	}
	if total == 0 {
		out.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 500}}
		return out
	}
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted},
		// Answers may stream for a day; only an HTTPRoute sets a limit.
		Timeout:                     durationpb.New(route.Timeout),
		ClusterNotFoundResponseCode: routev3.RouteAction_INTERNAL_SERVER_ERROR,
		RequestMirrorPolicies:       r.mirrors(route.Mirrors),
		RetryPolicy:                 retryPolicy(route.Retry, route.BackendTimeout),
	}
	rewrite(action, route.Rewrite, route.Match)
	out.Action = &routev3.Route_Route{Route: action}
	return out
}

// member is one weighted backend. A pool's member switches the picker filter
// on, with the pool's own picker and failure mode.
func (r *renderer) member(m translate.Member) *routev3.WeightedCluster_ClusterWeight {
	out := &routev3.WeightedCluster_ClusterWeight{Name: clusterInvalid, Weight: wrapperspb.UInt32(m.Weight)}
	out.RequestHeadersToAdd, out.RequestHeadersToRemove = headerEdits(m.RequestHeaders)
	out.ResponseHeadersToAdd, out.ResponseHeadersToRemove = headerEdits(m.ResponseHeaders)
	out.ResponseHeadersToAdd = append(out.ResponseHeadersToAdd,
		headerOption(HeaderBackend, m.Ref, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	backend, known := r.backends[m.Backend]
	if !known {
		return out
	}
	out.Name = clusterName(backend)
	if m.Host != "" {
		out.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: m.Host}
	}
	if p := r.backends[m.Picker].Picker; p != nil {
		out.TypedPerFilterConfig = map[string]*anypb.Any{
			filterPicker: r.pack(&procv3.ExtProcPerRoute{Override: &procv3.ExtProcPerRoute_Overrides{
				Overrides: &procv3.ExtProcOverrides{
					GrpcService:      grpcService(pickerClusterName(*p), p.Authority),
					FailureModeAllow: wrapperspb.Bool(p.FailOpen),
					ProcessingMode:   pickerModeOf(r.settings.PickerMode),
				},
			}}),
		}
	}
	return out
}

func headerEdits(e translate.HeaderEdits) (add []*corev3.HeaderValueOption, remove []string) {
	for _, h := range e.Set {
		add = append(add, headerOption(h.Name, h.Value, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	for _, h := range e.Add {
		add = append(add, headerOption(h.Name, h.Value, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
	}
	return add, e.Remove
}

func headerOption(name, value string, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:         &corev3.HeaderValue{Key: name, Value: escapeFormat(value)},
		AppendAction:   action,
		KeepEmptyValue: true,
	}
}

// escapeFormat keeps Envoy from reading % as the start of a substitution.
func escapeFormat(value string) string {
	out := make([]byte, 0, len(value))
	for i := range len(value) {
		if value[i] == '%' {
			out = append(out, '%')
		}
		out = append(out, value[i])
	}
	return string(out)
}

func routeMatch(m translate.Match) *routev3.RouteMatch {
	out := &routev3.RouteMatch{}
	switch {
	case m.PathKind == translate.PathExact:
		out.PathSpecifier = &routev3.RouteMatch_Path{Path: m.Path}
	case m.PathKind == translate.PathRegex:
		out.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: m.Path}}
	case m.Path == "/" || m.Path == "":
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	default:
		out.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: m.Path}
	}
	if m.Method != "" {
		out.Headers = append(out.Headers, headerMatch(translate.ValueMatch{Name: ":method", Value: m.Method}))
	}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, headerMatch(h))
	}
	for _, q := range m.Query {
		out.QueryParameters = append(out.QueryParameters, &routev3.QueryParameterMatcher{
			Name:                         q.Name,
			QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: stringMatch(q)},
		})
	}
	return out
}

func headerMatch(m translate.ValueMatch) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 m.Name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatch(m)},
	}
}

func stringMatch(m translate.ValueMatch) *matcherv3.StringMatcher {
	if m.Regex {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: m.Value},
		}}
	}
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: m.Value}}
}
