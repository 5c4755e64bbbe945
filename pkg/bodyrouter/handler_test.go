package bodyrouter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

func newHandler(missing MissingModel) (*Handler, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	return &Handler{
		Missing: missing, MaxKeys: 1024, Metrics: NewMetrics(registry), Log: slog.New(slog.DiscardHandler),
		Bases: StaticBaseModels{"lora": "base", "base": "base"},
	}, registry
}

// route takes one request through a handler as the conversation would, and
// returns what was decided: what is set, or "pass", or the reject's status and
// reason.
func route(h *Handler, body string, headers ...string) string {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(headers); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: headers[i], RawValue: []byte(headers[i+1])})
	}
	in := extproc.NewRequest(m, nil)
	in.EndOfStream = body == "none"
	p := h.Open(context.Background())
	d, err := p.Headers(in)
	if err == nil && !d.Final {
		if !in.EndOfStream {
			err = p.Body([]byte(body))
		}
		if err == nil {
			d, err = p.End()
		}
	}
	var reject *extproc.Reject
	if errors.As(err, &reject) {
		p.Close(extproc.Outcome{Ending: extproc.Rejected, Reject: reject})
		return fmt.Sprintf("%d %s", reject.Status, reject.Reason)
	}
	p.Close(extproc.Outcome{})
	if !owns(d) {
		return fmt.Sprintf("a spoofed header survives: %+v", d)
	}
	if len(d.Set) == 0 {
		return "pass"
	}
	var set []string
	for _, s := range d.Set {
		set = append(set, strings.TrimPrefix(s.Name, "X-Gateway-")+"="+s.Value)
	}
	return strings.Join(set, " ")
}

// owns reports that every header of ours is set or removed, and the route is
// matched anew.
func owns(d extproc.Decision) bool {
	settled := map[string]bool{}
	for _, name := range d.Remove {
		settled[name] = true
	}
	for _, s := range d.Set {
		settled[s.Name] = true
	}
	for _, name := range header.Owned() {
		if !settled[name] {
			return false
		}
	}
	return d.ClearRouteCache && len(settled) == len(d.Remove)+len(d.Set)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	const chat = `{"messages":[],"model":"qwen"}`
	form := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n"
	tests := map[string]struct {
		body    string
		headers []string
		want    string
	}{
		"JSON routes by its model":                  {chat, []string{"content-type", "application/json"}, "Model-Name=qwen"},
		"a JSON type with a parameter, in capitals": {chat, []string{"content-type", "Application/JSON; charset=utf-8"}, "Model-Name=qwen"},
		"a type that ends in +json":                 {chat, []string{"content-type", "application/vnd.api+json"}, "Model-Name=qwen"},
		"no content type is taken for JSON":         {chat, nil, "Model-Name=qwen"},
		"two content types are taken for JSON":      {chat, []string{"content-type", "text/plain", "content-type", "text/plain"}, "Model-Name=qwen"},
		"an adapter names its base model":           {`{"model":"lora"}`, nil, "Model-Name=lora Base-Model-Name=base"},
		"a base model names itself":                 {`{"model":"base"}`, nil, "Model-Name=base Base-Model-Name=base"},
		"E27 a body without a model passes":         {`{"Model":"qwen"}`, nil, "pass"},
		"E28 an encoded JSON body is 415":           {chat, []string{"content-encoding", "gzip"}, "415 content_encoding"},
		"E28 two encodings are 415":                 {chat, []string{"content-encoding", "identity", "content-encoding", "gzip"}, "415 content_encoding"},
		"E28 identity is no encoding":               {chat, []string{"content-encoding", "Identity"}, "Model-Name=qwen"},
		"E29 a form routes by its field":            {form, []string{"content-type", "multipart/form-data; boundary=b"}, "Model-Name=whisper"},
		"E29 a form without a boundary is 400":      {form, []string{"content-type", "multipart/form-data"}, "400 form_syntax"},
		"E30 a form-urlencoded body passes":         {"model=qwen", []string{"content-type", "application/x-www-form-urlencoded"}, "pass"},
		"E30 text passes":                           {chat, []string{"content-type", "text/plain"}, "pass"},
		"E30 an encoded text passes":                {chat, []string{"content-type", "text/plain", "content-encoding", "gzip"}, "pass"},
		"E30 GET passes":                            {"none", []string{":method", "GET"}, "pass"},
		"E30 an empty body passes":                  {"", []string{"content-type", "application/json"}, "pass"},
		"E31 an upgrade passes at its headers":      {chat, []string{"connection", "keep-alive, Upgrade", "upgrade", "websocket"}, "pass"},
		"E31 CONNECT passes at its headers":         {chat, []string{":method", "CONNECT"}, "pass"},
		"an Upgrade header alone is no upgrade":     {chat, []string{"upgrade", "websocket"}, "Model-Name=qwen"},
		"E32 gRPC passes":                           {"\x00", []string{"content-type", "application/grpc"}, "pass"},
		"E20 an ambiguous body is 400":              {`{"model":"a","model":"b"}`, nil, "400 model_duplicate"},
		"a cut body is 400":                         {`{"model":"a"`, nil, "400 json_syntax"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := newHandler(PassMissing)
			if got := route(h, tt.body, tt.headers...); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestE34TheBodyAndItsLengthAreLeftAlone(t *testing.T) {
	t.Parallel()
	h, _ := newHandler(PassMissing)
	for _, body := range []string{`{"model":"lora"}`, `{"model":"qwen"}`, `{}`} {
		p := h.Open(context.Background())
		_, err := p.Headers(extproc.NewRequest(&corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "content-length", RawValue: []byte("16")}}}, nil))
		if err == nil {
			err = p.Body([]byte(body))
		}
		d, ended := p.End()
		if err != nil || ended != nil || d.Splice != nil {
			t.Errorf("%s: %v, %v, spliced %v", body, err, ended, d.Splice)
		}
		for _, set := range d.Set {
			if !slices.Contains(header.Owned(), set.Name) {
				t.Errorf("%s: sets %s", body, set.Name)
			}
		}
		for _, name := range d.Remove {
			if !slices.Contains(header.Owned(), name) {
				t.Errorf("%s: removes %s", body, name)
			}
		}
	}
}

