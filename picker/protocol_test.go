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
	}
	for name, modes := range everyMode() {
		for ending, play := range endings {
			t.Run(name+", "+ending, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, loaded(0, 0, 0, 0))
				if g.mode(modes[0], modes[1]); modes[0] < 0 {
					g.config = nil
				}
				answers := play(g)
				if inHeader, inMetadata, _ := choice(answers); inHeader != "10.0.0.1:8000" || inMetadata != inHeader {
					t.Errorf("header %q, metadata %q", inHeader, inMetadata)
				}
				if body, length := sent(answers, "ab"); body != "ab" && !strings.Contains(ending, "no body") || length != "" {
					t.Errorf("body %q, content-length %q", body, length)
				}
				g.responseHeaders(nil, false, ":status", "200")
				if modes[1] != procv3.ProcessingMode_NONE {
					g.responseBody("x", false)
					g.responseBody("", true)
				}
				g.conv.Close(extproc.Finished)
				g.expect("infer_picker_requests_finished_total", `
					infer_picker_requests_finished_total{code="200",model="unknown",namespace="ns",pool="pool",target_model="unknown"} 1`)
			})
		}
	}
}

// everyMode is each mode of the request's body with each of the response's; -1 is a
// gateway that sends no protocol_config.
func everyMode() map[string][2]procv3.ProcessingMode_BodySendMode {
	modes := map[string][2]procv3.ProcessingMode_BodySendMode{"no protocol_config": {-1, -1}}
	for request, r := range procv3.ProcessingMode_BodySendMode_value {
		for response, s := range procv3.ProcessingMode_BodySendMode_value {
			if request != "GRPC" && response != "GRPC" {
				modes["request "+request+", response "+response] = [2]procv3.ProcessingMode_BodySendMode{
					procv3.ProcessingMode_BodySendMode(r), procv3.ProcessingMode_BodySendMode(s),
				}
			}
		}
	}
	return modes
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
	if c := p.Pick(&Request{Model: "c"}); c.Endpoint == nil {
		t.Errorf("refused: %s; the model server's own 404 says more", c.Reason)
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
			l.Report(tc.load)
			if v, _ := l.View(tc.model, tc.load.At, time.Second); v.Adapter != tc.want {
				t.Errorf("got %d, want %d", v.Adapter, tc.want)
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
	saturated := func() []Endpoint { return []Endpoint{loaded(0, 0, 5, 0), loaded(1, 0, 0, 0.9)} }
	for rule, tc := range map[string]struct {
		model, objective string
		below            int
		untrusted        bool
		endpoints        []Endpoint
		shed             bool
	}{
		"sheddable, all saturated":                       {"batch", "", 0, false, saturated(), true},
		"sheddable, one has room":                        {"batch", "", 0, false, []Endpoint{loaded(0, 0, 5, 0), loaded(1, 0, 4, 0.7)}, false},
		"standard, all saturated":                        {"chat", "", 0, false, saturated(), false},
		"critical, all saturated":                        {"urgent", "", 0, false, saturated(), false},
		"standard, where what is below 1 is shed":        {"chat", "", 1, false, saturated(), true},
		"critical, where what is below 1 is shed":        {"urgent", "", 1, false, saturated(), false},
		"sheddable, where only what is below -5 is shed": {"batch", "", -5, false, saturated(), false},
		"an objective below":                             {"chat", "low", 0, false, saturated(), true},
		"an objective above counts before the model":     {"batch", "high", 0, false, saturated(), false},
		"an objective that does not exist":               {"chat", "none", 0, false, saturated(), false},
		"an objective that nobody vouches for":           {"batch", "high", 0, true, saturated(), true},
		"no fresh load: nobody can tell":                 {"batch", "", 0, false, []Endpoint{endpoint(0)}, false},
		"one is fresh and saturated, one is not fresh":   {"batch", "", 0, false, []Endpoint{loaded(0, 0, 5, 0), endpoint(1)}, true},
	} {
		for _, name := range []string{"x-llm-d-inference-objective", "x-gateway-inference-objective"} {
			t.Run(rule+", "+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, tc.endpoints...)
				g.handler.TrustHeaders = !tc.untrusted
				g.picker.shedBelow = tc.below
				table := rewrite.NewTable([]rewrite.Object{
					{Model: "batch", Priority: -1},
					{Model: "urgent", Priority: 1},
					{Name: "low", Objective: true, Priority: -5},
					{Name: "high", Objective: true, Priority: 5},
				})
				g.handler.Rewrites = func() *rewrite.Table { return table }
				answers := g.request(nil, false, "x-gateway-model-name", tc.model, name, tc.objective)
				if len(answers) == 1 && answers[0].GetImmediateResponse() == nil {
					answers = append(answers, g.requestBody(`{"model":"`+tc.model+`"}`)...)
				}
				answer := answers[len(answers)-1].GetImmediateResponse()
				if shed := answer.GetStatus().GetCode() == 429; shed != tc.shed {
					t.Fatalf("got %v", answer)
				}
				headers := map[string]string{}
				for _, h := range answer.GetHeaders().GetSetHeaders() {
					headers[h.GetHeader().GetKey()] = string(h.GetHeader().GetRawValue())
				}
				if tc.shed && (headers["x-infer-reject-reason"] != "shed" || headers["retry-after"] != "1") {
					t.Errorf("headers %v", headers)
				}
				if n := g.counter("infer_picker_picks_total", "reason", "shed"); (n == 1) != tc.shed {
					t.Errorf("%v counted as shed", n)
				}
			})
		}
	}
}

