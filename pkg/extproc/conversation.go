package extproc

import (
	"errors"
	"net/http"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// phase is how far one half of the exchange, request or response, has come.
type phase int

const (
	unseen phase = iota
	open
	ended
)

// bodyMode is how the gateway sends one half's body. A gateway that does not say
// is taken for full duplex: it is the only mode in which holding the headers
// until the body was seen cannot be wrong.
type bodyMode struct {
	send     procv3.ProcessingMode_BodySendMode
	declared bool
}

func (m bodyMode) fullDuplex() bool { return m.send == procv3.ProcessingMode_FULL_DUPLEX_STREAMED }
func (m bodyMode) streamed() bool   { return m.send == procv3.ProcessingMode_STREAMED }
func (m bodyMode) none() bool       { return m.send == procv3.ProcessingMode_NONE }
func (m bodyMode) grpc() bool       { return m.send == procv3.ProcessingMode_GRPC }

// whole says that the body comes in one message.
func (m bodyMode) whole() bool {
	return m.send == procv3.ProcessingMode_BUFFERED || m.send == procv3.ProcessingMode_BUFFERED_PARTIAL
}

// complete says that the whole body is seen before any of it goes on.
func (m bodyMode) complete() bool {
	return m.fullDuplex() || m.send == procv3.ProcessingMode_BUFFERED
}

// Conversation is one stream's protocol state: it takes the gateway's messages
// one by one and returns ours. It does no I/O, and one goroutine at a time may
// use it.
type Conversation struct {
	processor Processor
	maxBody   int64
	budget    *Budget

	configured        bool
	requestMode       bodyMode
	responseMode      bodyMode
	request, response phase
	passing           bool // the request was decided at its headers
	requestTrailers   bool
	responseTrailers  bool

	body     heldBody
	received int64 // request body bytes seen
	reserved int64 // bytes taken from budget

	out      []*answer
	reject   *Reject
	closed   bool
	observed bool
}

// NewConversation returns the conversation of a new stream. maxBody, in bytes,
// bounds its request body; budget bounds those of all streams.
func NewConversation(p Processor, maxBody int64, budget *Budget) *Conversation {
	return &Conversation{processor: p, maxBody: maxBody, budget: budget}
}

// Receive takes the next message and returns the answers to send, in order. They
// are valid until the next call; call Sent when they have left. An error carries
// the gRPC status that ends the stream.
func (c *Conversation) Receive(m *extprocv3.ProcessingRequest) ([]*extprocv3.ProcessingResponse, error) {
	c.out = c.out[:0]
	if c.Done() {
		return nil, nil
	}
	c.configure(m)
	if err := c.dispatch(m); err != nil {
		return c.refuse(err)
	}
	if c.observed {
		return nil, nil
	}
	return c.out, nil
}

// configure reads what the gateway says once, in its first message.
func (c *Conversation) configure(m *message) {
	if c.configured {
		return
	}
	c.configured, c.observed = true, m.GetObservabilityMode()
	c.requestMode = bodyMode{procv3.ProcessingMode_FULL_DUPLEX_STREAMED, false}
	c.responseMode = c.requestMode
	if config := m.GetProtocolConfig(); config != nil {
		c.requestMode = bodyMode{config.GetRequestBodyMode(), true}
		c.responseMode = bodyMode{config.GetResponseBodyMode(), true}
	}
}

// dispatch ignores messages it does not know, as the protocol asks: later
// gateways send more kinds.
func (c *Conversation) dispatch(m *message) error {
	if c.requestMode.grpc() || c.responseMode.grpc() {
		return status.Error(codes.Unimplemented, "body mode GRPC is not supported")
	}
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return c.requestHeaders(m, r.RequestHeaders)
	case *extprocv3.ProcessingRequest_RequestBody:
		return c.requestBody(r.RequestBody)
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return c.trailers()
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return c.responseHeaders(m, r.ResponseHeaders)
	case *extprocv3.ProcessingRequest_ResponseBody:
		c.responseBody(r.ResponseBody)
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		c.endResponse()
		if !c.responseTrailers {
			c.responseTrailers = true
			c.say(responseTrailersAnswer())
		}
	}
	return nil
}

