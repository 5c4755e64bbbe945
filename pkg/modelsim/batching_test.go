package modelsim

import (
	"sync"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// scraped reads one family of the metrics page as a canary's gates do.
func scraped(t *testing.T, ts *testServer, name string) *scrape.Page {
	t.Helper()
	page, err := scrape.Parse(ts.do("GET", "/metrics", "").Body, "", []string{name}, scrape.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// above counts the observations of a histogram over one of its edges.
func above(t *testing.T, ts *testServer, name string, edge float64) int {
	t.Helper()
	buckets, count, ok := scraped(t, ts, name).Buckets(name, nil)
	below, hasEdge := buckets[edge]
	if !ok || !hasEdge {
		t.Fatalf("%s has no edge at %v", name, edge)
	}
	return int(count - below)
}

func gauge(t *testing.T, ts *testServer, name string) int {
	t.Helper()
	value, ok := scraped(t, ts, name).Sum(name, nil)
	if !ok {
		t.Fatalf("no %s", name)
	}
	return int(value)
}

// arrivals sends a request every interval and returns when all are answered;
// at is called once, when the last one has arrived.
func arrivals(ts *testServer, n int, every time.Duration, body string, at func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { ts.do("POST", "/v1/completions", body) })
		<-time.After(every)
	}
	at()
	wg.Wait()
}

// A stall hits every stream of the server at once: what eight clients see as
// eight slow tokens is one event, so latencies are not independent draws.
func TestAStallIsSharedByTheWholeBatch(t *testing.T) {
	change := func(c *Config) { c.StallEvery, c.StallDuration, c.Seed = 3*time.Second, 2*time.Second, 5 }
	inBubble(t, change, func(t *testing.T, ts *testServer) {
		const streams = 8
		var wg sync.WaitGroup
		for range streams {
			wg.Go(func() {
				ts.do("POST", "/v1/completions", `{"prompt":"x","max_tokens":1000,"ignore_eos":true,"stream":true}`)
			})
		}
		wg.Wait()
		stalled := above(t, ts, "vllm:inter_token_latency_seconds", 1)
		if stalled == 0 || stalled%streams != 0 {
			t.Errorf("%d gaps of more than 1s between tokens of %d streams; want the same stalls in each", stalled, streams)
		}
	})
}

// A batch of 4 that takes about 0.6 s for each answer of 40 tokens serves 6.5
// requests a second. Offered 4 a second nobody waits; offered 20 the queue
// grows, and with it the time to the first token, not the time per token.
func TestSaturationShowsAsQueueing(t *testing.T) {
	for name, tc := range map[string]struct {
		every                time.Duration
		running, waiting     [2]int // least and most when the last has arrived
		queued, late, slowed [2]int // requests of 60
	}{
		"below its capacity nobody waits": {every: 250 * ms, running: [2]int{1, 4}},
		"above it the rest queue and tokens stay fast": {
			every: 50 * ms, running: [2]int{4, 4}, waiting: [2]int{30, 56}, queued: [2]int{40, 60}, late: [2]int{40, 60},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.MaxNumSeqs = 4 }, func(t *testing.T, ts *testServer) {
				in := func(what string, got int, want [2]int) {
					if got < want[0] || got > want[1] {
						t.Errorf("%s: %d, want %v", what, got, want)
					}
				}
				arrivals(ts, 60, tc.every, `{"prompt":"x","max_tokens":40,"ignore_eos":true}`, func() {
					in("running", gauge(t, ts, "vllm:num_requests_running"), tc.running)
					in("waiting", gauge(t, ts, "vllm:num_requests_waiting"), tc.waiting)
				})
				in("queued over 0.5s", above(t, ts, "vllm:request_queue_time_seconds", 0.5), tc.queued)
				in("first token over 0.5s", above(t, ts, "vllm:time_to_first_token_seconds", 0.5), tc.late)
				in("tokens over 25ms", above(t, ts, "vllm:request_time_per_output_token_seconds", 0.025), tc.slowed)
			})
		})
	}
}
