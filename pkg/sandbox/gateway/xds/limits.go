package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// mirrorLimit is how many copies may be under way to one shadow at a time.
const mirrorLimit = 64

// clusterName is a backend's name and its shape. A cluster is never changed in
// place: Envoy 1.40 then waits 15 s for endpoints that delta xDS does not send
// again, and it would drop the connections under running streams.
func clusterName(b translate.Backend) string {
	name := b.Name
	if b.HTTP2 {
		name += "+h2"
	}
	if shape, err := json.Marshal(b.Traffic); err == nil && b.Traffic != (translate.Traffic{}) {
		sum := sha256.Sum256(shape)
		name += "+" + hex.EncodeToString(sum[:4])
	}
	return name
}

func pickerClusterName(p translate.Picker) string {
	if p.TLS {
		return p.Name + "+tls"
	}
	return p.Name
}

// limit gives a cluster what its backend's policy says, and a mirror little.
func (r *renderer) limit(c *clusterv3.Cluster, b translate.Backend) {
	t, thresholds := b.Traffic, c.CircuitBreakers.Thresholds[0]
	if b.Mirror {
		few := wrapperspb.UInt32(mirrorLimit)
		thresholds.MaxConnections, thresholds.MaxPendingRequests, thresholds.MaxRequests = few, few, few
	}
	for _, set := range []struct {
		from *uint32
		to   **wrapperspb.UInt32Value
	}{
		{t.Breaker.Connections, &thresholds.MaxConnections},
		{t.Breaker.Pending, &thresholds.MaxPendingRequests},
		{t.Breaker.Requests, &thresholds.MaxRequests},
		{t.Breaker.Retries, &thresholds.MaxRetries},
	} {
		if set.from != nil {
			*set.to = wrapperspb.UInt32(*set.from)
		}
	}
	if n := t.Breaker.ConnectionsPerEndpoint; n != nil {
		c.CircuitBreakers.PerHostThresholds = []*clusterv3.CircuitBreakers_Thresholds{{MaxConnections: wrapperspb.UInt32(*n)}}
	}
	if t.ConnectTimeout > 0 {
		c.ConnectTimeout = durationpb.New(t.ConnectTimeout)
	}
	c.OutlierDetection = outlierDetection(t.Ejection)
}

func outlierDetection(e *translate.Ejection) *clusterv3.OutlierDetection {
	if e == nil {
		return nil
	}
	number := func(n *uint32) *wrapperspb.UInt32Value {
		if n == nil {
			return nil
		}
		return wrapperspb.UInt32(*n)
	}
	span := func(d time.Duration) *durationpb.Duration {
		if d == 0 {
			return nil
		}
		return durationpb.New(d)
	}
	out := &clusterv3.OutlierDetection{
		Consecutive_5Xx: number(e.Consecutive5xx), ConsecutiveGatewayFailure: number(e.ConsecutiveGateway),
		ConsecutiveLocalOriginFailure: number(e.ConsecutiveLocalOrigin), SplitExternalLocalOriginErrors: e.SplitLocalOrigin,
		Interval: span(e.Interval), BaseEjectionTime: span(e.BaseEjectionTime), MaxEjectionPercent: number(e.MaxEjectionPercent),
	}
	if e.ConsecutiveGateway != nil { // Envoy only counts them unless told to eject
		out.EnforcingConsecutiveGatewayFailure = wrapperspb.UInt32(100)
	}
	return out
}
