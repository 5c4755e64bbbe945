package translate

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// IR is the whole data plane, sorted, so that equal inputs give equal values.
type IR struct {
	Listeners []Listener
	// Backends holds every pool and Service that some route names, by Name.
	Backends []Backend
}

// Listener is one address and port of a Gateway. Everything but Hosts changes
// only with the Gateway itself.
type Listener struct {
	// Name is "namespace/gateway/served port".
	Name    string
	Address netip.AddrPort
	// Hosts are sorted by Domain.
	Hosts []VirtualHost
}

// VirtualHost holds the routes of one hostname in the order Envoy tries them.
type VirtualHost struct {
	// Domain is a host name, "*.suffix" or "*".
	Domain string
	Routes []Route
}

// Route is one match of one HTTPRoute rule.
type Route struct {
	// Name is "namespace/name/rule index/match index".
	Name  string
	Match Match
	// Members share the requests by weight. Without a member of positive
	// weight the route answers 500.
	Members         []Member
	RequestHeaders  HeaderEdits
	ResponseHeaders HeaderEdits
	// Timeout bounds the whole answer, BackendTimeout one attempt; 0 is none.
	Timeout        time.Duration
	BackendTimeout time.Duration
}

// Member is one backendRef of a rule.
type Member struct {
	Weight uint32
	// Ref is the "namespace/name" that the backendRef names.
	Ref string
	// Backend is the Name of an IR.Backends entry; empty for a reference that
	// cannot be used, whose share of requests answers 500.
	Backend         string
	RequestHeaders  HeaderEdits
	ResponseHeaders HeaderEdits
}

// PathKind says how a path is compared.
type PathKind int

// The path kinds, in order of precedence.
const (
	PathExact PathKind = iota
	PathRegex
	PathPrefix
)

// Match is what a request must look like.
type Match struct {
	PathKind PathKind
	// Path is compared by PathKind; a prefix matches whole path segments.
	Path    string
	Method  string
	Headers []ValueMatch
	Query   []ValueMatch
}

// ValueMatch compares one header or query parameter.
type ValueMatch struct {
	Name  string
	Value string
	Regex bool
}

// HeaderEdits are applied in the order remove, set, add.
type HeaderEdits struct {
	Set    []Header
	Add    []Header
	Remove []string
}

// Header is one header field.
type Header struct{ Name, Value string }

// Backend is a set of endpoints that one name stands for.
type Backend struct {
	// Name is "pool/namespace/name" or "service/namespace/name/port".
	Name  string
	Owner types.NamespacedName
	// Endpoints are the ready Pods' addresses, sorted.
	Endpoints []netip.AddrPort
	// HTTP2 is set for appProtocol kubernetes.io/h2c.
	HTTP2 bool
	// Picker chooses the endpoint; nil for a Service.
	Picker *Picker
}

// Picker is the endpoint picker of one InferencePool.
type Picker struct {
	// Name is "picker/namespace/pool".
	Name string
	// Authority is "service.namespace.svc:port".
	Authority string
	// Endpoints are the picker's ready Pods; none when its Service is missing.
	Endpoints []netip.AddrPort
	// FailOpen lets requests through to any endpoint when no picker answers.
	FailOpen bool
	TLS      bool
}
