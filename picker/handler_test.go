package picker

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/structpb"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// gateway plays the gateway's side of one stream.
type gateway struct {
	t        *testing.T
	clock    *clocktesting.FakeClock
	picker   *Picker
	handler  *Handler
	registry *prometheus.Registry
	conv     *extproc.Conversation
	config   *extprocv3.ProtocolConfiguration
}

func newGateway(t *testing.T, endpoints ...Endpoint) *gateway {
	t.Helper()
	p, clock := seeded(endpoints...)
	g := &gateway{t: t, clock: clock, picker: p, registry: prometheus.NewRegistry()}
	h := &Handler{
		Picker: p, Metrics: NewMetrics(g.registry, "ns", "pool", 0), Clock: clock,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	g.handler = h
	g.conv = extproc.NewConversation(h.NewProcessor(), 1<<20, extproc.NewBudget(1<<30))
	g.mode(procv3.ProcessingMode_BUFFERED, procv3.ProcessingMode_STREAMED)
	return g
}

func (g *gateway) mode(request, response procv3.ProcessingMode_BodySendMode) {
	g.config = &extprocv3.ProtocolConfiguration{RequestBodyMode: request, ResponseBodyMode: response}
}

// send returns the answers to one message.
func (g *gateway) send(m *extprocv3.ProcessingRequest) []*extprocv3.ProcessingResponse {
	g.t.Helper()
	m.ProtocolConfig, g.config = g.config, nil
	out, err := g.conv.Receive(m)
	if err != nil {
		g.t.Fatal(err)
	}
	out = append([]*extprocv3.ProcessingResponse(nil), out...)
	g.conv.Sent()
	return out
}

func headerMap(pairs ...string) *corev3.HeaderMap {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return m
}

func metadata(namespace, key string, value *structpb.Value) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		namespace: {Fields: map[string]*structpb.Value{key: value}},
	}}
}

func (g *gateway) request(m *corev3.Metadata, end bool, headers ...string) []*extprocv3.ProcessingResponse {
	g.t.Helper()
	return g.send(&extprocv3.ProcessingRequest{
		MetadataContext: m,
		Request: &extprocv3.ProcessingRequest_RequestHeaders{
			RequestHeaders: &extprocv3.HttpHeaders{Headers: headerMap(headers...), EndOfStream: end},
		},
	})
}

func (g *gateway) requestBody(body string) []*extprocv3.ProcessingResponse {
	g.t.Helper()
	return g.send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(body), EndOfStream: true},
	}})
}

func (g *gateway) responseHeaders(m *corev3.Metadata, end bool, headers ...string) {
	g.t.Helper()
	g.send(&extprocv3.ProcessingRequest{
		MetadataContext: m,
		Request: &extprocv3.ProcessingRequest_ResponseHeaders{
			ResponseHeaders: &extprocv3.HttpHeaders{Headers: headerMap(headers...), EndOfStream: end},
		},
	})
}

func (g *gateway) responseBody(body string, end bool) {
	g.t.Helper()
	g.send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(body), EndOfStream: end},
	}})
}

// choice reads what the answers ask for: the header's value and the metadata's.
func choice(answers []*extprocv3.ProcessingResponse) (inHeader, inMetadata string, removed []string) {
	for _, a := range answers {
		for _, common := range []*extprocv3.CommonResponse{a.GetRequestHeaders().GetResponse(), a.GetRequestBody().GetResponse()} {
			removed = append(removed, common.GetHeaderMutation().GetRemoveHeaders()...)
			for _, h := range common.GetHeaderMutation().GetSetHeaders() {
				if h.GetHeader().GetKey() == "x-gateway-destination-endpoint" {
					inHeader = string(h.GetHeader().GetRawValue())
				}
			}
		}
		lb := a.GetDynamicMetadata().GetFields()["envoy.lb"].GetStructValue()
		if v := lb.GetFields()["x-gateway-destination-endpoint"].GetStringValue(); v != "" {
			inMetadata = v
		}
	}
	return inHeader, inMetadata, removed
}

const subsetNamespace, subsetKey = "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset"

