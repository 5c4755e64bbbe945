package extproc_test

import (
	"slices"
	"strings"
	"testing"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

const (
	early = "headers -x-spoof"
	final = "headers +x-model=m -x-spoof clear envoy.lb/k=v"
)

func decide() *script {
	return &script{
		early: extproc.Decision{Remove: []string{"x-spoof"}},
		final: extproc.Decision{
			Set:             []extproc.Header{{Name: "x-model", Value: "m"}},
			Remove:          []string{"x-spoof"},
			Metadata:        []extproc.Metadatum{{Namespace: "envoy.lb", Key: "k", Value: "v"}},
			ClearRouteCache: true,
		},
	}
}

// rule is a conversation whose name states a rule of the protocol.
type rule struct {
	in   []in
	want []string
}

func checkRules(t *testing.T, rules map[string]rule) {
	t.Helper()
	for name, tt := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := extproc.NewBudget(1 << 30)
			p := decide()
			c := extproc.NewConversation(p, 1<<20, budget)
			got, err := converse(c, tt.in...)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
			c.Close(extproc.Finished)
			c.Close(extproc.Aborted)
			if budget.Used() != 0 || len(p.ended) != 1 {
				t.Errorf("after Close: %d bytes reserved, closed %v", budget.Used(), p.ended)
			}
		})
	}
}

func TestWhoAnswersAtTheHeaders(t *testing.T) {
	t.Parallel()
	checkRules(t, map[string]rule{
		"BUFFERED answers headers before the body, and echoes no body": {
			[]in{buffered(headers(false)), body("{}", true)},
			[]string{early, "body +x-model=m -x-spoof clear envoy.lb/k=v"},
		},
		"BUFFERED with trailers: the one body message has no end_of_stream": {
			[]in{buffered(headers(false)), body("{}", false)},
			[]string{early, "body +x-model=m -x-spoof clear envoy.lb/k=v"},
		},
		"BUFFERED with trailer mode SEND answers the trailers too": {
			[]in{buffered(headers(false)), body("{}", false), trailers()},
			[]string{early, "body +x-model=m -x-spoof clear envoy.lb/k=v", "trailers"},
		},
		"BUFFERED with trailers and no body has only the early answer": {
			[]in{buffered(headers(false)), trailers()},
			[]string{early, "trailers envoy.lb/k=v"},
		},
		"a request without a body gets the final decision at the headers": {
			[]in{buffered(headers(true))}, []string{final},
		},
		"NONE gets the final decision at the headers": {
			[]in{mode(procv3.ProcessingMode_NONE, headers(false))}, []string{final},
		},
		"STREAMED sends headers early and lets each chunk pass": {
			[]in{mode(procv3.ProcessingMode_STREAMED, headers(false)), body("a", false), body("b", true)},
			[]string{early, "body", "body envoy.lb/k=v"},
		},
		"BUFFERED_PARTIAL is decided on its one message": {
			[]in{mode(procv3.ProcessingMode_BUFFERED_PARTIAL, headers(false)), body("a", false)},
			[]string{early, "body +x-model=m -x-spoof clear envoy.lb/k=v"},
		},
	})
}

func TestFullDuplex(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 130_000)
	kib8 := strings.Repeat("y", 8<<10)
	checkRules(t, map[string]rule{
		"full duplex without a body gets the final decision at the headers": {
			[]in{duplex(headers(true))}, []string{final},
		},
		"full duplex says nothing before the request is known": {
			[]in{duplex(headers(false)), body(kib8, false), body(kib8, false)}, nil,
		},
		"full duplex answers headers, then the body as received": {
			[]in{duplex(headers(false)), body(kib8, false), body("tail", true)},
			[]string{final, `body "8192B"`, `body "tail" end`},
		},
		"a full-duplex body may end with an empty message (HTTP/1.1)": {
			[]in{duplex(headers(false)), body("{}", false), body("", true)},
			[]string{final, `body "{}" end`},
		},
		"an empty full-duplex body is one empty last piece": {
			[]in{duplex(headers(false)), body("", true)}, []string{final, `body "" end`},
		},
		"full-duplex pieces are at most 62 kB": {
			[]in{duplex(headers(false)), body(big, true)},
			[]string{final, `body "62000B"`, `body "62000B"`, `body "6000B" end`},
		},
		"small slices are joined": {
			[]in{duplex(headers(false)), body("a", false), body("b", false), body("c", false), body("d", true)},
			[]string{final, `body "a"`, `body "bcd" end`},
		},
		"trailers finish a full-duplex body, and are answered after it": {
			[]in{duplex(headers(false)), body("{}", false), trailers()},
			[]string{final, `body "{}"`, "trailers"},
		},
		"trailers finish an empty full-duplex body": {
			[]in{duplex(headers(false)), trailers()}, []string{final, "trailers"},
		},
		"repeated trailers are answered once": {
			[]in{duplex(headers(false)), trailers(), trailers()}, []string{final, "trailers"},
		},
		"a repeated last chunk is ignored (envoy#46237)": {
			[]in{duplex(headers(false)), body("{}", true), body("{}", true)},
			[]string{final, `body "{}" end`},
		},
		"without protocol_config the request is decided at its end": {
			[]in{headers(false), body("{}", true)}, []string{final, `body "{}" end`},
		},
	})
}

