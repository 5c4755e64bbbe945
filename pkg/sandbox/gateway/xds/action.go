package xds

import (
	"regexp"
	"strings"
	"time"

	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// retryOn is what an HTTPRoute's retry stands for: what never reached a
// backend, and the codes it lists.
const retryOn = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"

// redirect names a port only where the client would guess another.
func redirect(r translate.Redirect, match translate.Match) *routev3.RedirectAction {
	code := map[int]routev3.RedirectAction_RedirectResponseCode{
		301: routev3.RedirectAction_MOVED_PERMANENTLY, 302: routev3.RedirectAction_FOUND, 303: routev3.RedirectAction_SEE_OTHER,
		307: routev3.RedirectAction_TEMPORARY_REDIRECT, 308: routev3.RedirectAction_PERMANENT_REDIRECT,
	}
	out := &routev3.RedirectAction{HostRedirect: r.Host, ResponseCode: code[r.Code], PortRedirect: uint32(r.Port)}
	if r.Scheme != "" {
		out.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	known := r.Port == 443 && r.Scheme == "https" || r.Port == 80 && r.Scheme != "https"
	if known && r.Host != "" { // without a host, Envoy would keep the request's port
		out.PortRedirect = 0
	}
	switch {
	case r.Path.Kind == translate.ReplaceFullPath:
		out.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: r.Path.Path}
	case r.Path.Kind == translate.ReplacePrefix && simplePrefix(r.Path.Path, match.Path):
		out.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: r.Path.Path}
	case r.Path.Kind == translate.ReplacePrefix:
		out.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: replacePrefix(r.Path.Path, match.Path)}
	}
	return out
}

func rewrite(action *routev3.RouteAction, r translate.Rewrite, match translate.Match) {
	if r.Host != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: r.Host}
	}
	switch {
	case r.Path.Kind == translate.ReplaceFullPath:
		action.RegexRewrite = substitute("^/.*$", r.Path.Path)
	case r.Path.Kind == translate.ReplacePrefix && simplePrefix(r.Path.Path, match.Path):
		action.PrefixRewrite = r.Path.Path
	case r.Path.Kind == translate.ReplacePrefix:
		action.RegexRewrite = replacePrefix(r.Path.Path, match.Path)
	}
}

// simplePrefix reports whether putting path in place of prefix is all there is
// to do. With a lone slash on either side that would lose or double one.
func simplePrefix(path, prefix string) bool { return path != "/" && prefix != "/" && prefix != "" }

func replacePrefix(path, prefix string) *matcherv3.RegexMatchAndSubstitute {
	return substitute("^"+regexp.QuoteMeta(strings.TrimRight(prefix, "/"))+"/*", strings.TrimRight(path, "/")+"/")
}

func substitute(pattern, path string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      &matcherv3.RegexMatcher{Regex: pattern},
		Substitution: strings.ReplaceAll(path, `\`, `\\`),
	}
}

// mirrors are copies without the pick that the original carries.
func (r *renderer) mirrors(all []translate.Mirror) []*routev3.RouteAction_RequestMirrorPolicy {
	var policies []*routev3.RouteAction_RequestMirrorPolicy
	for _, m := range all {
		policy := &routev3.RouteAction_RequestMirrorPolicy{
			Cluster: clusterName(r.backends[m.Backend]), DisableShadowHostSuffixAppend: true,
			RuntimeFraction: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
				Numerator: m.Numerator, Denominator: typev3.FractionalPercent_MILLION,
			}},
		}
		for _, name := range []string{header.DestinationEndpoint, header.DestinationEndpointServed, header.DestinationEndpointSubset} {
			policy.RequestHeadersMutations = append(policy.RequestHeadersMutations, &rulesv3.HeaderMutation{
				Action: &rulesv3.HeaderMutation_Remove{Remove: name},
			})
		}
		policies = append(policies, policy)
	}
	return policies
}

// retryPolicy is nil when there is neither a retry nor a limit for one attempt.
func retryPolicy(retry *translate.Retry, perTry time.Duration) *routev3.RetryPolicy {
	if retry == nil && perTry == 0 {
		return nil
	}
	policy := &routev3.RetryPolicy{}
	if perTry > 0 {
		policy.PerTryTimeout = durationpb.New(perTry)
	}
	if retry == nil {
		return policy
	}
	policy.RetryOn = retryOn
	if len(retry.On) > 0 {
		policy.RetryOn = strings.Join(retry.On, ",")
	}
	for _, code := range retry.Codes {
		if code == 504 { // Envoy's own, when an attempt takes too long
			policy.RetryOn += ",reset"
		}
	}
	policy.RetriableStatusCodes = retry.Codes
	policy.NumRetries = wrapperspb.UInt32(retry.Attempts)
	if retry.Backoff > 0 {
		policy.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(retry.Backoff)}
	}
	return policy
}
