package translate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// clientPolicy is the served part of a ClientTrafficPolicy.
type clientPolicy struct {
	bufferLimit uint32 // bytes; 0 is the default
}

func clientFields() fields {
	return fields{"targetRef": {}, "targetRefs": {}, "connection": {"bufferLimit": {}}}
}

func readClientPolicy(spec map[string]any) (clientPolicy, error) {
	var s struct {
		Connection struct{ BufferLimit *resource.Quantity }
	}
	if err := decode(spec, &s); err != nil || s.Connection.BufferLimit == nil {
		return clientPolicy{}, err
	}
	n := s.Connection.BufferLimit.Value()
	if n < 1 || n > math.MaxUint32 {
		return clientPolicy{}, fmt.Errorf("connection.bufferLimit: want 1 byte to 4Gi, not %s", s.Connection.BufferLimit)
	}
	return clientPolicy{bufferLimit: uint32(n)}, nil
}

// backendPolicy is the served part of a BackendTrafficPolicy.
type backendPolicy struct {
	requestTimeout time.Duration
	retry          *Retry
	perTry         time.Duration
	traffic        Traffic
	ownBackend     bool // traffic says something
}

func backendFields() fields {
	return fields{
		"targetRef": {}, "targetRefs": {},
		"timeout": {"http": {"requestTimeout": {}}, "tcp": {"connectTimeout": {}}},
		"retry": {
			"numRetries": {}, "retryOn": {"triggers": {}, "httpStatusCodes": {}},
			"perRetry": {"timeout": {}, "backOff": {"baseInterval": {}}},
		},
		"circuitBreaker": {
			"maxConnections": {}, "maxPendingRequests": {}, "maxParallelRequests": {}, "maxParallelRetries": {},
			"maxRequestsPerConnection": {}, "perEndpoint": {"maxConnections": {}},
		},
		"healthCheck": {"passive": {
			"consecutive5XxErrors": {}, "consecutiveGatewayErrors": {}, "consecutiveLocalOriginFailures": {},
			"splitExternalLocalOriginErrors": {}, "interval": {}, "baseEjectionTime": {}, "maxEjectionPercent": {},
		}},
	}
}

// span is a duration as Envoy Gateway writes it, such as "30s"; 0 is absent.
type span time.Duration

func (s *span) UnmarshalJSON(body []byte) error {
	var text string
	if err := json.Unmarshal(body, &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("duration %s is negative", text)
	}
	*s = span(d)
	return err
}

type backendSpec struct {
	Timeout struct {
		HTTP struct{ RequestTimeout span }
		TCP  struct{ ConnectTimeout span }
	}
	Retry *struct {
		NumRetries *uint32
		RetryOn    struct {
			Triggers        []string
			HTTPStatusCodes []uint32
		}
		PerRetry struct {
			Timeout span
			BackOff struct{ BaseInterval span }
		}
	}
	CircuitBreaker *struct {
		MaxConnections, MaxPendingRequests, MaxParallelRequests, MaxParallelRetries, MaxRequestsPerConnection *uint32

		PerEndpoint struct{ MaxConnections *uint32 }
	}
	HealthCheck struct {
		Passive *struct {
			Consecutive5XxErrors, ConsecutiveGatewayErrors, ConsecutiveLocalOriginFailures, MaxEjectionPercent *uint32

			SplitExternalLocalOriginErrors bool
			Interval, BaseEjectionTime     span
		}
	}
}

func readBackendPolicy(spec map[string]any) (backendPolicy, error) {
	var s backendSpec
	if err := decode(spec, &s); err != nil {
		return backendPolicy{}, err
	}
	p := backendPolicy{requestTimeout: time.Duration(s.Timeout.HTTP.RequestTimeout)}
	p.traffic.ConnectTimeout = time.Duration(s.Timeout.TCP.ConnectTimeout)
	if r := s.Retry; r != nil {
		p.retry = &Retry{
			Attempts: 2, Codes: r.RetryOn.HTTPStatusCodes, On: r.RetryOn.Triggers,
			Backoff: time.Duration(r.PerRetry.BackOff.BaseInterval),
		}
		if r.NumRetries != nil {
			p.retry.Attempts = *r.NumRetries
		}
		p.perTry = time.Duration(r.PerRetry.Timeout)
	}
	if b := s.CircuitBreaker; b != nil {
		p.traffic.Breaker = Breaker{
			Connections: b.MaxConnections, Pending: b.MaxPendingRequests, Requests: b.MaxParallelRequests,
			Retries: b.MaxParallelRetries, ConnectionsPerEndpoint: b.PerEndpoint.MaxConnections,
		}
		if b.MaxRequestsPerConnection != nil {
			p.traffic.RequestsPerConnection = *b.MaxRequestsPerConnection
		}
	}
	if h := s.HealthCheck.Passive; h != nil {
		p.traffic.Ejection = &Ejection{
			Consecutive5xx: h.Consecutive5XxErrors, ConsecutiveGateway: h.ConsecutiveGatewayErrors,
			ConsecutiveLocalOrigin: h.ConsecutiveLocalOriginFailures, SplitLocalOrigin: h.SplitExternalLocalOriginErrors,
			Interval: time.Duration(h.Interval), BaseEjectionTime: time.Duration(h.BaseEjectionTime),
			MaxEjectionPercent: h.MaxEjectionPercent,
		}
	}
	p.ownBackend = p.traffic != Traffic{}
	return p, nil
}

func decode(spec map[string]any, into any) error {
	body, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// applyTimeout and applyRetry give a route what it does not say itself.
func (p *policy) applyTimeout(r *Route) {
	if p != nil {
		r.Timeout = p.backend.requestTimeout
	}
}

func (p *policy) applyRetry(r *Route) {
	if p != nil && r.Retry == nil {
		r.Retry = p.backend.retry
		r.BackendTimeout = cmp.Or(r.BackendTimeout, p.backend.perTry)
	}
}

// shape gives a backend that is used under a policy limits of its own.
func (p *policy) shape(b Backend, route string) Backend {
	if p != nil && p.backend.ownBackend {
		b.Name += "@" + p.key.String() + "/" + route
		b.Traffic = p.backend.traffic
	}
	return b
}