func TestResponsesAndOddities(t *testing.T) {
	t.Parallel()
	checkRules(t, map[string]rule{
		"responses pass with empty answers": {
			[]in{buffered(headers(true)), responseHeaders(false), responseBody("a", false), responseBody("b", true), responseTrailers()},
			[]string{final, "response headers", "response body", "response body", "response trailers"},
		},
		"full-duplex responses are echoed in order": {
			[]in{duplex(headers(true)), responseHeaders(false), responseBody("a", false), responseBody("", false), responseBody("", true)},
			[]string{final, "response headers", `response body "a"`, `response body "" end`},
		},
		"a repeated last response chunk is ignored": {
			[]in{duplex(headers(true)), responseBody("a", true), responseBody("a", true)},
			[]string{final, `response body "a" end`},
		},
		"a response may start before the request ended": {
			[]in{duplex(headers(false)), responseHeaders(true), body("{}", true)},
			[]string{"response headers", final, `body "{}" end`},
		},
		"a response may come on a stream that saw no request": {
			[]in{buffered(responseHeaders(true))}, []string{"response headers"},
		},
		"headers without a header map are a request": {
			[]in{buffered(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{}}), body("", true)},
			[]string{early, "body +x-model=m -x-spoof clear envoy.lb/k=v"},
		},
		"unknown messages are ignored": {
			[]in{buffered(&extprocv3.ProcessingRequest{}), headers(true), nil}, []string{final},
		},
		"observability mode is never answered": {
			[]in{{ObservabilityMode: true, Request: headers(true).GetRequest()}, responseHeaders(true)}, nil,
		},
	})
}

func TestFinalAtTheHeaders(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   []in
		want []string
	}{
		"full duplex answers at once and passes each slice": {
			[]in{duplex(headers(false)), body("a", false), body("", false), body("", true)},
			[]string{early, `body "a"`, `body "" end`},
		},
		"a passing full-duplex body may end with trailers": {
			[]in{duplex(headers(false)), body("a", false), trailers()}, []string{early, `body "a"`, "trailers"},
		},
		"BUFFERED lets the body pass": {[]in{buffered(headers(false)), body("a", true)}, []string{early, "body"}},
		"no body, no more":            {[]in{duplex(headers(true))}, []string{early}},
		"a repeated last chunk is ignored": {
			[]in{duplex(headers(false)), body("a", true), body("a", true)}, []string{early, `body "a" end`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := decide()
			p.early.Final = true
			c := extproc.NewConversation(p, 1, extproc.NewBudget(0))
			got, err := converse(c, tt.in...)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
			if !slices.Equal(p.calls, []string{"Headers"}) || p.got.Len() > 0 {
				t.Errorf("asked %q and showed %d bytes", p.calls, p.got.Len())
			}
			if waiting, _ := c.Awaiting(); waiting {
				t.Error("a passing body is timed")
			}
		})
	}
}

func TestClosable(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   []in
		want bool
	}{
		"nothing heard: the request would pass undecided":       {nil, false},
		"BUFFERED, body to come":                                {[]in{buffered(headers(false))}, false},
		"BUFFERED, no body message but a response":              {[]in{buffered(headers(false)), responseHeaders(false)}, true},
		"BUFFERED, answered":                                    {[]in{buffered(headers(false)), body("x", true)}, true},
		"a STREAMED response is running":                        {[]in{buffered(headers(true)), responseHeaders(false), responseBody("x", false)}, true},
		"full duplex, body to come":                             {[]in{duplex(headers(false)), body("x", false)}, false},
		"a full-duplex response is to come":                     {[]in{duplex(headers(true))}, false},
		"a full-duplex response is running":                     {[]in{duplex(headers(true)), responseHeaders(false)}, false},
		"a full-duplex response has ended":                      {[]in{duplex(headers(true)), responseHeaders(false), responseBody("x", true)}, true},
		"no protocol_config, answered: maybe no response phase": {[]in{headers(true)}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := extproc.NewConversation(decide(), 10, extproc.NewBudget(20))
			if _, err := converse(c, tt.in...); err != nil {
				t.Fatal(err)
			}
			if c.Closable() != tt.want {
				t.Errorf("Closable() = %v, want %v", c.Closable(), tt.want)
			}
		})
	}
}

