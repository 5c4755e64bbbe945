package extproc

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Processor decides about one HTTP request. The server makes one per stream and
// never calls two of its methods at once.
//
// The calls come in this order: Headers, Body (any number), End, and, mixed with
// those when a response starts early, ResponseHeaders and ResponseBody. Any of
// them may be missing when the stream ends early; Close always comes last.
//
// A *Reject error answers the client; any other error ends the stream with a
// gRPC error, which the gateway treats by its failure mode.
type Processor interface {
	// Headers sees the request headers. Its Decision is sent only when
	// Request.AnswerNow or Decision.Final says so, and must then be usable by
	// itself: the gateway may never show the body.
	Headers(*Request) (Decision, error)
	// Body sees the next bytes of the request body. They are borrowed: valid,
	// and unchanged, until it returns.
	Body([]byte) error
	// End says that the request is known in full. Its Decision replaces that of
	// Headers, so it repeats what still holds. It is called at most once.
	End() (Decision, error)
	// ResponseHeaders sees the response headers, where the gateway sends them.
	ResponseHeaders(*Response)
	// ResponseBody sees the next bytes of the response body, borrowed. With end
	// the response is over; that is said once, with no bytes where headers or
	// trailers ended it.
	ResponseBody(slice []byte, end bool)
	// Close is the last call, whatever happened.
	Close(Outcome)
}

// Header is one header to set.
type Header struct{ Name, Value string }

// Metadatum is one dynamic metadata value for the filters that follow.
type Metadatum struct{ Namespace, Key, Value string }

// Decision is what a Processor wants done to the request. The zero Decision
// lets it pass as it is.
type Decision struct {
	// Set overwrites each header, whatever the client sent under that name.
	Set []Header
	// Remove takes headers away. A header in Set need not be listed.
	Remove []string
	// Metadata is added to the stream's dynamic metadata.
	Metadata []Metadatum
	// ClearRouteCache makes the gateway match the route again.
	ClearRouteCache bool
	// Splice, from End, replaces part of the body; only where Request.CanSplice.
	Splice *Splice
	// Final, from Headers, says that the body does not matter: the headers are
	// answered at once in every mode, the body passes as it comes, and neither
	// Body nor End follows. Upgrades need it: their body never ends.
	Final bool
}

// Request is the start of a request. It is valid until Headers returns.
type Request struct {
	fields
	// EndOfStream says that no body will be shown.
	EndOfStream bool
	// AnswerNow says that the Decision of Headers is sent before the body is
	// seen. Otherwise it is ignored and End follows.
	AnswerNow bool
	// CanSplice says that the body is shown whole before it goes on, so that
	// Decision.Splice can change it.
	CanSplice bool
}

// NewRequest returns a Request as a Conversation would make it, for the tests of
// Processors. Either argument may be nil.
func NewRequest(headers *corev3.HeaderMap, metadata *corev3.Metadata) *Request {
	return &Request{fields: fields{headers, metadata}}
}

// Response is the start of a response. It is valid until ResponseHeaders returns.
type Response struct {
	fields
	// EndOfStream says that the response has no body.
	EndOfStream bool
	// Unseen says that the gateway shows nothing of the body, nor its end.
	Unseen bool
}

// NewResponse is to Response what NewRequest is to Request.
func NewResponse(headers *corev3.HeaderMap, metadata *corev3.Metadata) *Response {
	return &Response{fields: fields{headers, metadata}}
}

// Status returns the response's status code, 0 when there is none.
func (r *Response) Status() int {
	value, _ := r.Header(":status")
	if len(value) != 3 {
		return 0
	}
	code := 0
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' {
			return 0
		}
		code = code*10 + int(digit-'0')
	}
	return code
}

// fields looks things up in a headers message; both maps may be nil.
type fields struct {
	headers  *corev3.HeaderMap
	metadata *corev3.Metadata
}

// Header returns the value of the named header. ok is false when the header is
// absent or repeated: a repeated header has no value that two readers agree on.
func (f fields) Header(name string) (value string, ok bool) {
	for _, h := range f.headers.GetHeaders() {
		if !strings.EqualFold(h.GetKey(), name) {
			continue
		}
		if ok {
			return "", false
		}
		value, ok = headerValue(h), true
	}
	return value, ok
}

// Count returns how often the named header occurs.
func (f fields) Count(name string) int {
	n := 0
	for _, h := range f.headers.GetHeaders() {
		if strings.EqualFold(h.GetKey(), name) {
			n++
		}
	}
	return n
}

// Metadata returns a value of the gateway's metadata, nil when it sent none.
func (f fields) Metadata(namespace, key string) *structpb.Value {
	return f.metadata.GetFilterMetadata()[namespace].GetFields()[key]
}

// headerValue prefers raw_value, in which gateways send what is not UTF-8.
func headerValue(h *corev3.HeaderValue) string {
	if raw := h.GetRawValue(); len(raw) > 0 {
		return string(raw)
	}
	return h.GetValue()
}

// Ending says how a stream ended.
type Ending int

// The endings of a stream.
const (
	// Finished: the request was answered and the gateway ended the stream.
	Finished Ending = iota
	// Rejected: the client was answered by us, see Outcome.Reject.
	Rejected
	// Drained: we closed the stream on shutdown; the request goes on unwatched.
	Drained
	// Aborted: the gateway went away, or broke the protocol, before the request
	// was answered.
	Aborted
)

// String returns the ending as a metric label.
func (e Ending) String() string {
	switch e {
	case Finished:
		return "finished"
	case Rejected:
		return "rejected"
	case Drained:
		return "drained"
	default:
		return "aborted"
	}
}

// Outcome is how a stream ended, and with which answer if that was ours.
type Outcome struct {
	Ending Ending
	// Reject is set when Ending is Rejected.
	Reject *Reject
}
