package extproc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// The tests write a conversation as the gateway's messages and, as one string
// per answer, ours.

type in = *extprocv3.ProcessingRequest

func configured(request, response procv3.ProcessingMode_BodySendMode, m in) in {
	m.ProtocolConfig = &extprocv3.ProtocolConfiguration{RequestBodyMode: request, ResponseBodyMode: response}
	return m
}

func buffered(m in) in {
	return configured(procv3.ProcessingMode_BUFFERED, procv3.ProcessingMode_STREAMED, m)
}

func duplex(m in) in {
	return configured(procv3.ProcessingMode_FULL_DUPLEX_STREAMED, procv3.ProcessingMode_FULL_DUPLEX_STREAMED, m)
}

func mode(mode procv3.ProcessingMode_BodySendMode, m in) in { return configured(mode, mode, m) }

func headers(end bool, pairs ...string) in {
	h := &corev3.HeaderMap{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Headers = append(h.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return in(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: h, EndOfStream: end},
	}})
}

func body(text string, end bool) in {
	return in(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(text), EndOfStream: end},
	}})
}

func trailers() in {
	return in(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{
		RequestTrailers: &extprocv3.HttpTrailers{},
	}})
}

func responseHeaders(end bool) in {
	return in(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{
			Headers:     &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":status", RawValue: []byte("200")}}},
			EndOfStream: end,
		},
	}})
}

func responseBody(text string, end bool) in {
	return in(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(text), EndOfStream: end},
	}})
}

func responseTrailers() in {
	return in(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{
		ResponseTrailers: &extprocv3.HttpTrailers{},
	}})
}

// show writes one answer, for example "headers +a=1 -b" or "piece abc end".
func show(a *extprocv3.ProcessingResponse) string {
	var s string
	switch r := a.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		s = "headers" + showCommon(r.RequestHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_RequestBody:
		s = "body" + showCommon(r.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_RequestTrailers:
		s = "trailers"
		if removed := r.RequestTrailers.GetHeaderMutation().GetRemoveHeaders(); !slices.Equal(removed, header.Owned()) {
			s += fmt.Sprintf(" removing only %q", removed)
		}
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		s = "response headers" + showCommon(r.ResponseHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseBody:
		s = "response body" + showCommon(r.ResponseBody.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		s = "response trailers"
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		s = fmt.Sprintf("immediate %d %s", r.ImmediateResponse.GetStatus().GetCode(), r.ImmediateResponse.GetDetails())
	}
	for namespace, v := range a.GetDynamicMetadata().GetFields() {
		for key, value := range v.GetStructValue().GetFields() {
			s += fmt.Sprintf(" %s/%s=%s", namespace, key, value.GetStringValue())
		}
	}
	return s
}

func showCommon(c *extprocv3.CommonResponse) string {
	var b strings.Builder
	for _, set := range c.GetHeaderMutation().GetSetHeaders() {
		sign := "?" // not an overwrite
		if set.GetAppendAction() == corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			sign = "+"
		}
		fmt.Fprintf(&b, " %s%s=%s", sign, set.GetHeader().GetKey(), set.GetHeader().GetRawValue())
	}
	for _, name := range c.GetHeaderMutation().GetRemoveHeaders() {
		b.WriteString(" -" + name)
	}
	if c.GetClearRouteCache() {
		b.WriteString(" clear")
	}
	if piece := c.GetBodyMutation().GetStreamedResponse(); piece != nil {
		fmt.Fprintf(&b, " %q", abbreviate(string(piece.GetBody())))
		if piece.GetEndOfStream() {
			b.WriteString(" end")
		}
	}
	return b.String()
}

// abbreviate keeps tables readable: 62000 bytes are shown as "62000B".
func abbreviate(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%dB", len(s))
	}
	return s
}

// script is a Processor that does what its fields say and notes what it saw.
type script struct {
	early, final extproc.Decision
	// failAt names the method that returns fail.
	failAt string
	fail   error

	calls []string
	open  *extproc.Request
	got   strings.Builder
	ended []extproc.Outcome
}

func (s *script) err(method string) error {
	if s.failAt == method {
		return s.fail
	}
	return nil
}

func (s *script) Headers(r *extproc.Request) (extproc.Decision, error) {
	s.calls = append(s.calls, "Headers")
	s.open = r
	return s.early, s.err("Headers")
}

func (s *script) Body(b []byte) error {
	s.got.Write(b)
	return s.err("Body")
}

func (s *script) End() (extproc.Decision, error) {
	s.calls = append(s.calls, "End")
	return s.final, s.err("End")
}

func (s *script) ResponseHeaders(r *extproc.Response) {
	s.calls = append(s.calls, fmt.Sprintf("ResponseHeaders %d", r.Status()))
}

func (s *script) ResponseBody(b []byte, end bool) {
	s.calls = append(s.calls, fmt.Sprintf("ResponseBody %s %v", b, end))
}

func (s *script) Close(o extproc.Outcome) { s.ended = append(s.ended, o) }

// converse feeds the messages and returns the answers and the first error.
func converse(c *extproc.Conversation, messages ...in) ([]string, error) {
	var out []string
	for _, m := range messages {
		answers, err := c.Receive(m)
		for _, a := range answers {
			out = append(out, show(a))
		}
		if err != nil {
			return out, err
		}
		c.Sent()
	}
	return out, nil
}

var errPlain = errors.New("decide: no idea")
