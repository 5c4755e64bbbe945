package pool

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// visitor is a Scraper that visits one model server, once.
func visitor(t *testing.T, limits scrape.Limits, h http.HandlerFunc) (s *Scraper, one *target, outcome *string) {
	t.Helper()
	e := modelServer(t, h)
	client := scrape.NewClient()
	t.Cleanup(client.CloseIdleConnections)
	outcome = new(string)
	s = &Scraper{Source: vllm(), Limits: limits, Client: client, Clock: clock.RealClock{}, Log: discard(), Count: func(o string) { *outcome = o }}
	s.Source.ModelsPath = "/v1/models"
	return s, &target{url: s.Source.url(e.Address, "/metrics"), models: "http://" + e.Address.String() + "/v1/models", live: e.Live}, outcome
}

// Model servers are trusted only half: what one of them does costs a bounded time
// and bounded memory, leads nowhere else, and is not believed.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		fmt.Fprint(w, idlePage)
	}))
	t.Cleanup(internal.Close)
	endless := func(line func(i int) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; r.Context().Err() == nil; i++ {
				if _, err := io.WriteString(w, line(i)); err != nil {
					return
				}
			}
		}
	}
	patient := scrape.Limits{Timeout: patience}
	for rule, tc := range map[string]struct {
		page   http.HandlerFunc
		limits scrape.Limits
		want   string
	}{
		"a redirect is not followed":         {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, internal.URL, http.StatusFound) }, patient, "status"},
		"an endless page ends at 4 MiB":      {endless(func(int) string { return strings.Repeat("x", 1000) + " 1\n" }), patient, "too_large"},
		"an endless line ends at its bound":  {endless(func(int) string { return strings.Repeat("x", 1000) }), patient, "too_large"},
		"lines are bounded":                  {endless(func(int) string { return "a 1\n" }), scrape.Limits{Timeout: patience, Lines: 1000}, "too_large"},
		"series of a wanted family are, too": {endless(func(i int) string { return fmt.Sprintf("vllm:num_requests_running{a=\"%d\"} 1\n", i) }), scrape.Limits{Timeout: patience, Series: 1000}, "too_large"},
		"a page that never comes":            {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, scrape.Limits{Timeout: 20 * time.Millisecond}, "unreachable"},
		"a page that trickles": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "vllm:num_requests_running 1\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, scrape.Limits{Timeout: 20 * time.Millisecond}, "unreachable"},
		"a load that is no number":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "vllm:num_requests_running NaN\n") }, patient, "no_load"},
		"labels that are no labels": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "vllm:num_requests_running{a=b} 1\n") }, patient, "malformed"},
		"a compressed page is not unpacked": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b")
		}, patient, "no_load"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s, one, outcome := visitor(t, tc.limits, tc.page)
			s.visit(t.Context(), one)
			if *outcome != tc.want {
				t.Errorf("got %s", *outcome)
			}
			if _, fresh := one.live.View("", time.Now(), time.Hour); fresh {
				t.Error("its load is believed")
			}
			if elsewhere.Load() > 0 {
				t.Error("the scraper was sent to another address")
			}
		})
	}
}

func TestWhatAModelServerAnswersTo(t *testing.T) {
	t.Parallel()
	list := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	for rule, tc := range map[string]struct {
		page http.HandlerFunc
		want picker.Models // nil: an error
	}{
		"a base model and its adapters":         {list(`{"object":"list","data":[{"id":"base","parent":null},{"id":"lora","parent":"base"},{"id":"old"}]}`), picker.Models{"base": false, "lora": true, "old": false}},
		"an empty list says nothing":            {list(`{"data":[]}`), nil},
		"no such page":                          {http.NotFound, nil},
		"no JSON":                               {list("hello"), nil},
		"a list without end":                    {list(`{"data":[` + strings.Repeat(`{"id":"x"},`, maxModelsPage/10)), nil},
		"more models than there can be":         {list(`{"data":[` + strings.Repeat(`{"id":"x"},`, maxModels) + `{"id":"y"}]}`), nil},
		"a redirect is not followed":            {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, nil},
		"a server that does not answer in time": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			timeout := patience
			if strings.Contains(rule, "in time") {
				timeout = 20 * time.Millisecond
			}
			s, one, _ := visitor(t, scrape.Limits{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/models" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				tc.page(w, r)
			})
			got, err := fetchModels(t.Context(), s.Client, one.models, timeout)
			if (err != nil) != (tc.want == nil) || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// Every third visit asks for the models. A server that stops telling them is taken
// at its last word for choosing, and proves nothing any more.
func TestModelsAreAskedForAndDoubted(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var silent atomic.Bool
	s, one, _ := visitor(t, scrape.Limits{Timeout: patience}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metrics":
			fmt.Fprint(w, idlePage)
		case silent.Load():
			http.Error(w, "busy", http.StatusServiceUnavailable)
		default:
			asked.Add(1)
			fmt.Fprint(w, `{"data":[{"id":"base"}]}`)
		}
	})
	p := picker.New(picker.Options{})
	e := picker.NewEndpoint(netip.MustParseAddrPort("127.0.0.1:1"))
	e.Live = one.live
	p.SetSnapshot(&picker.Snapshot{Endpoints: []picker.Endpoint{e}})
	for range 6 {
		s.visit(t.Context(), one)
	}
	if asked.Load() != 2 || !p.Unloaded("lora") || p.Unloaded("base") {
		t.Errorf("asked %d times in 6 visits, unloaded %v, %v", asked.Load(), p.Unloaded("lora"), p.Unloaded("base"))
	}
	silent.Store(true)
	s.visit(t.Context(), one)
	if p.Unloaded("lora") || e.Live.Serves("lora") {
		t.Error("its last word still proves something, or is forgotten")
	}
}

