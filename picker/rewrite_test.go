package picker

import (
	"strconv"
	"strings"
	"testing"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// follow puts rules in force: "asked>target" each, asked "" for the generic rule.
func (g *gateway) follow(rules ...string) {
	var o rewrite.Object
	for _, text := range rules {
		asked, target, _ := strings.Cut(text, ">")
		o.Rules = append(o.Rules, rewrite.Rule{Model: asked, Targets: []rewrite.Target{{Model: target, Weight: 1}}})
	}
	table := rewrite.NewTable([]rewrite.Object{o})
	g.handler.Rewrites = func() *rewrite.Table { return table }
}

// serving is endpoint n that has just said to answer to these names.
func serving(n int, names ...string) Endpoint {
	e := loaded(n, 0, 0, 0)
	m := Models{}
	for _, name := range names {
		m[name] = false
	}
	e.Live.Serve(m)
	return e
}

// sent is the body that goes on, and the content-length that goes with it.
func sent(answers []*extprocv3.ProcessingResponse, original string) (body, length string) {
	body, length = original, ""
	pieces := ""
	for _, a := range answers {
		for _, common := range []*extprocv3.CommonResponse{a.GetRequestHeaders().GetResponse(), a.GetRequestBody().GetResponse()} {
			for _, h := range common.GetHeaderMutation().GetSetHeaders() {
				if h.GetHeader().GetKey() == "content-length" {
					length = string(h.GetHeader().GetRawValue())
				}
			}
			for _, name := range common.GetHeaderMutation().GetRemoveHeaders() {
				if name == "content-length" {
					length = "removed"
				}
			}
			if b := common.GetBodyMutation().GetBody(); b != nil {
				body = string(b)
			}
			pieces += string(common.GetBodyMutation().GetStreamedResponse().GetBody())
		}
	}
	if pieces != "" {
		body = pieces
	}
	return body, length
}

func TestRewriteSplicesTheModelAndNothingElse(t *testing.T) {
	t.Parallel()
	const before = "{ \"messages\":[{\"role\":\"user\",\"content\":\"\\u0041 \\\"model\\\": 12345678901234567890\"}] , \"model\" : \"chat\",\"x\":1.0e2 }\n"
	after := strings.Replace(before, `"chat"`, `"chat-lora-2"`, 1)
	for rule, tc := range map[string]struct {
		mode   procv3.ProcessingMode_BodySendMode
		length string
	}{
		"buffered: the new content-length":      {procv3.ProcessingMode_BUFFERED, strconv.Itoa(len(after))},
		"full duplex: no content-length by us":  {procv3.ProcessingMode_FULL_DUPLEX_STREAMED, "removed"},
		"no protocol_config: as in full duplex": {-1, "removed"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, serving(0, "base"), serving(1, "base", "chat-lora-2"))
			g.follow("chat>chat-lora-2")
			g.mode(tc.mode, procv3.ProcessingMode_STREAMED)
			if tc.mode < 0 {
				g.config = nil
			}
			answers := append(g.request(nil, false, "x-gateway-model-name", "chat"), g.requestBody(before)...)
			body, length := sent(answers, before)
			if body != after || length != tc.length {
				t.Errorf("length %s, body %s", length, body)
			}
			if inHeader, inMetadata, _ := choice(answers); inHeader != "10.0.0.2:8000" || inMetadata != inHeader {
				t.Errorf("sent to %q, %q: only the second one has the adapter", inHeader, inMetadata)
			}
			g.conv.Close(extproc.Finished)
			g.expect("infer_picker_requests_started_total", `
				infer_picker_requests_started_total{model="chat",namespace="ns",pool="pool",target_model="chat-lora-2"} 1`)
			for _, e := range g.picker.Snapshot().Endpoints {
				if e.Live.InFlight() != 0 {
					t.Errorf("%s still has a request", e.Value)
				}
			}
		})
	}
}

