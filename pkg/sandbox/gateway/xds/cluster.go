package xds

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	leastv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	overridev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/override_host/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

const (
	connectTimeout = 10 * time.Second
	// breakerLimit keeps Envoy's default circuit breakers (1024) out of the way
	// of long streams.
	breakerLimit = 40_000
)

func (r *renderer) cluster(name string, http2 bool, perConnection uint32) *clusterv3.Cluster {
	protocol := &httpv3.HttpProtocolOptions_ExplicitHttpConfig{}
	if http2 {
		protocol.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}
	} else {
		protocol.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		}
	}
	limit := wrapperspb.UInt32(breakerLimit)
	return &clusterv3.Cluster{
		Name:                          name,
		ConnectTimeout:                durationpb.New(connectTimeout),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(r.settings.BufferLimit),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: limit, MaxPendingRequests: limit, MaxRequests: limit,
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": r.pack(&httpv3.HttpProtocolOptions{
				CommonHttpProtocolOptions: requestsPerConnection(perConnection),
				UpstreamProtocolOptions:   &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: protocol},
			}),
		},
	}
}

// staticCluster is an HTTP/2 cluster whose endpoints never change.
func (r *renderer) staticCluster(name string, endpoints ...netip.AddrPort) *clusterv3.Cluster {
	c := r.cluster(name, true, 0)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = loadAssignment(name, endpoints)
	return c
}

// requestsPerConnection is nil for 0, any number.
func requestsPerConnection(n uint32) *corev3.HttpProtocolOptions {
	if n == 0 {
		return nil
	}
	return &corev3.HttpProtocolOptions{MaxRequestsPerConnection: wrapperspb.UInt32(n)}
}

func (r *renderer) edsCluster(name string, http2 bool, perConnection uint32) *clusterv3.Cluster {
	c := r.cluster(name, http2, perConnection)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: adsSource()}
	c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	return c
}

// backendCluster is the cluster of a Service, or of a pool, which goes to the
// endpoint that its picker named and records which one served.
func (r *renderer) backendCluster(b translate.Backend) *clusterv3.Cluster {
	c := r.edsCluster(clusterName(b), b.HTTP2, b.Traffic.RequestsPerConnection)
	r.limit(c, b)
	if b.Picker == nil {
		return c
	}
	c.LbPolicy = clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG
	fallback := lbPolicy("envoy.load_balancing_policies.least_request", r.pack(&leastv3.LeastRequest{}))
	c.LoadBalancingPolicy = lbPolicy("envoy.load_balancing_policies.override_host", r.pack(&overridev3.OverrideHost{
		OverrideHostSources: []*overridev3.OverrideHost_OverrideHostSource{{Metadata: endpointKey(header.DestinationEndpoint)}},
		SelectedHostKey:     endpointKey(header.DestinationEndpointServed),
		FallbackPolicy:      fallback,
	}))
	return c
}

func lbPolicy(name string, config *anypb.Any) *clusterv3.LoadBalancingPolicy {
	return &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{{
		TypedExtensionConfig: &corev3.TypedExtensionConfig{Name: name, TypedConfig: config},
	}}}
}

// endpointKey is a key of the metadata namespace that the endpoint picker
// protocol uses.
func endpointKey(key string) *metadatav3.MetadataKey {
	return &metadatav3.MetadataKey{
		Key: header.MetadataNamespace,
		Path: []*metadatav3.MetadataKey_PathSegment{{
			Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: key},
		}},
	}
}

// pickerCluster is always present while its pool is, so that a picker that is
// gone is the filter's failure, and the pool's failure mode decides.
func (r *renderer) pickerCluster(p translate.Picker) *clusterv3.Cluster {
	c := r.edsCluster(pickerClusterName(p), true, 0)
	if p.TLS {
		c.TransportSocket = r.unverifiedTLS()
	}
	return c
}

// unverifiedTLS takes any certificate: ext_proc servers make their own. With files
// they want TLS 1.3, which Envoy does not offer upstreams unasked.
func (r *renderer) unverifiedTLS() *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: r.pack(&tlsv3.UpstreamTlsContext{
			CommonTlsContext: &tlsv3.CommonTlsContext{
				AlpnProtocols: []string{"h2"},
				TlsParams:     &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
			},
		})},
	}
}

func loadAssignment(name string, endpoints []netip.AddrPort) *endpointv3.ClusterLoadAssignment {
	group := &endpointv3.LocalityLbEndpoints{}
	for _, e := range endpoints {
		group.LbEndpoints = append(group.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(e)}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{group}}
}

func socketAddress(a netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       a.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}

func adsSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}
