package picker

import (
	"strings"
	"testing"
	"time"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func (g *gateway) requestChunk(body string, end bool) []*extprocv3.ProcessingResponse {
	g.t.Helper()
	return g.send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(body), EndOfStream: end},
	}})
}

func (g *gateway) requestTrailers() []*extprocv3.ProcessingResponse {
	g.t.Helper()
	return g.send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{
		RequestTrailers: &extprocv3.HttpTrailers{},
	}})
}

// Every mode, in either direction, whatever way the request ends: one pick, header
// and metadata equal, the body as it came, the end of the answer seen.
func TestEveryModeIsAnswered(t *testing.T) {
	t.Parallel()
	endings := map[string]func(*gateway) []*extprocv3.ProcessingResponse{
		"headers only": func(g *gateway) []*extprocv3.ProcessingResponse { return g.request(nil, true) },
		"a body": func(g *gateway) []*extprocv3.ProcessingResponse {
			return append(g.request(nil, false), g.requestChunk("ab", true)...)
		},
		"two chunks": func(g *gateway) []*extprocv3.ProcessingResponse {
			return append(append(g.request(nil, false), g.requestChunk("a", false)...), g.requestChunk("b", true)...)
		},
		"an empty last one": func(g *gateway) []*extprocv3.ProcessingResponse {
			return append(append(g.request(nil, false), g.requestChunk("ab", false)...), g.requestChunk("", true)...)
		},
		"a repeated last": func(g *gateway) []*extprocv3.ProcessingResponse {
			return append(append(g.request(nil, false), g.requestChunk("ab", true)...), g.requestChunk("ab", true)...)
		},
		"trailers": func(g *gateway) []*extprocv3.ProcessingResponse {
			return append(append(g.request(nil, false), g.requestChunk("ab", false)...), g.requestTrailers()...)
		},
		"trailers, no body": func(g *gateway) []*extprocv3.ProcessingResponse {
			return append(g.request(nil, false), g.requestTrailers()...)
		},
		"headers and a hang": func(g *gateway) []*extprocv3.ProcessingResponse { return g.request(nil, true) },
	}
	for name, mode := range procv3.ProcessingMode_BodySendMode_value {
		if name == "GRPC" {
			continue
		}
		for ending, play := range endings {
			t.Run(name+", "+ending, func(t *testing.T) {
				t.Parallel()
				send := procv3.ProcessingMode_BodySendMode(mode)
				g := newGateway(t, loaded(0, 0, 0, 0))
				g.mode(send, send)
				answers := play(g)
				if inHeader, inMetadata, _ := choice(answers); inHeader != "10.0.0.1:8000" || inMetadata != inHeader {
					t.Errorf("header %q, metadata %q", inHeader, inMetadata)
				}
				if body, length := sent(answers, "ab"); body != "ab" && !strings.Contains(ending, "no body") || length != "" {
					t.Errorf("body %q, content-length %q", body, length)
				}
				g.responseHeaders(nil, false, ":status", "200")
				g.responseBody("x", false)
				g.responseBody("", true)
				g.conv.Close(extproc.Finished)
				g.expect("infer_picker_requests_finished_total", `
					infer_picker_requests_finished_total{code="200",model="unknown",namespace="ns",pool="pool",target_model="unknown"} 1`)
			})
		}
	}
}

// The cases of the reference's hermetic suite that are about choosing. State is
// (queue, KV cache use, adapters in use).
func TestHermeticChoices(t *testing.T) {
	t.Parallel()
	state := func(n int, queue, kv float64, active ...string) Endpoint {
		e := endpoint(n)
		e.Live.Serve(Models{"base": false, "sql-lora": true})
		e.Live.Report(Load{At: time.Unix(1000, 0), Waiting: queue, KVCache: kv, ActiveAdapters: active, MaxAdapters: 4})
		return e
	}
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		model     string
		want      int
		share     float64 // at least
	}{
		"the clearly lower load wins":                  {[]Endpoint{state(0, 3, 0.2), state(1, 0, 0.1), state(2, 10, 0.2)}, "base", 1, 0.97},
		"an active adapter and a low queue":            {[]Endpoint{state(0, 0, 0.2), state(1, 0, 0.1, "sql-lora"), state(2, 10, 0.2)}, "sql-lora", 1, 0.95},
		"an active adapter beats a freer KV cache":     {[]Endpoint{state(0, 10, 0.2), state(1, 10, 0.4, "sql-lora"), state(2, 10, 0.3)}, "sql-lora", 1, 0.8},
		"everything hot: an empty queue beats free KV": {[]Endpoint{state(0, 6, 0.2), state(1, 0, 0.85), state(2, 10, 0.9)}, "base", 1, 0.8},
		"an adapter that only one has loaded":          {[]Endpoint{serving(0, "base"), serving(1, "base", "new-lora"), serving(2, "base")}, "new-lora", 1, 1},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			p, _ := seeded(tc.endpoints...)
			p.scorers = append(p.scorers, func(v View) float64 {
				return map[Adapter]float64{AdapterRoom: 0.25, AdapterFull: 0.05}[v.Adapter] + map[bool]float64{true: 1}[v.Adapter < AdapterRoom]
			})
			if got := shares(t, p, Request{Model: tc.model}); got[tc.endpoints[tc.want].Value] < tc.share-1e-9 {
				t.Errorf("shares %v", got)
			}
		})
	}
}

