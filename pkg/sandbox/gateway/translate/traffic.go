package translate

import "time"

// Traffic bounds what a backend is given, from a BackendTrafficPolicy. Zero
// values leave the sandbox's own defaults.
type Traffic struct {
	ConnectTimeout        time.Duration
	Breaker               Breaker
	RequestsPerConnection uint32
	// Ejection takes failing endpoints out of the fallback's choice; an
	// endpoint that a picker named is used even so.
	Ejection *Ejection
}

// Breaker refuses, with 503, what is above any of these; nil is no limit.
type Breaker struct {
	Connections            *uint32
	Pending                *uint32
	Requests               *uint32
	Retries                *uint32
	ConnectionsPerEndpoint *uint32
}

// Ejection is Envoy's outlier detection; nil and 0 are Envoy's defaults.
type Ejection struct {
	Consecutive5xx         *uint32
	ConsecutiveGateway     *uint32
	ConsecutiveLocalOrigin *uint32
	SplitLocalOrigin       bool
	Interval               time.Duration
	BaseEjectionTime       time.Duration
	MaxEjectionPercent     *uint32
}