func TestMissingModelReject(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ body, contentType, want string }{
		"JSON without a model is 400": {`{}`, "application/json", "400 model_missing"},
		"a form without a model is 400": {
			"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n--b--", "multipart/form-data; boundary=b", "400 model_missing",
		},
		"text passes":         {"x", "text/plain", "pass"},
		"no body passes":      {"none", "application/json", "pass"},
		"a model is routed":   {`{"model":"m"}`, "application/json", "Model-Name=m"},
		"zero bytes are none": {"", "application/json", "pass"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := newHandler(RejectMissing)
			if got := route(h, tt.body, "content-type", tt.contentType); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if _, err := ParseMissingModel("drop"); err == nil {
		t.Error("an unknown policy is accepted")
	}
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	t.Parallel()
	h, registry := newHandler(PassMissing)
	for i := range 1000 {
		route(h, fmt.Sprintf(`{"model":"invented-%d"}`, i))
	}
	route(h, `{"model":"lora"}`)
	route(h, `{}`)
	route(h, `{`)
	route(h, "none")
	want := `
# HELP infer_body_router_requests_total Requests by outcome, and by model where it is configured (else "other").
# TYPE infer_body_router_requests_total counter
infer_body_router_requests_total{model="",outcome="no_body"} 1
infer_body_router_requests_total{model="",outcome="no_model"} 1
infer_body_router_requests_total{model="",outcome="rejected"} 1
infer_body_router_requests_total{model="lora",outcome="routed"} 1
infer_body_router_requests_total{model="other",outcome="routed"} 1000
# HELP infer_body_router_rejections_total Requests answered by the body router, by status and reason.
# TYPE infer_body_router_rejections_total counter
infer_body_router_rejections_total{code="400",reason="json_syntax"} 1
`
	err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"infer_body_router_requests_total", "infer_body_router_rejections_total")
	if err != nil {
		t.Error(err)
	}
}

func TestManyNamesAreOneSeries(t *testing.T) {
	t.Parallel()
	oneSeries(t, 20_000)
}

func oneSeries(t *testing.T, names int) {
	t.Helper()
	h, _ := newHandler(PassMissing)
	for i := range names {
		r := &request{handler: h, outcome: outcomeRouted, model: "m" + strconv.Itoa(i)}
		r.Close(extproc.Outcome{})
	}
	if n := testutil.CollectAndCount(h.Metrics.requests); n != 1 {
		t.Errorf("%d series", n)
	}
}

func TestLogsHoldNoBodiesAndQuoteNames(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	h, _ := newHandler(PassMissing)
	h.Log = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	long := strings.Repeat("n", 253)
	for _, body := range []string{
		`{"model":"` + long + `","p":"CANARY"}`, `{"model":"a=\"b","p":"CANARY"}`, `{"CANARY":`, `{"model":"CANARY\n"}`,
		`{"model":"m","model":"CANARY"}`, `["CANARY"]`, "CANARY",
	} {
		route(h, body, "authorization", "Bearer CANARY", "content-type", "application/json")
		route(h, body, "authorization", "Bearer CANARY", "content-type", "multipart/form-data; boundary=CANARY")
	}
	got := text.String()
	if strings.Contains(got, "CANARY") || strings.Contains(got, long[:129]) {
		t.Errorf("a log line tells too much:\n%s", got)
	}
	for _, want := range []string{long[:128], `(253 bytes)`, `a=`, "reason=model_duplicate"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestAnAbortedRequestIsCounted(t *testing.T) {
	t.Parallel()
	h, registry := newHandler(PassMissing)
	p := h.Open(context.Background())
	if d, err := p.Headers(extproc.NewRequest(nil, nil)); err != nil || !owns(d) {
		t.Errorf("early answer %+v, %v", d, err)
	}
	p.Close(extproc.Outcome{Ending: extproc.Aborted})
	if n := testutil.CollectAndCount(h.Metrics.requests); n != 1 {
		t.Errorf("%d series", n)
	}
	if got := testutil.ToFloat64(h.Metrics.requests.WithLabelValues("aborted", "")); got != 1 {
		t.Errorf("aborted %v", got)
	}
	_ = registry
}