func TestChoiceIsAnsweredAsTheProtocolSays(t *testing.T) {
	t.Parallel()
	one, worst := loaded(0, 0, 0, 0), loaded(1, 50, 50, 0.9)
	v6 := NewEndpoint(netip.MustParseAddrPort("[2001:db8::1]:8000"))
	hint := func(v *structpb.Value) *corev3.Metadata { return metadata(subsetNamespace, subsetKey, v) }
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		metadata  *corev3.Metadata
		headers   []string
		want      string
	}{
		"header and metadata have one value":           {[]Endpoint{one}, nil, nil, "10.0.0.1:8000"},
		"IPv6 is written in brackets":                  {[]Endpoint{v6}, nil, nil, "[2001:db8::1]:8000"},
		"a subset of one, the worst":                   {[]Endpoint{one, worst}, hint(list("10.0.0.2:8000")), nil, "10.0.0.2:8000"},
		"a subset as a string":                         {[]Endpoint{one, worst}, hint(structpb.NewStringValue("10.0.0.2:8000")), nil, "10.0.0.2:8000"},
		"a client's subset header restricts nothing":   {[]Endpoint{one}, nil, []string{subsetKey, "10.0.0.2:8000"}, "10.0.0.1:8000"},
		"a client's choice of endpoint is overwritten": {[]Endpoint{one}, nil, []string{"x-gateway-destination-endpoint", "6.6.6.6:6"}, "10.0.0.1:8000"},
		"a request without a header map is served":     {[]Endpoint{one}, nil, nil, "10.0.0.1:8000"},
	} {
		for _, end := range []bool{true, false} {
			t.Run(rule+map[bool]string{true: ", headers only", false: ", body follows"}[end], func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, tc.endpoints...)
				inHeader, inMetadata, _ := choice(g.request(tc.metadata, end, tc.headers...))
				if inHeader != tc.want || inMetadata != tc.want {
					t.Errorf("header %q, metadata %q", inHeader, inMetadata)
				}
			})
		}
	}
}

func TestFullDuplexAnswersWhenTheRequestIsKnown(t *testing.T) {
	t.Parallel()
	g := newGateway(t, loaded(0, 0, 0, 0))
	g.mode(procv3.ProcessingMode_FULL_DUPLEX_STREAMED, procv3.ProcessingMode_FULL_DUPLEX_STREAMED)
	if out := g.request(nil, false); len(out) != 0 {
		t.Fatalf("answered before the body: %v", out)
	}
	answers := g.requestBody(`{"model":"m"}`)
	if inHeader, inMetadata, _ := choice(answers); inHeader != "10.0.0.1:8000" || inMetadata != inHeader {
		t.Errorf("header %q, metadata %q", inHeader, inMetadata)
	}
	body := answers[len(answers)-1].GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
	if string(body.GetBody()) != `{"model":"m"}` || !body.GetEndOfStream() {
		t.Errorf("body %q", body.GetBody())
	}
}

func TestClientCopiesOfRoutingHeadersAreRemoved(t *testing.T) {
	t.Parallel()
	g := newGateway(t, loaded(0, 0, 0, 0))
	_, _, removed := choice(g.request(nil, true,
		"X-Gateway-Destination-Endpoint-Served", "a", subsetKey, "b", "x-gateway-model-name", "kept"))
	if got := strings.Join(removed, " "); got != "x-gateway-destination-endpoint-served "+subsetKey {
		t.Errorf("removed %q", got)
	}
}

