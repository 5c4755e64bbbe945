package extproc

import (
	"bytes"
	"runtime"
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func TestCodecWritesWhatProtobufWrites(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 127, smallSlice - 1, smallSlice, 16_383, 16_384, maxPiece} {
		body := bytes.Repeat([]byte("b"), n)
		for _, a := range []*answer{
			pieceAnswer(body, true), pieceAnswer(body, false), responsePieceAnswer(body, true), responsePieceAnswer(body, false),
			headersAnswer(Decision{Remove: []string{"x"}}), immediateAnswer(&Reject{Status: 400}),
		} {
			want, err := proto.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			got, err := newCodec().Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Materialize(), want) {
				t.Errorf("%d bytes in %T: another message", n, a.GetResponse())
			}
			if n >= smallSlice && pieceLength(a) == n && &got[1].ReadOnlyData()[0] != &body[0] {
				t.Errorf("%d bytes in %T were copied", n, a.GetResponse())
			}
		}
	}
}

func pieceLength(a *answer) int {
	_, piece := pieceOf(a)
	return len(piece.GetBody())
}

func TestCodecReadsWhatProtobufReads(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("b"), smallSlice)
	request := func(b *extprocv3.HttpBody) *message {
		return &message{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: b}, ObservabilityMode: true}
	}
	wire := func(m *message) []byte {
		out, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	response := &message{
		Request:        &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: body}},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{SendBodyWithoutWaitingForHeaderResponse: true},
	}
	tests := map[string][]byte{
		"a request body":                  wire(request(&extprocv3.HttpBody{Body: body, EndOfStream: true})),
		"a response body":                 wire(response),
		"two bodies in one message":       append(wire(request(&extprocv3.HttpBody{Body: body})), wire(request(&extprocv3.HttpBody{EndOfStream: true}))...),
		"a body message without bytes":    append(wire(request(&extprocv3.HttpBody{EndOfStream: true})), protowire.AppendBytes([]byte("\xfa\x3f"), body)...),
		"a message cut short":             wire(request(&extprocv3.HttpBody{Body: body}))[:smallSlice],
		"long headers":                    wire(&message{Request: &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: &extprocv3.HttpTrailers{Trailers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{RawValue: body}}}}}}),
		"no message":                      bytes.Repeat([]byte{0xff}, smallSlice),
		"a body field of another type":    append(wire(response), 0x20, 0x01),
		"a body inside a body of another": wire(request(&extprocv3.HttpBody{Body: wire(response)})),
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, want := &message{}, &message{}
			wantErr, err := proto.Unmarshal(wire, want), newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, got)
			if (err == nil) != (wantErr == nil) || err == nil && !proto.Equal(got, want) {
				t.Errorf("got %v, %v", err, wantErr)
			}
		})
	}
}

func TestCodecReadsABodyWithOneCopy(t *testing.T) {
	wire, err := proto.Marshal(&message{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: bytes.Repeat([]byte("b"), 1<<20), EndOfStream: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var frames mem.BufferSlice
	for frame := range slices.Chunk(wire, 16<<10) {
		frames = append(frames, mem.SliceBuffer(frame))
	}
	const rounds = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		if err := newCodec().Unmarshal(frames, &message{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > 3<<19 {
		t.Errorf("%d bytes were allocated to read a body of 1 MiB", each)
	}
}
