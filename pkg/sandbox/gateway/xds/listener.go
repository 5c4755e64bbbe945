package xds

import (
	"cmp"
	"strings"
	"time"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// What each ext_proc server may change; Envoy wants the whole name to match,
// and asks the same rules about the headers of an answer of the server's own.
const (
	rejectionHeaders  = `content-type|retry-after|` + header.RejectReason
	bodyRouterHeaders = `x-gateway-(base-)?model-name|` + rejectionHeaders
	pickerHeaders     = `content-length|x-gateway-[a-z-]+|x-inference-[a-z-]+|x-request-id|` + rejectionHeaders
)

const (
	requestHeadersTimeout = 10 * time.Second
	clientIdleTimeout     = time.Hour
	// accessLogFlush makes streams of a day visible before they end.
	accessLogFlush = 30 * time.Second
)

// listener says nothing that depends on routes or pools: changing a listener
// would cut the streams that run through it.
func (r *renderer) listener(l translate.Listener) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          l.Name,
		Address:                       socketAddress(l.Address),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit(l, r.settings)),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: r.pack(r.connectionManager(l))},
		}}}},
	}
}

// bufferLimit is the largest request body that a listener takes, in bytes.
func bufferLimit(l translate.Listener, s Settings) uint32 {
	return cmp.Or(l.BufferLimit, s.BufferLimit)
}

func (r *renderer) connectionManager(l translate.Listener) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: "gateway",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			RouteConfigName: l.Name, ConfigSource: adsSource(),
		}},
		StreamIdleTimeout:             durationpb.New(0),
		RequestTimeout:                durationpb.New(0),
		RequestHeadersTimeout:         durationpb.New(requestHeadersTimeout),
		CommonHttpProtocolOptions:     &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(clientIdleTimeout)},
		UseRemoteAddress:              wrapperspb.Bool(true),
		NormalizePath:                 wrapperspb.Bool(true),
		ServerHeaderTransformation:    hcmv3.HttpConnectionManager_PASS_THROUGH,
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{r.stripRoutingHeaders()},
		HttpFilters:                   r.httpFilters(),
		AccessLog:                     r.accessLog(),
		AccessLogOptions: &hcmv3.HttpConnectionManager_HcmAccessLogOptions{
			AccessLogFlushInterval: durationpb.New(accessLogFlush),
		},
	}
}

// stripRoutingHeaders removes what only our own servers may say, before any
// route is matched.
func (r *renderer) stripRoutingHeaders() *corev3.TypedExtensionConfig {
	mutation := &earlyv3.HeaderMutation{}
	for _, name := range header.Owned() {
		if !r.settings.BodyRouter.IsValid() && (name == header.ModelName || name == header.BaseModelName) {
			continue // without a body router the client names the model itself
		}
		mutation.Mutations = append(mutation.Mutations, &rulesv3.HeaderMutation{
			Action: &rulesv3.HeaderMutation_Remove{Remove: strings.ToLower(name)},
		})
	}
	return &corev3.TypedExtensionConfig{
		Name:        "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: r.pack(mutation),
	}
}

func (r *renderer) httpFilters() []*hcmv3.HttpFilter {
	var filters []*hcmv3.HttpFilter
	if r.settings.BodyRouter.IsValid() {
		filters = append(filters, httpFilter(filterBodyRouter, r.pack(r.bodyRouterFilter())))
	}
	return append(filters,
		httpFilter(filterPicker, r.pack(r.pickerFilter())),
		httpFilter("envoy.filters.http.router", r.pack(&routerv3.Router{})))
}

func (r *renderer) bodyRouterFilter() *procv3.ExternalProcessor {
	return &procv3.ExternalProcessor{
		GrpcService: grpcService(clusterBodyRoute, clusterBodyRoute),
		ProcessingMode: &procv3.ProcessingMode{
			RequestHeaderMode:   procv3.ProcessingMode_SEND,
			RequestBodyMode:     procv3.ProcessingMode_BUFFERED,
			RequestTrailerMode:  procv3.ProcessingMode_SKIP,
			ResponseHeaderMode:  procv3.ProcessingMode_SKIP,
			ResponseBodyMode:    procv3.ProcessingMode_NONE,
			ResponseTrailerMode: procv3.ProcessingMode_SKIP,
		},
		MessageTimeout:   durationpb.New(r.settings.MessageTimeout),
		RouteCacheAction: procv3.ExternalProcessor_CLEAR,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		MutationRules:    allowOnly(bodyRouterHeaders),
	}
}

