package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// chunk is the size in bytes of the pieces in which Envoy shows an HTTP/1.1 body:
// what it reads from a socket at once.
const chunk = 16 << 10

// mode is how the gateway sends request bodies.
type mode string

const (
	fullDuplex mode = "full duplex"
	buffered   mode = "BUFFERED"
)

// step is a part of a request's conversation: messages sent without waiting, then
// answers awaited: a number of them, or as many as echo size bytes of body.
type step struct {
	send    [][]byte
	answers int
	echo    int // -1: no body comes back
}

// script is one request's conversation, encoded beforehand so that the driver
// leaves the cores to the server.
type script []step

// request returns what Envoy 1.40 says about one HTTP/1.1 request.
func request(m mode, body []byte) (script, error) {
	e := &encoder{}
	head := e.encode(requestHeaders(m, len(body)))
	if m == buffered {
		return script{
			{send: [][]byte{head}, answers: 1, echo: -1},
			{send: [][]byte{e.encode(bodyMessage(body, true))}, answers: 1, echo: -1},
		}, e.err
	}
	all := step{send: [][]byte{head}, echo: len(body)}
	for rest := body; len(rest) > 0; {
		n := min(len(rest), chunk)
		all.send = append(all.send, e.encode(bodyMessage(rest[:n], false)))
		rest = rest[n:]
	}
	// Envoy learns of the end of an HTTP/1.1 body apart from its last byte.
	all.send = append(all.send, e.encode(bodyMessage(nil, true)))
	return script{all}, e.err
}

// response returns what Envoy says about a streamed answer in chunks pieces.
func response(chunks int) (script, error) {
	e := &encoder{}
	s := script{{answers: 1, echo: -1, send: [][]byte{e.encode(&extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{
			Headers: headerMap(":status", "200", "content-type", "text/event-stream", "x-envoy-upstream-service-time", "41"),
		}},
	})}}}
	for i := range chunks {
		s = append(s, step{answers: 1, echo: -1, send: [][]byte{e.encode(&extprocv3.ProcessingRequest{
			Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{
				Body:        []byte(`data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":" fox"}],"model":"qwen"}` + "\n\n"),
				EndOfStream: i == chunks-1,
			}},
		})}})
	}
	return s, e.err
}

func requestHeaders(m mode, length int) *extprocv3.ProcessingRequest {
	config := &extprocv3.ProtocolConfiguration{
		RequestBodyMode: procv3.ProcessingMode_FULL_DUPLEX_STREAMED, SendBodyWithoutWaitingForHeaderResponse: false,
	}
	if m == buffered {
		config.RequestBodyMode = procv3.ProcessingMode_BUFFERED
	}
	config.ResponseBodyMode = procv3.ProcessingMode_STREAMED
	return &extprocv3.ProcessingRequest{
		ProtocolConfig: config,
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: headerMap(
			":authority", "inference.example.com", ":path", "/v1/chat/completions", ":method", "POST", ":scheme", "http",
			"user-agent", "openai-python/2.4.0", "accept", "application/json", "content-type", "application/json",
			"content-length", strconv.Itoa(length), "authorization", "Bearer sk-0123456789abcdef0123456789abcdef",
			"x-forwarded-for", "10.1.2.3", "x-forwarded-proto", "http", "x-request-id", "4f1c8c1e-9a55-4b0e-8f0f-1d3b6f2a7c10",
			"x-gateway-model-name", model, // what the body router set: the picker reads it
		)}},
	}
}

func headerMap(pairs ...string) *corev3.HeaderMap {
	out := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		out.Headers = append(out.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return out
}

func bodyMessage(slice []byte, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: slice, EndOfStream: end},
	}}
}

// encoder keeps the first error.
type encoder struct{ err error }

func (e *encoder) encode(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	e.err = errors.Join(e.err, err)
	return b
}

// wire sends encoded messages as they are and decodes answers.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("send %T: not an encoded message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (wire) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("receive %T: not a message", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}

// dial opens one connection with Envoy's default HTTP/2 windows.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(16<<20), grpc.WithInitialConnWindowSize(24<<20),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire{}), grpc.MaxCallRecvMsgSize(64<<20), grpc.WaitForReady(true)),
	)
}

// play holds one conversation and resets the stream, as Envoy does. wants is a
// header that one of the answers must set, "" for none.
func play(ctx context.Context, conn *grpc.ClientConn, s script, wants string) error {
	ctx, reset := context.WithCancel(ctx)
	defer reset()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		extprocv3.ExternalProcessor_Process_FullMethodName)
	if err != nil {
		return err
	}
	found := wants == ""
	for i, st := range s {
		for _, m := range st.send {
			if err := stream.SendMsg(m); err != nil {
				return fmt.Errorf("step %d: send: %w", i, err)
			}
		}
		if err := st.await(stream, func(set string) { found = found || set == wants }); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	if !found {
		return fmt.Errorf("no answer set header %s", wants)
	}
	return nil
}

// await reads the answers to one step.
func (st step) await(stream grpc.ClientStream, set func(header string)) error {
	echoed := 0
	for n := 1; ; n++ {
		var a extprocv3.ProcessingResponse
		if err := stream.RecvMsg(&a); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if i := a.GetImmediateResponse(); i != nil {
			return fmt.Errorf("answered %v: %s", i.GetStatus().GetCode(), i.GetDetails())
		}
		noteHeaders(&a, set)
		if st.echo < 0 {
			if n == st.answers {
				return nil
			}
			continue
		}
		piece := a.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		echoed += len(piece.GetBody())
		if piece.GetEndOfStream() {
			if echoed != st.echo {
				return fmt.Errorf("%d of %d body bytes came back", echoed, st.echo)
			}
			return nil
		}
	}
}

func noteHeaders(a *extprocv3.ProcessingResponse, set func(string)) {
	for _, common := range []*extprocv3.CommonResponse{a.GetRequestHeaders().GetResponse(), a.GetRequestBody().GetResponse()} {
		for _, h := range common.GetHeaderMutation().GetSetHeaders() {
			set(h.GetHeader().GetKey())
		}
	}
}