func TestAModelThatNobodyHasLoadedGoesSomewhere(t *testing.T) {
	t.Parallel()
	p, _ := seeded(serving(0, "a"), serving(1, "b"))
	if e, reason := p.Pick(&Request{Model: "c"}); e == nil {
		t.Errorf("refused: %s; the model server's own 404 says more", reason)
	}
}

func TestAdapterCapacityCountsEachAdapterOnce(t *testing.T) {
	t.Parallel()
	models := Models{"a": true, "b": true, "c": true, "base": false}
	for rule, tc := range map[string]struct {
		load  Load
		model string
		want  Adapter
	}{
		"the base model is no adapter":           {Load{MaxAdapters: 1}, "base", NoAdapter},
		"a server that does not tell":            {Load{}, "a", NoAdapter},
		"in the batch":                           {Load{MaxAdapters: 1, ActiveAdapters: []string{"a"}}, "a", AdapterActive},
		"waited for":                             {Load{MaxAdapters: 1, QueuedAdapters: []string{"a"}}, "a", AdapterLoading},
		"running and waiting is one: room":       {Load{MaxAdapters: 2, ActiveAdapters: []string{"b"}, QueuedAdapters: []string{"b"}}, "a", AdapterRoom},
		"as many as there are slots: full":       {Load{MaxAdapters: 2, ActiveAdapters: []string{"b"}, QueuedAdapters: []string{"c"}}, "a", AdapterFull},
		"none in use: room":                      {Load{MaxAdapters: 1}, "a", AdapterRoom},
		"running beats waiting for the same one": {Load{MaxAdapters: 1, ActiveAdapters: []string{"a"}, QueuedAdapters: []string{"a"}}, "a", AdapterActive},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			l := &Live{}
			l.Serve(models)
			if got := l.adapter(&tc.load, tc.model); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestFallbacksAreOrderedAndAnswered(t *testing.T) {
	t.Parallel()
	g := newGateway(t, loaded(0, 0, 0, 0), loaded(1, 30, 30, 0.5), loaded(2, 90, 90, 0.9))
	g.handler.Endpoints = 3
	inHeader, inMetadata, _ := choice(g.request(nil, true))
	if parts := strings.Split(inHeader, ","); len(parts) != 3 || parts[0] != "10.0.0.1:8000" || inMetadata != inHeader {
		t.Fatalf("header %q, metadata %q", inHeader, inMetadata)
	}
	g.responseHeaders(metadata("envoy.lb", "x-gateway-destination-endpoint-served", structpb.NewStringValue("10.0.0.2:8000")), false, ":status", "200")
	e := g.picker.Snapshot().Endpoints
	if e[0].Live.InFlight() != 0 || e[1].Live.InFlight() != 1 {
		t.Error("the request does not count for the endpoint that serves it")
	}
	g.conv.Close(extproc.Finished)
	g.expect("infer_picker_fallbacks_served_total", `infer_picker_fallbacks_served_total{namespace="ns",pool="pool"} 1`)
	g.expect("infer_picker_served_mismatch_total", `infer_picker_served_mismatch_total{namespace="ns",pool="pool"} 0`)
}

func TestWhoIsShed(t *testing.T) {
	t.Parallel()
	table := rewrite.NewTable([]rewrite.Object{{Sheddable: []string{"batch"}}})
	for rule, tc := range map[string]struct {
		model     string
		endpoints []Endpoint
		status    int
	}{
		"sheddable, all saturated: 429":             {"batch", []Endpoint{loaded(0, 0, 5, 0), loaded(1, 0, 0, 0.9)}, 429},
		"sheddable, one has room":                   {"batch", []Endpoint{loaded(0, 0, 5, 0), loaded(1, 0, 4, 0.7)}, 0},
		"standard, all saturated":                   {"chat", []Endpoint{loaded(0, 0, 50, 0), loaded(1, 0, 0, 0.9)}, 0},
		"sheddable, no fresh load: nobody can tell": {"batch", []Endpoint{endpoint(0)}, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, tc.endpoints...)
			g.handler.Rewrites = func() *rewrite.Table { return table }
			answers := g.request(nil, true, "x-gateway-model-name", tc.model)
			answer := answers[len(answers)-1].GetImmediateResponse()
			if int(answer.GetStatus().GetCode()) != tc.status {
				t.Fatalf("got %v", answer)
			}
			if tc.status == 0 {
				return
			}
			headers := map[string]string{}
			for _, h := range answer.GetHeaders().GetSetHeaders() {
				headers[h.GetHeader().GetKey()] = string(h.GetHeader().GetRawValue())
			}
			if headers["x-infer-reject-reason"] != "shed" || headers["retry-after"] != "1" {
				t.Errorf("headers %v", headers)
			}
		})
	}
}

func TestADecisionThatTakesTooLongIs503(t *testing.T) {
	t.Parallel()
	for rule, slow := range map[string]time.Duration{"in time": 0, "late": 600 * time.Millisecond} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0), loaded(1, 0, 0, 0))
			g.handler.Deadline = time.Second
			g.picker.scorers = append(g.picker.scorers, func(View) float64 { g.clock.Step(slow); return 1 })
			answers := g.request(nil, false)
			answer := answers[len(answers)-1].GetImmediateResponse()
			if late := answer.GetStatus().GetCode() == 503 && answer.GetDetails() == "deadline"; late != (slow > 0) {
				t.Errorf("got %v", answers)
			}
		})
	}
}