func TestOutOfOrderIsInvalidArgument(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   []in
		want codes.Code
	}{
		"a body before the headers":       {[]in{body("x", true)}, codes.InvalidArgument},
		"trailers before the headers":     {[]in{trailers()}, codes.InvalidArgument},
		"a second request headers":        {[]in{headers(true), headers(true)}, codes.InvalidArgument},
		"a second response headers":       {[]in{headers(true), responseHeaders(true), responseHeaders(true)}, codes.InvalidArgument},
		"body mode GRPC is not supported": {[]in{mode(procv3.ProcessingMode_GRPC, headers(false))}, codes.Unimplemented},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := converse(extproc.NewConversation(decide(), 10, extproc.NewBudget(10)), tt.in...)
			if status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReject(t *testing.T) {
	t.Parallel()
	teapot := &extproc.Reject{Status: 418, Reason: "teapot", Message: `a "pot"`}
	short := duplex(headers(false, "content-length", "1"))
	length := func(n string) in { return buffered(headers(false, "content-length", n)) }
	tests := map[string]struct {
		failAt string
		in     []in
		want   []string
		reason string
	}{
		"a reject at the headers replaces their answer":       {"Headers", []in{short}, []string{"immediate 418 teapot"}, "teapot"},
		"a reject in the body ends a full-duplex request":     {"Body", []in{short, body("x", false), body("y", true)}, []string{"immediate 418 teapot"}, "teapot"},
		"a reject at the end replaces the held request":       {"End", []in{short, body("x", true)}, []string{"immediate 418 teapot"}, "teapot"},
		"nothing is answered after a reject":                  {"Headers", []in{short, body("x", true), responseHeaders(true)}, []string{"immediate 418 teapot"}, "teapot"},
		"a content-length over the limit is 413 at once":      {"", []in{length("101")}, []string{"immediate 413 body_too_large"}, "body_too_large"},
		"a body over the limit is 413":                        {"", []in{short, body(strings.Repeat("x", 101), false)}, []string{"immediate 413 body_too_large"}, "body_too_large"},
		"a budget without room is 503":                        {"", []in{length("51")}, []string{"immediate 503 over_capacity"}, "over_capacity"},
		"an unknown length reserves the limit":                {"", []in{duplex(headers(false))}, []string{"immediate 503 over_capacity"}, "over_capacity"},
		"a content-length that lied asks the budget again":    {"", []in{length("1"), body(strings.Repeat("x", 51), true)}, []string{early, "immediate 503 over_capacity"}, "over_capacity"},
		"a repeated content-length is no length":              {"", []in{buffered(headers(false, "content-length", "1", "content-length", "1"))}, []string{"immediate 503 over_capacity"}, "over_capacity"},
		"STREAMED bodies need no budget":                      {"", []in{mode(procv3.ProcessingMode_STREAMED, headers(false)), body(strings.Repeat("x", 500), true)}, []string{early, "body envoy.lb/k=v"}, ""},
		"a request without a body needs no budget":            {"", []in{duplex(headers(true))}, []string{final}, ""},
		"a body in one message is held twice: 503 above half": {"", []in{length("26")}, []string{"immediate 503 over_capacity"}, "over_capacity"},
		"a body in one message at half the budget is let in":  {"", []in{length("25"), body(strings.Repeat("x", 25), true)}, []string{early, "body +x-model=m -x-spoof clear envoy.lb/k=v"}, ""},
		"a content-length in range reserves no more than it":  {"", []in{duplex(headers(false, "content-length", "50")), body(strings.Repeat("x", 50), true)}, []string{final, "body \"50B\" end"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := decide()
			p.failAt, p.fail = tt.failAt, teapot
			budget := extproc.NewBudget(50)
			limit := int64(100)
			c := extproc.NewConversation(p, limit, budget)
			got, err := converse(c, tt.in...)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v\nwant %q", got, err, tt.want)
			}
			if rejected := tt.reason != ""; c.Done() != rejected {
				t.Errorf("Done() = %v", c.Done())
			}
			if budget.Used() != 0 {
				t.Errorf("%d bytes stay reserved", budget.Used())
			}
			c.Close(extproc.Finished)
			if r := p.ended[0].Reject; (r == nil) != (tt.reason == "") || (r != nil && r.Reason != tt.reason) {
				t.Errorf("closed with %+v", p.ended[0])
			}
		})
	}
}

func TestOtherErrorsEndTheStream(t *testing.T) {
	t.Parallel()
	p := decide()
	p.failAt, p.fail = "End", errPlain
	got, err := converse(extproc.NewConversation(p, 10, extproc.NewBudget(10)), headers(true))
	if err != errPlain || got != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnswerNow(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		first    in
		now, end bool
	}{
		"BUFFERED headers are answered now":   {buffered(headers(false)), true, false},
		"full-duplex headers wait":            {duplex(headers(false)), false, false},
		"without a body End is asked at once": {buffered(headers(true)), false, true},
		"NONE shows no body":                  {mode(procv3.ProcessingMode_NONE, headers(false)), false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := decide()
			if _, err := extproc.NewConversation(p, 10, extproc.NewBudget(10)).Receive(tt.first); err != nil {
				t.Fatal(err)
			}
			if p.open.AnswerNow != tt.now || p.open.EndOfStream != tt.end {
				t.Errorf("AnswerNow %v, EndOfStream %v", p.open.AnswerNow, p.open.EndOfStream)
			}
		})
	}
}