func (c *Conversation) requestHeaders(m *message, h *extprocv3.HttpHeaders) error {
	if c.request != unseen {
		return status.Error(codes.InvalidArgument, "second request headers message in one stream")
	}
	c.request = open
	r := NewRequest(h.GetHeaders(), m.GetMetadataContext())
	r.EndOfStream = h.GetEndOfStream() || c.requestMode.none()
	r.AnswerNow = !r.EndOfStream && !c.requestMode.fullDuplex()
	r.CanSplice = !r.EndOfStream && c.requestMode.complete()
	d, err := c.processor.Headers(r)
	switch {
	case err != nil:
		return err
	case d.Final:
		c.passing = true
		if r.EndOfStream {
			c.request = ended
		}
	case r.EndOfStream:
		if d, err = c.endRequest(); err != nil {
			return err
		}
	default:
		if err := c.reserve(r); err != nil {
			return err
		}
	}
	if c.passing || r.EndOfStream || r.AnswerNow {
		c.say(headersAnswer(d))
	}
	return nil
}

func (c *Conversation) requestBody(b *extprocv3.HttpBody) error {
	switch c.request {
	case unseen:
		return status.Error(codes.InvalidArgument, "request body message before the request headers")
	case ended: // Envoy can send the last chunk twice (envoyproxy/envoy#46237)
		return nil
	}
	full := c.requestMode.fullDuplex()
	last := b.GetEndOfStream() || c.requestMode.whole()
	if c.passing {
		c.pass(b.GetBody(), last)
		return nil
	}
	if err := c.take(b.GetBody()); err != nil {
		return err
	}
	if full {
		c.body.add(b.GetBody())
	}
	var d Decision
	if last {
		var err error
		if d, err = c.endRequest(); err != nil {
			return err
		}
	}
	switch {
	case full && last:
		c.release(d, true)
	case full: // held
	case c.requestMode.whole():
		c.say(splicedAnswer(d, b.GetBody()))
	default: // STREAMED: the headers are gone
		c.say(bodyAnswer(Decision{Metadata: d.Metadata}))
	}
	return nil
}

// pass lets a slice go on at once.
func (c *Conversation) pass(slice []byte, last bool) {
	if last {
		c.request = ended
	}
	switch {
	case !c.requestMode.fullDuplex():
		c.say(bodyAnswer(Decision{}))
	case len(slice) > 0 || last:
		split(slice, func(piece []byte, end bool) { c.say(pieceAnswer(piece, end && last)) })
	}
}

// trailers end the request body, and are answered once.
func (c *Conversation) trailers() error {
	if c.request == unseen {
		return status.Error(codes.InvalidArgument, "request trailers message before the request headers")
	}
	if c.requestTrailers {
		return nil
	}
	c.requestTrailers = true
	var d Decision
	if c.passing {
		c.request = ended
	}
	if c.request == open {
		var err error
		if d, err = c.endRequest(); err != nil {
			return err
		}
		if c.requestMode.fullDuplex() {
			c.release(d, false)
			d = Decision{}
		}
	}
	c.say(trailersAnswer(d))
	return nil
}

// release sends a held request: the headers, then the body. end marks the last
// piece, unless trailers follow.
func (c *Conversation) release(d Decision, end bool) {
	c.body.splice(d.Splice)
	c.say(headersAnswer(d.sized(c.requestMode, 0)))
	if end && len(c.body.slices) == 0 {
		c.say(pieceAnswer(nil, true))
	}
	c.body.pieces(func(piece []byte, last bool) { c.say(pieceAnswer(piece, last && end)) })
}

