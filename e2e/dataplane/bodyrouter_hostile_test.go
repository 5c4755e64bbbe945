package dataplane

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const hostileSize = 20 << 20

// hostileShape is a body that costs a decoder much, and its right answer.
type hostileShape struct {
	name, body, want string
}

// hostileShapes are those of the failure catalogue.
func hostileShapes() []hostileShape {
	fill := func(name, head, unit, tail, want string) hostileShape {
		n := (hostileSize - len(head) - len(tail)) / len(unit)
		return hostileShape{name, head + strings.Repeat(unit, n) + tail, want}
	}
	var keys strings.Builder
	keys.WriteString(`{"model":"m"`)
	for i := 0; keys.Len() < hostileSize-16; i++ {
		keys.WriteString(`,"` + strconv.Itoa(i) + `":1`)
	}
	keys.WriteString("}")
	return []hostileShape{
		fill("tiny objects", `{"model":"m","x":[`, `{"a":1},`, `0]}`, "m"),
		fill("empty objects", `{"model":"m","x":[`, `{},`, `0]}`, "m"),
		fill("small ints", `{"model":"m","x":[`, `1,`, `0]}`, "m"),
		fill("one long string", `{"model":"m","x":"`, `abcdefgh`, `"}`, "m"),
		{"distinct keys", keys.String(), "400"},
		fill("a chat of escapes", `{"messages":[`, `{"role":"user","content":"a\"b\\c\u00e9"},`, `{}],"model":"m"}`, "m"),
	}
}

// ask sends one body to a body router as Envoy does, and returns the model that
// was routed on, or the status of an immediate response.
func ask(t *testing.T, conn *grpc.ClientConn, body string, mode modev3.ProcessingMode_BodySendMode) (string, error) {
	stream, err := procv3.NewExternalProcessorClient(conn).Process(t.Context())
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.CloseSend() }()
	whole := mode == modev3.ProcessingMode_BUFFERED
	err = stream.Send(headersOf(len(body), mode))
	if err == nil && whole { // Envoy sends the body once the headers are answered
		first, err := stream.Recv()
		if err != nil || first.GetImmediateResponse() != nil {
			return status(first), err
		}
	}
	piece := 64 << 10
	if whole {
		piece = len(body)
	}
	go func() {
		for at := 0; at < len(body) && err == nil; at += piece {
			end := min(at+piece, len(body))
			err = stream.Send(bodyOf(body[at:end], end == len(body)))
		}
	}()
	model := ""
	for received := 0; ; {
		got, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return model, fmt.Errorf("the stream ended after %d bytes", received)
		}
		if err != nil || got.GetImmediateResponse() != nil {
			return status(got), err
		}
		common := got.GetRequestHeaders().GetResponse()
		if common == nil {
			common = got.GetRequestBody().GetResponse()
		}
		for _, set := range common.GetHeaderMutation().GetSetHeaders() {
			model = string(set.GetHeader().GetRawValue())
		}
		sent := common.GetBodyMutation().GetStreamedResponse()
		if received += len(sent.GetBody()); whole || sent.GetEndOfStream() {
			return model, nil
		}
	}
}

func headersOf(length int, mode modev3.ProcessingMode_BodySendMode) *procv3.ProcessingRequest {
	return &procv3.ProcessingRequest{
		ProtocolConfig: &procv3.ProtocolConfiguration{RequestBodyMode: mode},
		Request: &procv3.ProcessingRequest_RequestHeaders{RequestHeaders: &procv3.HttpHeaders{Headers: &corev3.HeaderMap{
			Headers: []*corev3.HeaderValue{{Key: "content-length", RawValue: []byte(strconv.Itoa(length))}},
		}}},
	}
}

func bodyOf(piece string, end bool) *procv3.ProcessingRequest {
	return &procv3.ProcessingRequest{Request: &procv3.ProcessingRequest_RequestBody{
		RequestBody: &procv3.HttpBody{Body: []byte(piece), EndOfStream: end},
	}}
}

func status(r *procv3.ProcessingResponse) string {
	return strconv.Itoa(int(r.GetImmediateResponse().GetStatus().GetCode()))
}

func dialRouter(t *testing.T, r *routerProcess) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.address.String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(2*hostileSize)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// hostileBodies sends parallel bodies that a budget, in MiB, cannot hold at
// once; who gets 503 asks again.
func hostileBodies(t *testing.T, parallel, budget int) {
	router := startChild(t, fmt.Sprintf("--body-budget-bytes=%d", budget<<20))
	shapes := hostileShapes()
	var refused atomic.Int64
	var group sync.WaitGroup
	for i := range parallel {
		shape, conn := shapes[i%len(shapes)], dialRouter(t, router)
		mode := modev3.ProcessingMode_FULL_DUPLEX_STREAMED
		if i/len(shapes)%2 == 1 {
			mode = modev3.ProcessingMode_BUFFERED
		}
		group.Go(func() {
			again := time.NewTicker(50 * time.Millisecond)
			defer again.Stop()
			for ; t.Context().Err() == nil; <-again.C {
				got, err := ask(t, conn, shape.body, mode)
				if got == "503" {
					refused.Add(1)
					continue
				}
				if got != shape.want {
					t.Errorf("%s, %v: got %q, %v, want %q", shape.name, mode, got, err, shape.want)
				}
				return
			}
		})
	}
	group.Wait()
	peak := router.peak(t)
	t.Logf("%d bodies of 20 MiB, budget %d MiB: peak %d MiB, %d times 503", parallel, budget, peak, refused.Load())
	if peak > budget*12/10 {
		t.Errorf("peak of %d MiB, want at most 1.2 of %d", peak, budget)
	}
	if refused.Load() == 0 {
		t.Error("the budget was never full: the test proves little")
	}
	if held := router.metric(t, "body_bytes_reserved"); held != 0 {
		t.Errorf("%v bytes stay reserved", held)
	}
}

func TestHostileBodiesStayInTheirBudget(t *testing.T) { hostileBodies(t, 24, 400) }

// idleStreams opens streams that wait for the rest of a short body.
func idleStreams(t *testing.T, n, limit int) {
	const perConnection = 500
	router := startChild(t, "--body-idle-timeout=10m", "--body-timeout=10m")
	var conn *grpc.ClientConn
	for i := range n {
		if i%perConnection == 0 {
			conn = dialRouter(t, router)
		}
		stream, err := procv3.NewExternalProcessorClient(conn).Process(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(headersOf(1024, modev3.ProcessingMode_FULL_DUPLEX_STREAMED)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all streams are open", func() bool { return router.metric(t, "streams") == float64(n) })
	eventually(t, "all bodies are reserved", func() bool { return router.metric(t, "body_bytes_reserved") == float64(n<<10) })
	peak := router.peak(t)
	t.Logf("%d idle streams: peak %d MiB", n, peak)
	if peak > limit {
		t.Errorf("%d streams: peak of %d MiB, want at most %d", n, peak, limit)
	}
}

func TestIdleStreamsAreSmall(t *testing.T) { idleStreams(t, 1000, 100) }