func TestWhatARewriteCannotChange(t *testing.T) {
	t.Parallel()
	const chat = "x-gateway-model-name"
	for rule, tc := range map[string]struct {
		rules   string
		mode    procv3.ProcessingMode_BodySendMode
		headers []string
		body    string
		want    string // the reason of a refusal, or the body that goes on
	}{
		"no rule for the model: as it came":              {"other>x", procv3.ProcessingMode_BUFFERED, nil, `{"model":"chat"}`, `{"model":"chat"}`},
		"the body counts, not the header":                {"chat>x", procv3.ProcessingMode_BUFFERED, []string{chat, "other"}, `{"model":"chat"}`, `{"model":"x"}`},
		"a generic rule takes every model":               {">x", procv3.ProcessingMode_BUFFERED, nil, `{"model":"any"}`, `{"model":"x"}`},
		"an escaped name is the same name":               {"chat>x", procv3.ProcessingMode_BUFFERED, nil, `{"model":"\u0063hat"}`, `{"model":"x"}`},
		"a target of quotes stays a string":              {`chat>a"b\c`, procv3.ProcessingMode_BUFFERED, nil, `{"model":"chat"}`, `{"model":"a\"b\\c"}`},
		"not JSON passes when no rule is about it":       {"chat>x", procv3.ProcessingMode_BUFFERED, nil, `hello`, `hello`},
		"not JSON, and its model has a rule: 400":        {"chat>x", procv3.ProcessingMode_BUFFERED, []string{chat, "chat"}, `hello`, "json_not_object"},
		"two models, and a rule for one: 400":            {"chat>x", procv3.ProcessingMode_BUFFERED, []string{chat, "chat"}, `{"model":"chat","model":"b"}`, "model_duplicate"},
		"no model and a generic rule: 400":               {">x", procv3.ProcessingMode_BUFFERED, nil, `{}`, "model_missing"},
		"a form passes":                                  {">x", procv3.ProcessingMode_BUFFERED, []string{"content-type", "multipart/form-data"}, `hello`, `hello`},
		"a form whose model has a rule: 400":             {"chat>x", procv3.ProcessingMode_BUFFERED, []string{chat, "chat", "content-type", "multipart/form-data"}, `hello`, "rewrite_needs_json"},
		"a compressed body whose model has a rule: 400":  {"chat>x", procv3.ProcessingMode_BUFFERED, []string{chat, "chat", "content-encoding", "gzip"}, `hello`, "rewrite_needs_json"},
		"STREAMED, where the body cannot change: 500":    {"chat>x", procv3.ProcessingMode_STREAMED, nil, `{"model":"chat"}`, "rewrite_needs_body"},
		"NONE, where it is not seen: 500":                {"chat>x", procv3.ProcessingMode_NONE, []string{chat, "chat"}, "", "rewrite_needs_body"},
		"STREAMED, and no rule for the model: it passes": {"other>x", procv3.ProcessingMode_STREAMED, nil, `{"model":"chat"}`, `{"model":"chat"}`},
		"the target is loaded nowhere: 503":              {"chat>gone", procv3.ProcessingMode_BUFFERED, nil, `{"model":"chat"}`, "target_not_loaded"},
		"a target of the same name: nothing to change":   {"chat>chat", procv3.ProcessingMode_BUFFERED, nil, `{"model":"chat"}`, `{"model":"chat"}`},
		"a shorter name: the body shrinks by as much":    {"chat>x", procv3.ProcessingMode_FULL_DUPLEX_STREAMED, nil, `{"model":"chat"}`, `{"model":"x"}`},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, serving(0, "chat", "x", `a"b\c`))
			g.follow(tc.rules)
			g.mode(tc.mode, procv3.ProcessingMode_STREAMED)
			answers := g.request(nil, false, tc.headers...)
			if tc.mode != procv3.ProcessingMode_NONE {
				answers = append(answers, g.requestBody(tc.body)...)
			}
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

func TestARequestWithoutBodyIsNotRewritten(t *testing.T) {
	t.Parallel()
	g := newGateway(t, serving(0, "x"))
	g.follow(">x")
	if inHeader, _, _ := choice(g.request(nil, true, ":method", "GET")); inHeader != "10.0.0.1:8000" {
		t.Errorf("sent to %q", inHeader)
	}
}

func TestModelLabelsAreTheNamesThatAreServed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, serving(0, "base"))
	g.follow("chat>base")
	for _, name := range []string{"base", "chat", "made-up-1", "made-up-2"} {
		g.conv = extproc.NewConversation(g.handler.NewProcessor(), 1<<20, extproc.NewBudget(1<<30))
		g.mode(procv3.ProcessingMode_BUFFERED, procv3.ProcessingMode_STREAMED)
		g.request(nil, false, "x-gateway-model-name", name)
		g.requestBody(`{"model":"` + name + `"}`)
	}
	g.expect("infer_picker_requests_started_total", `
		infer_picker_requests_started_total{model="base",namespace="ns",pool="pool",target_model="base"} 1
		infer_picker_requests_started_total{model="chat",namespace="ns",pool="pool",target_model="base"} 1
		infer_picker_requests_started_total{model="other",namespace="ns",pool="pool",target_model="other"} 2`)
}
