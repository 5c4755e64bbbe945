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
	// BufferLimit is the largest request body in bytes; 0 is the default.
	BufferLimit uint32
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
	// Redirect answers instead of any member.
	Redirect *Redirect
	Rewrite  Rewrite
	Mirrors  []Mirror
	Retry    *Retry
	// Timeout bounds the whole answer, BackendTimeout one attempt; 0 is none.
	Timeout        time.Duration
	BackendTimeout time.Duration
}

// PathEdit is a new path, or one in place of the prefix that was matched.
type PathEdit struct {
	Kind PathEditKind
	Path string
}

// PathEditKind says what a PathEdit replaces.
type PathEditKind int

// The kinds of PathEdit.
const (
	KeepPath PathEditKind = iota
	ReplaceFullPath
	ReplacePrefix
)

// Redirect answers with another location; empty fields are the request's.
type Redirect struct {
	Scheme string
	Host   string
	// Port is never 0 once the route is attached to a listener.
	Port int32
	Path PathEdit
	// Code is 301, 302, 303, 307 or 308.
	Code int
}

// Rewrite changes what the backend sees.
type Rewrite struct {
	Host string
	Path PathEdit
}

// Mirror sends a copy of Numerator of every Million requests to a Backend and
// drops its answer.
type Mirror struct {
	Backend   string
	Numerator uint32
}

// Million is the whole of a Mirror.
const Million = 1_000_000

// Retry tries another endpoint after a failure to connect or one of Codes,
// before the first byte of an answer.
type Retry struct {
	Attempts uint32
	Codes    []uint32
	// Backoff is the shortest wait between attempts; 0 is Envoy's 25 ms.
	Backoff time.Duration
	// On is Envoy's x-envoy-retry-on words; empty stands for failed connections
	// and Codes.
	On []string
}

// Member is one backendRef of a rule.
type Member struct {
	Weight uint32
	// Ref is the "namespace/name" that the backendRef names.
	Ref string
	// Backend is the Name of an IR.Backends entry; empty for a reference that
	// cannot be used, whose share of requests answers 500.
	Backend string
	// Picker names the backend whose picker is asked; empty is none.
	Picker          string
	RequestHeaders  HeaderEdits
	ResponseHeaders HeaderEdits
	// Host is what the backend sees instead of the client's, if not empty.
	Host string
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
	// Name is "pool/namespace/name", "pool-v1alpha2/…" or
	// "service/namespace/name/port"; of a mirror's backend, "mirror/" and that.
	Name  string
	Owner types.NamespacedName
	// Endpoints are the ready Pods' addresses, sorted.
	Endpoints []netip.AddrPort
	// HTTP2 is set for appProtocol kubernetes.io/h2c.
	HTTP2 bool
	// Picker chooses the endpoint; nil for a Service and for mirrors.
	Picker *Picker
	// Mirror marks copies only: they get few connections, so that a slow
	// shadow cannot take what requests need.
	Mirror  bool
	Traffic Traffic
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
