package picker

import (
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// one plays whole requests of one kind, each on a stream of its own.
func (g *gateway) one(m *corev3.Metadata, chunks []string, headers ...string) []*extprocv3.ProcessingResponse {
	g.t.Helper()
	g.conv.Close(extproc.Finished)
	g.conv = extproc.NewConversation(g.handler.NewProcessor(), 1<<20, extproc.NewBudget(1<<30))
	g.mode(procv3.ProcessingMode_FULL_DUPLEX_STREAMED, procv3.ProcessingMode_FULL_DUPLEX_STREAMED)
	answers := g.request(m, len(chunks) == 0, headers...)
	for i, chunk := range chunks {
		answers = append(answers, g.requestChunk(chunk, i == len(chunks)-1)...)
	}
	return answers
}

// The cases of the reference's hermetic suite that are about a request's form. A state
// is (queue, KV cache use); the load decides in all of them.
func TestLoadAndSubsetCountWhateverFormARequestHas(t *testing.T) {
	t.Parallel()
	pods := func() []Endpoint {
		return []Endpoint{loaded(0, 9, 3, 0.2), loaded(1, 0, 0, 0.1), loaded(2, 20, 10, 0.2)}
	}
	for form, chunks := range map[string][]string{
		"headers only":                     nil,
		"a body":                           {`{"model":"m","prompt":"p"}`},
		"cut inside the model value":       {`{"prompt":"p","model":"sql-`, `lora"}`},
		"cut inside the name of the model": {`{"prompt":"p","mo`, `del":"m"}`},
		"no model":                         {`{"prompt":"p"}`},
		"not JSON":                         {"\x00\xff arbitrary bytes"},
		"an empty last chunk":              {`{"model":"m"}`, ""},
	} {
		for rule, tc := range map[string]struct {
			subset []any
			want   string // by more than nine in ten
		}{
			"the clearly lower load":              {nil, "10.0.0.2:8000"},
			"the best of a subset of all":         {[]any{"10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"}, "10.0.0.2:8000"},
			"the best of a subset of two":         {[]any{"10.0.0.1:8000", "10.0.0.3:8000"}, "10.0.0.1:8000"},
			"a subset of one, the worst":          {[]any{"10.0.0.3:8000"}, "10.0.0.3:8000"},
			"a subset with another port of one":   {[]any{"10.0.0.2:8001", "10.0.0.3:8000"}, "10.0.0.3:8000"},
			"a subset with nobody: 503":           {[]any{"192.168.1.99:8000"}, "not_in_subset"},
			"a subset that is empty: 503 as well": {[]any{}, "not_in_subset"},
		} {
			t.Run(form+", "+rule, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, pods()...)
				var m *corev3.Metadata
				if tc.subset != nil {
					m = metadata(subsetNamespace, subsetKey, list(tc.subset...))
				}
				got := map[string]int{}
				for range 100 {
					answers := g.one(m, chunks)
					inHeader, inMetadata, _ := choice(answers)
					if refused := answers[len(answers)-1].GetImmediateResponse(); refused.GetStatus().GetCode() == 503 {
						inHeader, inMetadata = refused.GetDetails(), refused.GetDetails()
					} else if body, _ := sent(answers, ""); body != strings.Join(chunks, "") {
						t.Fatalf("the body went on as %q", body)
					}
					if inMetadata != inHeader {
						t.Fatalf("header %q, metadata %q", inHeader, inMetadata)
					}
					got[inHeader]++
				}
				if got[tc.want] < 90 {
					t.Errorf("got %v, want %s", got, tc.want)
				}
			})
		}
	}
}

func TestHeadersOnlyRequestsAreRefusedAsOthersAre(t *testing.T) {
	t.Parallel()
	notReady := endpoint(0)
	notReady.Ready = false
	table := rewrite.NewTable([]rewrite.Object{{Name: "low", Objective: true, Priority: -5}})
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		objective string
		code      int32
		reason    string
	}{
		"no pods: 503":                             {nil, "", 503, "no_endpoints"},
		"none ready: 503":                          {[]Endpoint{notReady}, "", 503, "none_ready"},
		"saturated, an objective below: 429":       {[]Endpoint{loaded(0, 0, 9, 0)}, "low", 429, "shed"},
		"saturated, the usual objective: it is in": {[]Endpoint{loaded(0, 0, 9, 0)}, "", 0, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, tc.endpoints...)
			g.handler.TrustHeaders = true
			g.handler.Rewrites = func() *rewrite.Table { return table }
			answers := g.one(nil, nil, "x-gateway-inference-objective", tc.objective)
			refused := answers[len(answers)-1].GetImmediateResponse()
			if int32(refused.GetStatus().GetCode()) != tc.code || refused.GetDetails() != tc.reason {
				t.Errorf("got %v", answers)
			}
			for _, h := range refused.GetHeaders().GetSetHeaders() {
				if h.GetHeader().GetKey() == "x-infer-reject-reason" && string(h.GetHeader().GetRawValue()) == tc.reason {
					return
				}
			}
			if tc.code != 0 {
				t.Error("no reason header")
			}
		})
	}
}