func TestAFailedScrapeLeavesTheLastLoadToAge(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	s, one, outcome := visitor(t, scrape.Limits{Timeout: patience}, func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "vllm:num_requests_running 7\n")
	})
	s.Source.ModelsPath, one.models = "", ""
	before := time.Now()
	s.visit(t.Context(), one)
	down.Store(true)
	s.visit(t.Context(), one)
	if v, fresh := one.live.View("", before.Add(time.Second), 5*time.Second); *outcome != "status" || !fresh || v.Outstanding != 7 {
		t.Errorf("%s: %v, %v", *outcome, v, fresh)
	}
	if _, fresh := one.live.View("", before.Add(time.Minute), 5*time.Second); fresh {
		t.Error("an old load is fresh")
	}
}

func TestPausesAreVariedByHalf(t *testing.T) {
	t.Parallel()
	least, most := time.Hour, time.Duration(0)
	for range 2000 {
		d := jitter(time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < 500*time.Millisecond || most > 1500*time.Millisecond || least > 520*time.Millisecond || most < 1480*time.Millisecond {
		t.Errorf("from %v to %v", least, most)
	}
}

func TestAdaptersAreReadFromTheNewestSeries(t *testing.T) {
	t.Parallel()
	const info = `vllm:lora_requests_info{max_lora="2",running_lora_adapters="%s",waiting_lora_adapters="%s"} %s` + "\n"
	for rule, tc := range map[string]struct {
		page string
		want picker.Load
	}{
		"the newest, not the last":       {fmt.Sprintf(info, "new", "x, y", "1.7e9") + fmt.Sprintf(info, "old", "", "1.6e9"), picker.Load{ActiveAdapters: []string{"new"}, QueuedAdapters: []string{"x", "y"}, MaxAdapters: 2}},
		"none is in use":                 {fmt.Sprintf(info, "", "", "1"), picker.Load{MaxAdapters: 2}},
		"no adapter was ever loaded":     {"", picker.Load{}},
		"a number of slots that is none": {"vllm:lora_requests_info{max_lora=\"many\",running_lora_adapters=\"a\"} 1\n", picker.Load{ActiveAdapters: []string{"a"}}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			source := vllm()
			source.Adapters = Series{Name: "vllm:lora_requests_info"}
			page, err := scrape.Parse(strings.NewReader("vllm:num_requests_running 0\n"+tc.page), "", source.families(), scrape.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got picker.Load
			if err := source.read(page, &got); err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// The names of other engines, as the reference's charts give them.
func TestAnyMetricCanBeNamed(t *testing.T) {
	t.Parallel()
	for engine, tc := range map[string]struct{ running, waiting, kv, page string }{
		"SGLang":  {"sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:token_usage", "sglang:num_running_reqs 3\nsglang:num_queue_reqs 2\nsglang:token_usage 0.5\n"},
		"TRT-LLM": {"trtllm_num_requests_running", "trtllm_num_requests_waiting", "trtllm_kv_cache_utilization", "trtllm_num_requests_running 3\ntrtllm_num_requests_waiting 2\ntrtllm_kv_cache_utilization 0.5\n"},
		"Triton": {
			"nv_trt_llm_request_metrics{request_type=scheduled}", "nv_trt_llm_request_metrics{request_type=waiting}", "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
			"nv_trt_llm_request_metrics{request_type=\"scheduled\"} 3\nnv_trt_llm_request_metrics{request_type=\"waiting\"} 2\nnv_trt_llm_request_metrics{request_type=\"max\"} 99\nnv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.5\n",
		},
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var source Source
			for text, into := range map[string]*Series{tc.running: &source.Running, tc.waiting: &source.Waiting, tc.kv: &source.KVCache} {
				var err error
				if *into, err = ParseSeries(text); err != nil {
					t.Fatal(err)
				}
			}
			page, err := scrape.Parse(strings.NewReader(tc.page), "", source.families(), scrape.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			var got picker.Load
			if err := source.read(page, &got); err != nil || !reflect.DeepEqual(got, picker.Load{Running: 3, Waiting: 2, KVCache: 0.5}) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// What is scraped are the pool's own endpoints, and those no longer in it are not.
func TestOnlyThePoolsOwnEndpointsAreScraped(t *testing.T) {
	t.Parallel()
	now := []picker.Endpoint{}
	s := &Scraper{Endpoints: func() []picker.Endpoint { return now }, Source: vllm()}
	a, b := modelServer(t, http.NotFound), modelServer(t, http.NotFound)
	now = []picker.Endpoint{a}
	known, due := s.due(nil)
	if len(due) != 1 || due[0].url != "http://"+a.Address.String()+"/metrics" {
		t.Fatalf("%d due", len(due))
	}
	now = []picker.Endpoint{b}
	if known, due = s.due(known); len(known) != 1 || len(due) != 1 || due[0].live != b.Live {
		t.Errorf("%d known, %d due after the first one left", len(known), len(due))
	}
}