func (c *Conversation) responseHeaders(m *message, h *extprocv3.HttpHeaders) error {
	if c.response != unseen {
		return status.Error(codes.InvalidArgument, "response headers message after the response began")
	}
	c.response = open
	r := NewResponse(h.GetHeaders(), m.GetMetadataContext())
	r.EndOfStream, r.Unseen = h.GetEndOfStream(), c.responseMode.none()
	c.processor.ResponseHeaders(r)
	if r.EndOfStream {
		c.endResponse()
	}
	c.say(responseHeadersAnswer())
	return nil
}

// responseBody never changes anything: in full duplex the bytes go back as they
// came, elsewhere the gateway has kept them.
func (c *Conversation) responseBody(b *extprocv3.HttpBody) {
	if c.response == ended {
		return
	}
	c.response = open
	end := b.GetEndOfStream() || c.responseMode.whole()
	if end {
		c.response = ended
	}
	c.processor.ResponseBody(b.GetBody(), end)
	if !c.responseMode.fullDuplex() {
		c.say(responseBodyAnswer())
		return
	}
	if len(b.GetBody()) == 0 && !end {
		return
	}
	split(b.GetBody(), func(piece []byte, last bool) { c.say(responsePieceAnswer(piece, last && end)) })
}

func (c *Conversation) endResponse() {
	if c.response != ended {
		c.response = ended
		c.processor.ResponseBody(nil, true)
	}
}

func (c *Conversation) endRequest() (Decision, error) {
	c.request = ended
	return c.processor.End()
}

// refuse turns a *Reject into an immediate response and passes other errors on.
func (c *Conversation) refuse(err error) ([]*answer, error) {
	if !errors.As(err, &c.reject) {
		return nil, err
	}
	if c.observed {
		return nil, nil
	}
	c.out = append(c.out[:0], immediateAnswer(c.reject))
	return c.out, nil
}

func (c *Conversation) say(a *answer) { c.out = append(c.out, a) }

// Expire answers a request body that did not arrive in time.
func (c *Conversation) Expire() []*extprocv3.ProcessingResponse {
	out, _ := c.refuse(&Reject{
		Status: http.StatusRequestTimeout, Reason: "body_timeout",
		Message: "the request body did not arrive in time",
	})
	return out
}

// Sent says that the answers last returned have left. Once the request is over
// it gives the body's memory back.
func (c *Conversation) Sent() {
	clear(c.out)
	if c.request == ended || c.reject != nil {
		c.body = heldBody{}
		c.budget.Release(c.reserved)
		c.reserved = 0
	}
}

// Done reports that the client was answered by us: the stream is over.
func (c *Conversation) Done() bool { return c.reject != nil }

// Awaiting reports that the rest of a request is to come, and whether the
// gateway sends it piece by piece as the client does.
func (c *Conversation) Awaiting() (request, pieces bool) {
	return c.request != ended && c.response == unseen && !c.passing, c.requestMode.fullDuplex() || !c.configured
}

// Closable reports that closing the stream with OK changes nothing for the
// client: the request was answered in full, and no body is in our hands.
func (c *Conversation) Closable() bool {
	switch {
	case c.request != ended && c.response == unseen:
		return false // the gateway would let it pass undecided
	case c.request == open && c.requestMode.fullDuplex():
		return false
	case !c.responseMode.fullDuplex():
		return true
	case c.response == unseen:
		return !c.responseMode.declared
	default:
		return c.response == ended
	}
}

// Close ends the conversation; only the first call counts. ending is corrected
// to Rejected or Aborted where the conversation knows better.
func (c *Conversation) Close(ending Ending) {
	if c.closed {
		return
	}
	c.closed = true
	c.budget.Release(c.reserved)
	c.reserved, c.body, c.out = 0, heldBody{}, nil
	switch {
	case c.reject != nil:
		ending = Rejected
	case ending == Finished && c.request != ended && c.response == unseen:
		ending = Aborted
	}
	c.processor.Close(Outcome{Ending: ending, Reject: c.reject})
}