// pickerFilter sends nothing anywhere until a weighted member overrides it.
func (r *renderer) pickerFilter() *procv3.ExternalProcessor {
	return &procv3.ExternalProcessor{
		GrpcService: grpcService(clusterUnset, clusterUnset),
		ProcessingMode: &procv3.ProcessingMode{
			RequestHeaderMode:   procv3.ProcessingMode_SKIP,
			ResponseHeaderMode:  procv3.ProcessingMode_SKIP,
			RequestTrailerMode:  procv3.ProcessingMode_SKIP,
			ResponseTrailerMode: procv3.ProcessingMode_SKIP,
		},
		MessageTimeout:   durationpb.New(r.settings.MessageTimeout),
		RouteCacheAction: procv3.ExternalProcessor_RETAIN,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		MutationRules:    allowOnly(pickerHeaders),
		MetadataOptions: &procv3.MetadataOptions{
			ReceivingNamespaces:  &procv3.MetadataOptions_MetadataNamespaces{Untyped: []string{header.MetadataNamespace}},
			ForwardingNamespaces: &procv3.MetadataOptions_MetadataNamespaces{Untyped: []string{header.MetadataNamespace, header.SubsetNamespace}},
		},
	}
}

// pickerModeOf is what a member's picker is sent.
func pickerModeOf(mode PickerMode) *procv3.ProcessingMode {
	m := &procv3.ProcessingMode{
		RequestHeaderMode:   procv3.ProcessingMode_SEND,
		RequestBodyMode:     procv3.ProcessingMode_BUFFERED,
		RequestTrailerMode:  procv3.ProcessingMode_SKIP,
		ResponseHeaderMode:  procv3.ProcessingMode_SEND,
		ResponseBodyMode:    procv3.ProcessingMode_STREAMED,
		ResponseTrailerMode: procv3.ProcessingMode_SEND, // SKIP would end the stream at the headers
	}
	if mode == PickerFullDuplex {
		m.RequestBodyMode = procv3.ProcessingMode_FULL_DUPLEX_STREAMED
		m.RequestTrailerMode = procv3.ProcessingMode_SEND
		m.ResponseBodyMode = procv3.ProcessingMode_FULL_DUPLEX_STREAMED
	}
	return m
}

func grpcService(cluster, authority string) *corev3.GrpcService {
	return &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
		EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster, Authority: authority},
	}}
}

// allowOnly lets an ext_proc server change headers of these names and no other.
func allowOnly(names string) *rulesv3.HeaderMutationRules {
	return &rulesv3.HeaderMutationRules{
		DisallowAll:     wrapperspb.Bool(true),
		DisallowIsError: wrapperspb.Bool(false),
		AllowExpression: &matcherv3.RegexMatcher{Regex: names},
	}
}

// accessLog writes one JSON line per finished request, and one per flush
// interval of a running one, told apart by "type".
func (r *renderer) accessLog() []*logv3.AccessLog {
	if r.settings.AccessLog == "" {
		return nil
	}
	fields := map[string]*structpb.Value{}
	for key, format := range map[string]string{
		"time":      "%START_TIME%",
		"type":      "%ACCESS_LOG_TYPE%",
		"method":    "%REQ(:METHOD)%",
		"path":      "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
		"authority": "%REQ(:AUTHORITY)%",
		"model":     "%REQ(" + header.ModelName + ")%",
		"code":      "%RESPONSE_CODE%",
		"flags":     "%RESPONSE_FLAGS%",
		"details":   "%RESPONSE_CODE_DETAILS%",
		"route":     "%ROUTE_NAME%",
		"cluster":   "%UPSTREAM_CLUSTER%",
		"upstream":  "%UPSTREAM_HOST%",
		"asked":     "%DYNAMIC_METADATA(" + header.MetadataNamespace + ":" + header.DestinationEndpoint + ")%",
		"served":    "%DYNAMIC_METADATA(" + header.MetadataNamespace + ":" + header.DestinationEndpointServed + ")%",
		"attempts":  "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
		"received":  "%BYTES_RECEIVED%",
		"sent":      "%BYTES_SENT%",
		"ms":        "%DURATION%",
		"headersMs": "%RESPONSE_DURATION%",
		"requestID": "%REQ(X-REQUEST-ID)%",
	} {
		fields[key] = structpb.NewStringValue(format)
	}
	return []*logv3.AccessLog{{
		Name: "envoy.access_loggers.file",
		ConfigType: &logv3.AccessLog_TypedConfig{TypedConfig: r.pack(&filelogv3.FileAccessLog{
			Path: r.settings.AccessLog,
			AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			}},
		})},
	}}
}