// A hint in IPv6 is a hint, in any way to write it.
func TestASubsetInIPv6(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"[2001:db8::2]:8000", "2001:db8::2", "[2001:db8::2]", "[2001:DB8:0::2]:8000"} {
		for form, chunks := range map[string][]string{"headers only": nil, "a body": {"{}"}} {
			t.Run(entry+", "+form, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, v6(1), v6(2), v6(3))
				inHeader, inMetadata, _ := choice(g.one(metadata(subsetNamespace, subsetKey, list(entry)), chunks))
				if inHeader != "[2001:db8::2]:8000" || inMetadata != inHeader {
					t.Errorf("header %q, metadata %q", inHeader, inMetadata)
				}
			})
		}
	}
}

// Whatever a model server answers goes on as it came, and what it says of tokens is
// counted.
func TestAnswersGoOnAsTheyCame(t *testing.T) {
	t.Parallel()
	const usage = `"usage":{"prompt_tokens":7,"completion_tokens":10}`
	for rule, tc := range map[string]struct {
		contentType string
		chunks      []string
		tokens      uint64 // answers whose tokens were counted
	}{
		"JSON in two chunks":           {"application/json", []string{`{"choices":[],"us`, `age":{"prompt_tokens":7,"completion_tokens":10}}`}, 1},
		"JSON and an empty last chunk": {"application/json", []string{`{` + usage + `}`, ""}, 1},
		"no JSON":                      {"application/json", []string{"no JSON at all"}, 0},
		"events, usage in the last":    {"text/event-stream", []string{"data: {\"choices\":[{}]}\n\n", "data: {" + usage + "}\n\ndata: [DONE]\n\n", ""}, 1},
	} {
		for name, modes := range everyMode() {
			if modes[1] == procv3.ProcessingMode_NONE {
				continue // the answer is not shown
			}
			t.Run(rule+", "+name, func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, loaded(0, 0, 0, 0))
				if g.mode(modes[0], modes[1]); modes[0] < 0 {
					g.config = nil
				}
				g.request(nil, true)
				g.clock.Step(time.Second)
				g.responseHeaders(nil, false, ":status", "200", "content-type", tc.contentType)
				want, got, chunks := strings.Join(tc.chunks, ""), "", tc.chunks
				if strings.HasPrefix(modes[1].String(), "BUFFERED") {
					chunks = []string{want} // as a gateway does that waits for all of it
				}
				echoes := modes[1] == procv3.ProcessingMode_FULL_DUPLEX_STREAMED
				for i, chunk := range chunks {
					for _, a := range g.responseChunk(chunk, i == len(chunks)-1) {
						mutation := a.GetResponseBody().GetResponse().GetBodyMutation()
						echoes = echoes || mutation.GetStreamedResponse() != nil
						if got += string(mutation.GetStreamedResponse().GetBody()); mutation.GetBody() != nil || mutation.GetClearBody() {
							t.Errorf("the body is changed: %v", mutation)
						}
					}
				}
				if echoes && got != want {
					t.Errorf("%q went on as %q", want, got)
				}
				g.conv.Close(extproc.Finished)
				if n, sum := g.histogram("infer_picker_output_tokens", "model", "unknown"); n != tc.tokens || sum != 10*float64(tc.tokens) {
					t.Errorf("%d answers of %v output tokens", n, sum)
				}
				if n, sum := g.histogram("infer_picker_prompt_tokens", "model", "unknown"); n != tc.tokens || sum != 7*float64(tc.tokens) {
					t.Errorf("%d prompts of %v tokens", n, sum)
				}
			})
		}
	}
}

func (g *gateway) responseChunk(body string, end bool) []*extprocv3.ProcessingResponse {
	g.t.Helper()
	return g.send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(body), EndOfStream: end},
	}})
}
