package picker

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// fuzzed is the message that a byte stands for, which need not come in its turn.
func fuzzed(b byte, body []byte) *extprocv3.ProcessingRequest {
	m, end := &extprocv3.ProcessingRequest{}, b&0x80 != 0
	switch b % 7 {
	case 0:
		h := &extprocv3.HttpHeaders{EndOfStream: end}
		if b&0x40 == 0 {
			h.Headers = headerMap("x-gateway-model-name", "m", "x-llm-d-model-name-rewrite", string(body))
		}
		if b&0x20 != 0 {
			m.MetadataContext = metadata(subsetNamespace, subsetKey, structpb.NewStringValue(string(body)))
		}
		m.Request = &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: h}
	case 1, 2:
		m.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: body, EndOfStream: end}}
	case 3:
		m.Request = &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: &extprocv3.HttpTrailers{}}
	case 4:
		m.MetadataContext = metadata("envoy.lb", "x-gateway-destination-endpoint-served", structpb.NewStringValue(string(body)))
		m.Request = &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{
			Headers: headerMap(":status", "200", "content-type", map[bool]string{true: "text/event-stream", false: "application/json"}[b&0x40 != 0]), EndOfStream: end,
		}}
	case 5:
		m.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: body, EndOfStream: end}}
	default:
		m.Request = &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{}}
	}
	return m
}

// Whatever messages come in whatever order, the accounts come out even: as many
// requests finished as started, none in flight, and a choice is only ever one of
// the pool's.
func FuzzMessages(f *testing.F) {
	for _, order := range []string{"\x80", "\x00\x81", "\x00\x01\x81\x04\x05\x85", "\x00\x00", "\x81\x80", "\x04\x85", "\x00\x01\x03\x44\x45\x06", "\x20\x81"} {
		f.Add([]byte(order), []byte(`{"model":"m","prompt":"`+strings.Repeat("x", 100)+`"}`), byte(0))
		f.Add([]byte(order), []byte("10.0.0.2:8000"), byte(27))
	}
	table := rewrite.NewTable([]rewrite.Object{{Rules: []rewrite.Rule{{Model: "m", Targets: []rewrite.Target{{Model: "a", Weight: 1}, {Model: "gone", Weight: 1}}}}}})
	f.Fuzz(func(t *testing.T, order, body []byte, config byte) {
		endpoints := []Endpoint{serving(0, "m", "a"), serving(1, "m"), loaded(2, 9, 9, 1)}
		if config&0x80 != 0 {
			endpoints[2].Live.Serve(Models{"m": false})
		}
		g := newGateway(t, endpoints...)
		g.handler.Prefixes = prefix.New(prefix.Options{Block: 16, Blocks: 8, Entries: 256, Window: time.Minute})
		g.handler.TrustHeaders, g.handler.Endpoints = config&0x40 != 0, 1+int(config>>4&1)
		g.handler.Random = rand.New(rand.NewPCG(uint64(config), 1)).Uint64N
		if config&0x20 != 0 {
			g.handler.Rewrites = func() *rewrite.Table { return table }
		}
		mode := &extprocv3.ProtocolConfiguration{
			RequestBodyMode: procv3.ProcessingMode_BodySendMode(config % 5), ResponseBodyMode: procv3.ProcessingMode_BodySendMode(config / 5 % 5),
		}
		for i, b := range order[:min(len(order), 64)] {
			m := fuzzed(b, body)
			if i == 0 && config != 255 {
				m.ProtocolConfig = mode
			}
			answers, err := g.conv.Receive(m)
			for _, name := range names(answers) {
				if name != "10.0.0.1:8000" && name != "10.0.0.2:8000" && name != "10.0.0.3:8000" {
					t.Fatalf("chose %q", name)
				}
			}
			g.conv.Sent()
			if err != nil {
				break
			}
		}
		g.conv.Close(extproc.Finished)
		for _, e := range endpoints {
			if n := e.Live.InFlight(); n != 0 {
				t.Fatalf("%d requests in flight at %s", n, e.Value)
			}
		}
		if started, finished, running := g.sum("infer_picker_requests_started_total"), g.sum("infer_picker_requests_finished_total"), g.sum("infer_picker_requests_running"); started != finished || running != 0 || started > 1 {
			t.Fatalf("%v started, %v finished, %v running", started, finished, running)
		}
	})
}

// names are the endpoints that answers name.
func names(answers []*extprocv3.ProcessingResponse) []string {
	inHeader, inMetadata, _ := choice(answers)
	var out []string
	for _, value := range []string{inHeader, inMetadata} {
		if value != "" {
			out = append(out, strings.Split(value, ",")...)
		}
	}
	return out
}

// sum adds up a family's series.
func (g *gateway) sum(family string) (sum float64) {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == family {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
