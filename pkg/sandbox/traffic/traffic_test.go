package traffic

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inProcess carries requests to a handler without a network, so that they
// live in a test's virtual time.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	body, end := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: end, response: make(chan *http.Response, 1), reader: body}
	go func() {
		t.handler.ServeHTTP(w, req)
		w.WriteHeader(http.StatusOK)
		_ = end.Close()
	}()
	select {
	case resp := <-w.response:
		return resp, nil
	case <-req.Context().Done():
		_ = body.Close()
		return nil, req.Context().Err()
	}
}

type pipeWriter struct {
	header   http.Header
	body     *io.PipeWriter
	reader   *io.PipeReader
	response chan *http.Response
	written  bool
}

func (w *pipeWriter) Header() http.Header { return w.header }
func (w *pipeWriter) Flush()              {}

func (w *pipeWriter) WriteHeader(code int) {
	if !w.written {
		w.written = true
		w.response <- &http.Response{StatusCode: code, Header: w.header.Clone(), Body: w.reader}
	}
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

func options() Options {
	return Options{
		URL: "http://127.0.0.1:8080", Mix: []ModelShare{{"qwen", 1}},
		Rate: 20, Duration: 10 * time.Second, StreamingShare: 0.5, Seed: 1,
	}
}

// simulator is a model server behind a gateway that names its pool.
func simulator(t *testing.T, pool string, change func(*modelsim.Config)) (*modelsim.Server, http.Handler) {
	t.Helper()
	cfg := modelsim.DefaultConfig()
	cfg.Model, cfg.ServedNames, cfg.Jitter = pool, []string{"qwen"}, 0
	if change != nil {
		change(&cfg)
	}
	s, err := modelsim.NewServer(cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	h := s.Handler()
	return s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-kubectl-infer-backend", "default/"+pool)
		h.ServeHTTP(w, r)
	})
}

func TestRunAgainstTheSimulator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := simulator(t, "qwen-v1", nil)
		defer s.Close()
		o := options()
		o.Transport = inProcess{h}
		var live []Live
		sum, err := Run(t.Context(), o, func(l Live) { live = append(live, l) })
		if err != nil {
			t.Fatal(err)
		}
		if sum.Sent < 150 || sum.Sent > 250 || sum.OK != sum.Sent || sum.Failed+sum.Skipped+sum.Canceled != 0 {
			t.Errorf("counts of 10 s at 20 req/s: %+v", sum)
		}
		if sum.Seconds != 10 || sum.Codes["200"] != sum.OK || sum.EndToEnd.Count != sum.OK {
			t.Errorf("seconds %v, codes %v, end to end %v", sum.Seconds, sum.Codes, sum.EndToEnd.Count)
		}
		if want := []Answer{{Backend: "default/qwen-v1", Model: "qwen", OK: sum.OK}}; sum.Answers[0] != want[0] || len(sum.Answers) != 1 {
			t.Errorf("answers %+v, want %+v", sum.Answers, want)
		}
		if p := sum.TTFT; p.Count == 0 || p.Count == sum.OK || p.P50 < .075 || p.P95 > .15 || p.P50 > p.P95 {
			t.Errorf("ttft of an idle 100ms server: %+v", p)
		}
		if len(live) < 10 || live[9].Elapsed != 10*time.Second || live[4].Sent == 0 || live[4].P95TTFT == 0 || live[4].Rate == 0 {
			t.Errorf("live reports: %d, %+v", len(live), live)
		}
	})
}

func TestASlowServerIsSeenInThePercentiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := simulator(t, "qwen-v2", func(c *modelsim.Config) { c.Faults.SlowFactor = 4 })
		defer s.Close()
		o := options()
		o.Transport = inProcess{h}
		sum, err := Run(t.Context(), o, nil)
		if err != nil || sum.Failed != 0 || sum.TTFT.P50 < .3 || sum.TTFT.P50 > .6 {
			t.Errorf("ttft of a server slowed 4 times: %+v, %v", sum.TTFT, err)
		}
	})
}

func TestArrivalsPastTheConcurrencyAreSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, h := simulator(t, "qwen-v1", func(c *modelsim.Config) { c.Faults.Hang = true })
		defer s.Close()
		o := options()
		o.Transport, o.Concurrency, o.Timeout = inProcess{h}, 3, time.Minute
		sum, err := Run(t.Context(), o, nil)
		if err != nil || sum.Sent != 3 || sum.Skipped < 100 || sum.Errors[kindTimeout] != 3 || sum.Failed != 3 {
			t.Errorf("a hung server behind a concurrency of 3: %+v, %v", sum, err)
		}
	})
}

func TestRequestsInFlightAtTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hang bool
		ok   int64
	}{
		"finish within the grace":           {false, 1},
		"are given up as canceled after it": {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, h := simulator(t, "qwen-v1", func(c *modelsim.Config) { c.Faults.Hang = tc.hang })
				defer s.Close()
				ctx, cancel := context.WithCancel(t.Context())
				started := make(chan struct{}, 1)
				o := options()
				o.Duration, o.Concurrency = 0, 1
				o.Transport = inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					started <- struct{}{}
					h.ServeHTTP(w, r)
				})}
				go func() {
					<-started
					cancel()
				}()
				sum, err := Run(ctx, o, nil)
				if err != nil || sum.Sent != 1 || sum.OK != tc.ok || sum.Canceled != 1-tc.ok || sum.Failed != 0 {
					t.Errorf("got %+v, %v", sum, err)
				}
			})
		})
	}
}

func TestTheSeedFixesTheTraffic(t *testing.T) {
	t.Parallel()
	record := func(seed uint64) string {
		var bodies bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			o := options()
			o.Seed, o.Mix = seed, []ModelShare{{"qwen", 3}, {"travel", 1}}
			start := time.Now()
			o.Transport = inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				bodies.WriteString(time.Since(start).String())
				_, _ = io.Copy(&bodies, r.Body)
				http.Error(w, "no", http.StatusTeapot)
			})}
			if _, err := Run(t.Context(), o, nil); err != nil {
				t.Fatal(err)
			}
		})
		return bodies.String()
	}
	first := record(7)
	if first != record(7) {
		t.Error("two runs with one seed sent different requests")
	}
	if first == record(8) {
		t.Error("two seeds sent the same requests")
	}
	share := float64(bytes.Count([]byte(first), []byte(`"travel"`))) / float64(bytes.Count([]byte(first), []byte(`"model"`)))
	if share < .15 || share > .35 {
		t.Errorf("a model with a quarter of the weight got %.2f of the requests", share)
	}
}
