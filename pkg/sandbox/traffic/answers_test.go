package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// hijacked gives the handler the raw connection.
func hijacked(f func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotImplemented) // the row's code then differs
			return
		}
		f(conn)
		_ = conn.Close()
	}
}

func writes(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text) }
}

func TestWhatAnAnswerCountsAs(t *testing.T) {
	t.Parallel()
	const event = `data: {"model":"qwen","choices":[]}` + "\n\n"
	for name, tc := range map[string]struct {
		stream  bool
		handler http.HandlerFunc
		code    string
		kind    string
	}{
		"a whole JSON answer is ok":             {false, writes(`{"model":"qwen"}`), "200", ""},
		"an answer that is no JSON failed":      {false, writes("<html>"), "200", kindMalformed},
		"a long answer is ok without its model": {false, writes(`{"model":"` + strings.Repeat("x", maxAnswer) + `"}`), "200", ""},
		"a stream with DONE is ok":              {true, writes(event + "data: [DONE]\n\n"), "200", ""},
		"an event longer than the buffer is ok": {true, writes("data: " + strings.Repeat("x", 3*maxEvent) + "\n\ndata: [DONE]\n\n"), "200", ""},
		"a stream without DONE is truncated":    {true, writes(event), "200", kindTruncated},
		"an error event failed":                 {true, writes(event + `data: {"error":{"code":500}}` + "\n\ndata: [DONE]\n\n"), "200", kindEvent},
		"503 failed by its code alone": {false, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}, "503", ""},
		"a redirect is not followed": {false, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://203.0.113.1/", http.StatusTemporaryRedirect)
		}, "307", ""},
		"a connection closed without an answer": {false, hijacked(func(net.Conn) {}), "", kindClosed},
		"a connection reset": {false, hijacked(func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
		}), "", kindReset},
		"a body cut short": {false, hijacked(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
		}), "200", kindTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tc.handler)
			defer server.Close()
			sum := oneRequest(t, server.URL, tc.stream)
			ok := tc.code == "200" && tc.kind == ""
			if (sum.OK == 1) != ok || (sum.Failed == 1) == ok {
				t.Errorf("ok %d, failed %d", sum.OK, sum.Failed)
			}
			if tc.code != "" && sum.Codes[tc.code] != 1 || tc.code == "" && len(sum.Codes) != 0 {
				t.Errorf("codes %v, want %q", sum.Codes, tc.code)
			}
			if tc.kind != "" && sum.Errors[tc.kind] != 1 || tc.kind == "" && len(sum.Errors) != 0 {
				t.Errorf("errors %v, want %q", sum.Errors, tc.kind)
			}
		})
	}
}

func TestNobodyListeningIsConnectionRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if sum := oneRequest(t, server.URL, false); sum.Errors[kindRefused] != 1 {
		t.Errorf("errors %v", sum.Errors)
	}
}

// oneRequest sends the first arrival at once and tallies it.
func oneRequest(t *testing.T, url string, stream bool) Summary {
	t.Helper()
	o := options()
	o.URL, o.StreamingShare = url, 0
	if stream {
		o.StreamingShare = 1
	}
	o, err := o.prepare()
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{o: o, client: client(o), record: newRecord(1)}
	defer d.client.CloseIdleConnections()
	d.record.begin(1)
	d.record.end(d.do(t.Context(), newArrivals(o).next()))
	return d.record.finish(time.Second)
}

func TestHeadersReachTheServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"model":"%s %s %s"}`, r.Host, r.Header.Get("X-Team"), r.URL.Path)
	}))
	defer server.Close()
	o := options()
	o.URL, o.Host, o.Header = server.URL, "example.com", http.Header{"X-Team": {"a"}}
	o, err := o.prepare()
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{o: o, client: client(o)}
	defer d.client.CloseIdleConnections()
	a := arrival{model: "m", prompt: 1, output: 1}
	if out := d.do(t.Context(), a); out.model != "example.com a /v1/chat/completions" {
		t.Errorf("the server saw %q", out.model)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"a URL without a scheme":       func(o *Options) { o.URL = "127.0.0.1:80" },
		"an address off the loopback":  func(o *Options) { o.URL = "http://203.0.113.1" },
		"a name that is not localhost": func(o *Options) { o.URL = "http://example.com" },
		"no rate":                      func(o *Options) { o.Rate = 0 },
		"a share above 1":              func(o *Options) { o.StreamingShare = 1.5 },
		"no model":                     func(o *Options) { o.Mix = nil },
		"a weight of 0":                func(o *Options) { o.Mix[0].Weight = 0 },
		"a range upside down":          func(o *Options) { o.PromptTokens = Range{5, 4} },
		"a negative duration":          func(o *Options) { o.Duration = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options()
			change(&o)
			if _, err := Run(t.Context(), o, nil); err == nil || hint.Of(err) == "" {
				t.Errorf("error %v, hint %q: want both", err, hint.Of(err))
			}
		})
	}
	for name, url := range map[string]string{
		"IPv4": "http://127.200.1.1:80", "IPv6": "http://[::1]:80", "localhost": "http://localhost:1",
	} {
		if _, err := target(url, false); err != nil {
			t.Errorf("%s loopback refused: %v", name, err)
		}
	}
	if _, err := target("http://203.0.113.1", true); err != nil {
		t.Errorf("AllowRemote refused: %v", err)
	}
}

func TestPercentilesAreNearestRankAndBounded(t *testing.T) {
	t.Parallel()
	r := newReservoir(1)
	for i := range 100 {
		r.add(time.Duration(100-i) * time.Second)
	}
	if p := r.percentiles(); p != (Percentiles{Count: 100, P50: 50, P90: 90, P95: 95, P99: 99, Max: 100}) {
		t.Errorf("1 to 100: %+v", p)
	}
	for i := range 3 * reservoirSize {
		r.add(time.Duration(i%1000+1) * time.Millisecond)
	}
	if p := r.percentiles(); len(r.samples) != reservoirSize || p.Count != 3*reservoirSize+100 || p.P50 < .48 || p.P50 > .52 {
		t.Errorf("a full reservoir: %d samples, %+v", len(r.samples), p)
	}
}

func TestDistinctAnswersAreBounded(t *testing.T) {
	t.Parallel()
	r := newRecord(1)
	for i := range 2 * maxAnswers {
		r.begin(1)
		r.end(outcome{code: 200, model: fmt.Sprint(i)})
	}
	if got := len(r.finish(time.Second).Answers); got != maxAnswers+1 {
		t.Errorf("%d distinct answers, want %d and other", got, maxAnswers)
	}
}

func TestSummaryReads(t *testing.T) {
	t.Parallel()
	s := Summary{
		Seconds: 30, Rate: 40, Sent: 1203, OK: 1200, Failed: 2, Canceled: 1,
		Codes: map[string]int64{"200": 1201, "503": 1}, Errors: map[string]int64{kindTruncated: 1},
		TTFT:     Percentiles{Count: 600, P50: .0981, P90: .12, P95: .15, P99: 1.204, Max: 2},
		EndToEnd: Percentiles{Count: 1200, P50: .5, P90: .6, P95: .7, P99: .8, Max: .9},
		Answers:  []Answer{{"default/qwen-v1", "qwen", 1140, 1}, {"", "", 0, 1}, {"default/qwen-v2", "qwen", 60, 0}},
	}
	const want = `requests  1203 sent, 1200 ok, 2 failed, 0 skipped, 1 canceled; 40.0 req/s for 30s
codes     200: 1201, 503: 1
errors    truncated: 1

LATENCY     P50    P90    P95    P99    MAX    SAMPLES
ttft        98ms   120ms  150ms  1.20s  2.00s  600
end to end  500ms  600ms  700ms  800ms  900ms  1200

BACKEND          MODEL  OK    FAILED  SHARE
default/qwen-v1  qwen   1140  1       94.9%
-                -      0     1       0.1%
default/qwen-v2  qwen   60    0       5.0%
`
	if got := s.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	data, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(data), `"ttftSeconds":{"count":600,"p50":0.0981`) {
		t.Errorf("JSON %s, %v", data, err)
	}
}

func TestUnknownErrorsHaveAKind(t *testing.T) {
	t.Parallel()
	if got := kindOf(errors.New("odd")); got != kindOther {
		t.Errorf("kind %q", got)
	}
}