func TestRefusalIs503WithAReasonAndCountsAsStartedAndFinished(t *testing.T) {
	t.Parallel()
	notReady := endpoint(1)
	notReady.Ready = false
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		hint      *structpb.Value
		reason    string
	}{
		"empty pool":              {nil, nil, "no_endpoints"},
		"none ready":              {[]Endpoint{notReady}, nil, "none_ready"},
		"empty subset":            {[]Endpoint{endpoint(0)}, list(), "not_in_subset"},
		"subset of unknown":       {[]Endpoint{endpoint(0)}, list("192.168.1.99:8000"), "not_in_subset"},
		"subset with wrong port":  {[]Endpoint{endpoint(0)}, list("10.0.0.1:8001"), "not_in_subset"},
		"subset of another shape": {[]Endpoint{endpoint(0)}, structpb.NewBoolValue(true), "not_in_subset"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, tc.endpoints...)
			answers := g.request(metadata(subsetNamespace, subsetKey, tc.hint), false, "x-gateway-model-name", "m")
			answer := answers[len(answers)-1].GetImmediateResponse()
			if answer.GetStatus().GetCode() != 503 || answer.GetDetails() != tc.reason {
				t.Errorf("got %v %s", answer.GetStatus(), answer.GetDetails())
			}
			g.conv.Close(extproc.Finished)
			g.expect("infer_picker_requests_started_total", `
				infer_picker_requests_started_total{model="m",namespace="ns",pool="pool",target_model="m"} 1`)
			g.expect("infer_picker_requests_finished_total", `
				infer_picker_requests_finished_total{code="503",model="m",namespace="ns",pool="pool",target_model="m"} 1`)
			g.expect("infer_picker_requests_running", `
				infer_picker_requests_running{model="m",namespace="ns",pool="pool",target_model="m"} 0`)
		})
	}
}

// expect compares a family of the metrics page, help and type left aside.
func (g *gateway) expect(family, samples string) {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == family {
			kind := strings.ToLower(f.GetType().String())
			page := "# HELP " + family + " " + f.GetHelp() + "\n# TYPE " + family + " " + kind + "\n"
			for line := range strings.Lines(strings.TrimSpace(samples)) {
				page += strings.TrimSpace(line) + "\n"
			}
			if err := testutil.GatherAndCompare(g.registry, strings.NewReader(page), family); err != nil {
				g.t.Error(err)
			}
			return
		}
	}
	if strings.TrimSpace(samples) != "" {
		g.t.Errorf("%s is not on the page", family)
	}
}

func TestEachEndingHasItsCode(t *testing.T) {
	t.Parallel()
	ok := []string{":status", "200", "content-type", "application/json"}
	for rule, tc := range map[string]struct {
		play   func(*gateway)
		ending extproc.Ending
		code   string
	}{
		"a whole answer has its status":               {func(g *gateway) { g.responseHeaders(nil, false, ok...); g.responseBody("x", true) }, extproc.Finished, "200"},
		"an answer of headers only is whole":          {func(g *gateway) { g.responseHeaders(nil, true, ":status", "204") }, extproc.Finished, "204"},
		"an error has its status":                     {func(g *gateway) { g.responseHeaders(nil, false, ":status", "500"); g.responseBody("x", true) }, extproc.Finished, "500"},
		"no response headers: none":                   {func(*gateway) {}, extproc.Finished, "none"},
		"the gateway went away: none":                 {func(*gateway) {}, extproc.Aborted, "none"},
		"over before the first byte: cut":             {func(g *gateway) { g.responseHeaders(nil, false, ok...) }, extproc.Finished, "cut"},
		"over inside the body: cut":                   {func(g *gateway) { g.responseHeaders(nil, false, ok...); g.responseBody("x", false) }, extproc.Finished, "cut"},
		"we left before the answer: drained":          {func(*gateway) {}, extproc.Drained, "drained"},
		"we left inside the answer: its status":       {func(g *gateway) { g.responseHeaders(nil, false, ok...); g.responseBody("x", false) }, extproc.Drained, "200"},
		"a status that does not exist bounds to none": {func(g *gateway) { g.responseHeaders(nil, true, ":status", "ok!") }, extproc.Finished, "none"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			e := loaded(0, 0, 0, 0)
			g := newGateway(t, e)
			g.request(nil, true, "x-gateway-model-name", "m")
			if e.Live.InFlight() != 1 {
				t.Errorf("%d in flight after the pick", e.Live.InFlight())
			}
			g.expect("infer_picker_requests_running", `
				infer_picker_requests_running{model="m",namespace="ns",pool="pool",target_model="m"} 1`)
			tc.play(g)
			g.conv.Close(tc.ending)
			if e.Live.InFlight() != 0 {
				t.Errorf("%d in flight after the end", e.Live.InFlight())
			}
			g.expect("infer_picker_requests_finished_total", `
				infer_picker_requests_finished_total{code="`+tc.code+`",model="m",namespace="ns",pool="pool",target_model="m"} 1`)
			g.expect("infer_picker_requests_running", `
				infer_picker_requests_running{model="m",namespace="ns",pool="pool",target_model="m"} 0`)
		})
	}
}

func TestAStreamWithoutARequestCountsNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, loaded(0, 0, 0, 0))
	g.conv.Close(extproc.Finished)
	g.expect("infer_picker_requests_started_total", "")
	g.expect("infer_picker_requests_finished_total", "")
}

// histogram returns the count and the sum of a histogram's series that has the
// label value.
func (g *gateway) histogram(family, label, value string) (count uint64, sum float64) {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != family {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					count, sum = m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
				}
			}
		}
	}
	return count, sum
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		status, contentType string
		whole               bool
		streaming           string
		ttft, duration      uint64
	}{
		"a streamed answer":                      {"200", "text/event-stream; charset=utf-8", true, "true", 1, 1},
		"an answer in one piece":                 {"200", "application/json", true, "false", 1, 1},
		"an answer that was cut has a TTFT only": {"200", "text/event-stream", false, "true", 1, 0},
		"an error says nothing about speed":      {"500", "application/json", true, "false", 0, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0))
			g.request(nil, false, "x-gateway-model-name", "m")
			g.clock.Step(100 * time.Millisecond)
			g.requestBody("{}")
			g.clock.Step(400 * time.Millisecond)
			g.responseHeaders(nil, false, ":status", tc.status, "content-type", tc.contentType)
			g.responseBody("", false) // no byte yet
			g.clock.Step(500 * time.Millisecond)
			g.responseBody("first", false)
			g.clock.Step(time.Second)
			g.responseBody("second", false)
			g.responseBody("", tc.whole)
			g.conv.Close(extproc.Finished)
			if n, sum := g.histogram("infer_picker_ttft_seconds", "streaming", tc.streaming); n != tc.ttft || sum != float64(tc.ttft) {
				t.Errorf("ttft: %d of %v s", n, sum)
			}
			if n, sum := g.histogram("infer_picker_request_duration_seconds", "model", "m"); n != tc.duration || sum != 2*float64(tc.duration) {
				t.Errorf("duration: %d of %v s", n, sum)
			}
			g.expect("infer_picker_response_messages_total", `
				infer_picker_response_messages_total{model="m",namespace="ns",pool="pool",target_model="m"} 2`)
		})
	}
}

func TestServedEndpointIsCountedAgainstTheAskedOne(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		served string
		want   string
	}{
		"the asked one":                 {"10.0.0.1:8000", "0"},
		"another one":                   {"10.0.0.2:8000", "1"},
		"another port is another one":   {"10.0.0.1:8001", "1"},
		"a gateway that does not tell":  {"", "0"},
		"what cannot be read is nobody": {"somewhere", "0"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0))
			g.request(nil, true)
			g.responseHeaders(metadata("envoy.lb", "x-gateway-destination-endpoint-served", structpb.NewStringValue(tc.served)), true, ":status", "200")
			g.conv.Close(extproc.Finished)
			g.expect("infer_picker_served_mismatch_total", `
				infer_picker_served_mismatch_total{namespace="ns",pool="pool"} `+tc.want)
			g.expect("infer_picker_requests_started_total", `
				infer_picker_requests_started_total{model="unknown",namespace="ns",pool="pool",target_model="unknown"} 1`)
		})
	}
}

// counter returns the series of a family that has the label value.
func (g *gateway) counter(family, label, value string) float64 {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == family && l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	g.t.Fatalf("no %s with %s=%s", family, label, value)
	return 0
}

func TestPicksAreCountedByReason(t *testing.T) {
	t.Parallel()
	g := newGateway(t, loaded(0, 0, 0, 0))
	g.request(nil, true)
	for _, reason := range Reasons() {
		want := map[Reason]float64{OnlyOne: 1}[reason]
		if got := g.counter("infer_picker_picks_total", "reason", string(reason)); got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
}