// A model that only the body names is shed, too.
func TestTheModelInTheBodyIsShed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, loaded(0, 0, 9, 0))
	table := rewrite.NewTable([]rewrite.Object{{Model: "batch", Priority: -1}})
	g.handler.Rewrites = func() *rewrite.Table { return table }
	answers := append(g.request(nil, false), g.requestBody(`{"model":"batch"}`)...)
	if answer := answers[len(answers)-1].GetImmediateResponse(); answer.GetStatus().GetCode() != 429 {
		t.Errorf("got %v", answers)
	}
	g.conv.Close(extproc.Finished)
	if n := g.picker.Snapshot().Endpoints[0].Live.InFlight(); n != 0 {
		t.Errorf("%d requests in flight", n)
	}
}

func TestARewriteThatAHeaderAsksFor(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		trust   bool
		rules   []string
		headers []string
		body    string
		want    string // the body that goes on, or the reason of a refusal
	}{
		"is done where headers are trusted":          {true, nil, []string{"x-llm-d-model-name-rewrite", "x"}, `{"model":"m"}`, `{"model":"x"}`},
		"so is that of the older header":             {true, nil, []string{"x-gateway-model-name-rewrite", "x"}, `{"model":"m"}`, `{"model":"x"}`},
		"is not done where they are not":             {false, nil, []string{"x-llm-d-model-name-rewrite", "x"}, `{"model":"m"}`, `{"model":"m"}`},
		"yields to a rule":                           {true, []string{"m>y"}, []string{"x-llm-d-model-name-rewrite", "x"}, `{"model":"m"}`, `{"model":"y"}`},
		"to what is no model name is refused":        {true, nil, []string{"x-llm-d-model-name-rewrite", "a b"}, `{"model":"m"}`, "rewrite_header"},
		"said twice says nothing":                    {true, nil, []string{"x-llm-d-model-name-rewrite", "x", "x-llm-d-model-name-rewrite", "y"}, `{"model":"m"}`, `{"model":"m"}`},
		"of a body that is no JSON is refused":       {true, nil, []string{"x-llm-d-model-name-rewrite", "x"}, `hello`, "json_not_object"},
		"goes to a model that is not known to exist": {true, nil, []string{"x-llm-d-model-name-rewrite", "unheard-of"}, `{"model":"m"}`, `{"model":"unheard-of"}`},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, serving(0, "m", "x", "y"))
			g.handler.TrustHeaders = tc.trust
			g.follow(tc.rules...)
			answers := append(g.request(nil, false, tc.headers...), g.requestBody(tc.body)...)
			got, _ := sent(answers, tc.body)
			if r := answers[len(answers)-1].GetImmediateResponse(); r != nil {
				got = r.GetDetails()
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// An answer that comes too late is none, and what would take too long is not done
// to its end.
func TestADecisionIsCutShortAtItsDeadline(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		each time.Duration // that an endpoint takes
		most int64         // endpoints looked at
		late bool
	}{
		"in time: all are looked at":        {time.Millisecond, 500, false},
		"late: the rest is not looked at":   {10 * time.Millisecond, 128, true},
		"late at once: a few are looked at": {time.Second, 32, true},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var endpoints []Endpoint
			for i := range 500 {
				endpoints = append(endpoints, loaded(i, 0, 0, 0))
			}
			g := newGateway(t, endpoints...)
			g.handler.Deadline = time.Second
			looked := int64(0)
			g.picker.scorers = []Scorer{func(View) float64 { looked++; g.clock.Step(tc.each); return 1 }}
			answers := g.request(nil, false)
			answer := answers[len(answers)-1].GetImmediateResponse()
			if late := answer.GetStatus().GetCode() == 503 && answer.GetDetails() == "deadline"; late != tc.late || looked > tc.most {
				t.Errorf("%d looked at, got %v", looked, answer)
			}
			if n := g.counter("infer_picker_picks_total", "reason", "deadline"); (n == 1) != tc.late {
				t.Errorf("%v counted as late", n)
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
