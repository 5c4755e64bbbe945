package extproc

import (
	"slices"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// codec is gRPC's protobuf codec without its copies of bodies: a received body
// is a slice of the message it came in, and a piece that is sent on is handed to
// the transport as it is. gRPC's own codec holds a body twice while it decodes
// one, and takes a pooled buffer of 1 MiB for each piece of 62,000 bytes.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Unmarshal reads one message. The bytes that a body aliases are never given
// back to a pool, so they stay as they are.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	request, ok := v.(*extprocv3.ProcessingRequest)
	if !ok || data.Len() < smallSlice {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.Materialize()
	rest, body, ok := cutBody(whole)
	if !ok {
		return proto.Unmarshal(whole, request)
	}
	if err := proto.Unmarshal(rest, request); err != nil {
		return err
	}
	switch r := request.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestBody:
		r.RequestBody.Body = body
	case *extprocv3.ProcessingRequest_ResponseBody:
		r.ResponseBody.Body = body
	}
	return nil
}

// cutBody takes the body out of a message that has one, and one only; rest is
// the message without it.
func cutBody(message []byte) (rest, body []byte, ok bool) {
	inner, before, after, ok := cutField(message, requestBodyIn, responseBodyIn)
	if !ok {
		return nil, nil, false
	}
	body, head, tail, ok := cutField(inner, bodyField)
	if !ok {
		return nil, nil, false
	}
	number, _, _ := protowire.ConsumeTag(message[len(before):])
	rest = make([]byte, 0, len(before)+len(head)+len(tail)+len(after)+16)
	rest = append(rest, before...)
	rest = protowire.AppendTag(rest, number, protowire.BytesType)
	rest = protowire.AppendVarint(rest, uint64(len(head)+len(tail)))
	rest = append(append(rest, head...), tail...)
	return append(rest, after...), body, true
}

// cutField returns the content of the one field with a number of want, and what
// stands before and after it; not ok when there is none, or several, or the
// message is broken.
func cutField(message []byte, want ...protowire.Number) (content, before, after []byte, ok bool) {
	for at := 0; at < len(message); {
		number, kind, n := protowire.ConsumeField(message[at:])
		if n < 0 {
			return nil, nil, nil, false
		}
		if slices.Contains(want, number) {
			if ok || kind != protowire.BytesType {
				return nil, nil, nil, false
			}
			_, _, tag := protowire.ConsumeTag(message[at:])
			content, _ = protowire.ConsumeBytes(message[at+tag:])
			before, after, ok = message[:at], message[at+n:], true
		}
		at += n
	}
	return content, before, after, ok
}

// Marshal writes one message. The body of a piece must not change any more.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	a, ok := v.(*answer)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	field, piece := pieceOf(a)
	if len(piece.GetBody()) < smallSlice {
		return c.CodecV2.Marshal(v)
	}
	rest, err := proto.Marshal(&extprocv3.StreamedBodyResponse{EndOfStream: piece.GetEndOfStream()})
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{
		mem.SliceBuffer(pieceHead(field, len(piece.GetBody()), len(rest))),
		mem.SliceBuffer(piece.GetBody()),
		mem.SliceBuffer(rest),
	}, nil
}

// Fields on the way to a body: of ProcessingRequest; of ProcessingResponse, BodyResponse, CommonResponse, BodyMutation and
// StreamedBodyResponse on the way to a piece of a body.
// Source: external_processor.proto.
const (
	requestBodyIn     protowire.Number = 4 // of ProcessingRequest
	responseBodyIn    protowire.Number = 5
	requestBodyField  protowire.Number = 3 // of ProcessingResponse
	responseBodyField protowire.Number = 4
	responseField     protowire.Number = 1
	mutationField     protowire.Number = 3
	streamedField     protowire.Number = 3
	bodyField         protowire.Number = 1 // of HttpBody, too
)

// pieceOf returns the piece of a message that holds nothing else, and where it
// stands.
func pieceOf(a *answer) (field protowire.Number, piece *extprocv3.StreamedBodyResponse) {
	if a.GetDynamicMetadata() != nil || a.GetModeOverride() != nil {
		return 0, nil
	}
	switch r := a.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestBody:
		return requestBodyField, r.RequestBody.GetResponse().GetBodyMutation().GetStreamedResponse()
	case *extprocv3.ProcessingResponse_ResponseBody:
		return responseBodyField, r.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse()
	}
	return 0, nil
}

// pieceHead is what stands before a body of n bytes that rest bytes follow.
func pieceHead(field protowire.Number, n, rest int) []byte {
	path := [...]protowire.Number{field, responseField, mutationField, streamedField}
	var sizes [len(path)]int
	size := protowire.SizeTag(bodyField) + protowire.SizeBytes(n) + rest
	for i := len(path) - 1; i >= 0; i-- {
		sizes[i] = size
		size = protowire.SizeTag(path[i]) + protowire.SizeBytes(size)
	}
	head := make([]byte, 0, 32)
	for i, number := range path {
		head = protowire.AppendTag(head, number, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(sizes[i]))
	}
	head = protowire.AppendTag(head, bodyField, protowire.BytesType)
	return protowire.AppendVarint(head, uint64(n))
}
