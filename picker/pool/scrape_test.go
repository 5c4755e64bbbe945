package pool

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

func vllm() Source {
	return Source{
		Scheme: "http", Path: "/metrics",
		Running: Series{Name: "vllm:num_requests_running"}, Waiting: Series{Name: "vllm:num_requests_waiting"},
		KVCache: Series{Name: "vllm:kv_cache_usage_perc"},
	}
}

func modelServer(t *testing.T, h http.HandlerFunc) picker.Endpoint {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return picker.NewEndpoint(netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://")))
}

// scraping runs a Scraper with a short interval and returns what it counts.
func scraping(t *testing.T, endpoints ...picker.Endpoint) <-chan string {
	t.Helper()
	outcomes := make(chan string, 10_000)
	client := scrape.NewClient()
	s := &Scraper{
		Endpoints: func() []picker.Endpoint { return endpoints },
		Source:    vllm(), Interval: 5 * time.Millisecond, Workers: 2,
		Limits: scrape.Limits{Timeout: patience}, Client: client, Clock: clock.RealClock{}, Log: discard(),
		Count: func(outcome string) {
			select {
			case outcomes <- outcome:
			default:
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); client.CloseIdleConnections() })
	return outcomes
}

const idlePage = "vllm:num_requests_running{engine=\"0\"} 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"

func TestScraperCountsEachOutcome(t *testing.T) {
	t.Parallel()
	page := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, text)
		}
	}
	for want, h := range map[string]http.HandlerFunc{
		"ok":        page(idlePage),
		"no_load":   page("other 1\n"),
		"malformed": page("vllm:num_requests_running one\n"),
		"status":    http.NotFound,
		"too_large": page(strings.Repeat("other 1\n", 1<<20)),
		"unreachable": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			outcomes := scraping(t, modelServer(t, h))
			if got := until(t, outcomes, "a scrape", func(string) bool { return true }); got != want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestScraperKeepsAskingWhoFailsAndReportsTheirReturn(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	e := modelServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) <= 3 {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, idlePage)
	})
	outcomes := scraping(t, e)
	until(t, outcomes, "a failure", func(o string) bool { return o == "status" })
	until(t, outcomes, "a success", func(o string) bool { return o == "ok" })
}

func TestAHangingModelServerDoesNotKeepTheOthersWaiting(t *testing.T) {
	t.Parallel()
	hanging := modelServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	healthy := modelServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, idlePage) })
	outcomes := scraping(t, hanging, healthy)
	for range 5 {
		until(t, outcomes, "a scrape of the healthy one", func(o string) bool { return o == "ok" })
	}
}

func TestAFailingServerIsAskedLessOften(t *testing.T) {
	t.Parallel()
	for failures, rounds := range map[int32]int32{0: 0, 1: 1, 2: 3, 3: 3, 1000: 3} {
		if got := pauseAfter(failures); got != rounds {
			t.Errorf("after %d failures it waits %d rounds", failures, got)
		}
	}
	failing := &target{live: &picker.Live{}, skip: 1}
	e := picker.NewEndpoint(netip.MustParseAddrPort("127.0.0.1:1"))
	e.Live = failing.live
	s := &Scraper{Endpoints: func() []picker.Endpoint { return []picker.Endpoint{e} }, Source: vllm()}
	known := map[*picker.Live]*target{e.Live: failing}
	known, due := s.due(known)
	if len(due) != 0 {
		t.Error("asked in a round it should wait")
	}
	known, due = s.due(known)
	if len(due) != 1 {
		t.Error("not asked in the round after")
	}
	if _, due = s.due(known); len(due) != 0 {
		t.Error("asked again while it is being asked")
	}
}

func TestLoadIsReadFromThePage(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		page string
		want picker.Load
		fail bool
	}{
		"vLLM's gauges": {"vllm:num_requests_running 3\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n", picker.Load{Running: 3, Waiting: 2, KVCache: 0.5}, false},
		"engines in one pod add up, their fullest counts": {"vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 2\nvllm:kv_cache_usage_perc{engine=\"0\"} 0.1\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.8\n", picker.Load{Running: 3, KVCache: 0.8}, false},
		"no KV cache told: free":                          {"vllm:num_requests_running 3\n", picker.Load{Running: 3}, false},
		"what is below zero is zero":                      {"vllm:num_requests_running -3\nvllm:num_requests_waiting -1\nvllm:kv_cache_usage_perc -1\n", picker.Load{}, false},
		"KV cache alone is no load":                       {"vllm:kv_cache_usage_perc 0.5\n", picker.Load{}, true},
		"a number that is none is no load":                {"vllm:num_requests_running NaN\nvllm:num_requests_waiting +Inf\n", picker.Load{}, true},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			source := vllm()
			page, err := scrape.Parse(strings.NewReader(tc.page), "", source.families(), scrape.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got picker.Load
			if err := source.read(page, &got); (err != nil) != tc.fail || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestPageAddressIsTheEndpointsOwn(t *testing.T) {
	t.Parallel()
	own, other := vllm(), vllm()
	other.Scheme, other.Port = "https", 9400
	secure := vllm()
	secure.Scheme, secure.ModelsPath, other.ModelsPath = "https", "/v1/models", "/v1/models"
	v6 := netip.MustParseAddrPort("[2001:db8::1]:8000")
	if got := own.url(v6, "/metrics"); got != "http://[2001:db8::1]:8000/metrics" {
		t.Error(got)
	}
	if got := other.url(v6, "/metrics"); got != "https://[2001:db8::1]:9400/metrics" {
		t.Error(got)
	}
	if got := other.models(v6); got != "http://[2001:db8::1]:8000/v1/models" {
		t.Error(got)
	}
	if got := secure.models(v6); got != "https://[2001:db8::1]:8000/v1/models" {
		t.Error(got)
	}
}

func TestParseSeries(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Series{
		"vllm:num_requests_waiting":        {Name: "vllm:num_requests_waiting"},
		"nv_metrics{request_type=waiting}": {Name: "nv_metrics", Match: map[string]string{"request_type": "waiting"}},
		` nv { a = "x y" , b=2} `:          {Name: "nv", Match: map[string]string{"a": "x y", "b": "2"}},
		"":                                 {},
		"nv_metrics{request_type=waiting,other=\"\"}": {Name: "nv_metrics", Match: map[string]string{"request_type": "waiting", "other": ""}},
	} {
		if got, err := ParseSeries(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a{b", "a{b}", "{a=b}", "a{}"} {
		if got, err := ParseSeries(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}
