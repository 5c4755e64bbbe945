package modelsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// engineLabel is vLLM's engine index; the simulator has one engine.
const engineLabel = "0"

// vLLM's histogram edges in seconds (vllm/v1/metrics/loggers.py); the whole
// table is in docs/simulator.md. A gate that reads them must sit on one.
func ttftEdges() []float64 {
	return []float64{
		0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5,
		5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
	}
}

func tpotEdges() []float64 {
	return []float64{
		0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5,
		7.5, 10, 20, 40, 80,
	}
}

func latencyEdges() []float64 {
	return []float64{
		0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240,
		480, 960, 1920, 7680,
	}
}

// tokenEdges are 1, 2, 5, 10, … up to the context length.
func tokenEdges(maxModelLen int) []float64 {
	var edges []float64
	for decade := 1; ; decade *= 10 {
		for _, m := range []int{1, 2, 5} {
			if m*decade > maxModelLen {
				return edges
			}
			edges = append(edges, float64(m*decade))
		}
	}
}

// finish reasons of vllm:request_success_total.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishAbort  = "abort"
	finishError  = "error" // the engine's own; an injected 500 never reaches it
)

// metrics are vLLM's series, per server and not per adapter: model_name is the
// first served name, as in vLLM.
type metrics struct {
	registry *prometheus.Registry

	ttft, interToken, tpot             prometheus.Observer
	e2e                                prometheus.Observer
	queued, inference, prefill, decode prometheus.Observer
	promptSize, answerSize             prometheus.Observer

	promptTokens, generateTokens prometheus.Counter
	cacheQueries, cacheHits      prometheus.Counter
	success                      *prometheus.CounterVec
	requests                     *prometheus.CounterVec
}

func newMetrics(cfg Config) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	labels := prometheus.Labels{"model_name": cfg.ServedNames[0], "engine": engineLabel}
	histogram := func(name, help string, edges []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: edges, ConstLabels: labels})
		m.registry.MustRegister(h)
		return h
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
		m.registry.MustRegister(c)
		return c
	}
	m.ttft = histogram("vllm:time_to_first_token_seconds", "Time to first token in seconds.", ttftEdges())
	m.interToken = histogram("vllm:inter_token_latency_seconds", "Time between two tokens of a request in seconds.", tpotEdges())
	m.tpot = histogram("vllm:request_time_per_output_token_seconds", "Time per output token in seconds, one observation per request.", tpotEdges())
	m.e2e = histogram("vllm:e2e_request_latency_seconds", "End to end request latency in seconds.", latencyEdges())
	m.queued = histogram("vllm:request_queue_time_seconds", "Time a request waited for a place in the batch.", latencyEdges())
	m.inference = histogram("vllm:request_inference_time_seconds", "Time a request spent in the batch.", latencyEdges())
	m.prefill = histogram("vllm:request_prefill_time_seconds", "Time from the batch to the first token.", latencyEdges())
	m.decode = histogram("vllm:request_decode_time_seconds", "Time from the first token to the last.", latencyEdges())
	m.promptSize = histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", tokenEdges(cfg.MaxModelLen))
	m.answerSize = histogram("vllm:request_generation_tokens", "Tokens answered to a request.", tokenEdges(cfg.MaxModelLen))
	m.promptTokens = counter("vllm:prompt_tokens_total", "Prefill tokens processed.")
	m.generateTokens = counter("vllm:generation_tokens_total", "Generation tokens processed.")
	m.cacheQueries = counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.")
	m.cacheHits = counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.")
	counter("vllm:num_preemptions_total", "Preemptions; the simulator reserves the whole answer, so there are none.")
	m.success = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vllm:request_success_total", Help: "Finished requests by reason.", ConstLabels: labels,
	}, []string{"finished_reason"})
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "HTTP requests by handler, method and status class.",
	}, []string{"handler", "method", "status"})
	m.registry.MustRegister(m.success, m.requests)
	for _, reason := range []string{finishStop, finishLength, finishAbort, finishError} {
		m.success.WithLabelValues(reason)
	}
	return m
}

// watch adds the gauges that are read from the engine at each scrape.
func (m *metrics) watch(cfg Config, load func() Load) {
	m.registry.MustRegister(&engineGauges{cfg: cfg, load: load})
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) token(ev Event) {
	m.generateTokens.Inc()
	if ev.Nth > 1 {
		m.interToken.Observe(ev.Gap.Seconds())
		return
	}
	s := ev.Seq
	m.promptTokens.Add(float64(s.PromptTokens))
	m.cacheQueries.Add(float64(s.PromptTokens))
	m.cacheHits.Add(float64(s.Cached))
	m.ttft.Observe(s.FirstToken.Sub(s.Arrived).Seconds())
}

// finished observes a whole request. As in vLLM, an answer of one token has a
// time per output token of 0.
func (m *metrics) finished(s *Sequence) {
	decode := s.Finished.Sub(s.FirstToken).Seconds()
	m.e2e.Observe(s.Finished.Sub(s.Arrived).Seconds())
	m.queued.Observe(s.Started.Sub(s.Arrived).Seconds())
	m.inference.Observe(s.Finished.Sub(s.Started).Seconds())
	m.prefill.Observe(s.FirstToken.Sub(s.Started).Seconds())
	m.decode.Observe(decode)
	m.tpot.Observe(decode / float64(max(1, s.OutputTokens-1)))
	m.promptSize.Observe(float64(s.PromptTokens))
	m.answerSize.Observe(float64(s.OutputTokens))
	m.success.WithLabelValues(s.FinishReason).Inc()
}

func (m *metrics) aborted() { m.success.WithLabelValues(finishAbort).Inc() }

// request counts one HTTP request in bounded labels, as vLLM's instrumentation
// does: known routes by name, the rest as "none", statuses by class.
func (m *metrics) request(route, method string, status int) {
	if route == "" {
		route = "none"
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodPatch}, method) {
		method = "OTHER"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status/100)+"xx").Inc()
}

// engineGauges reads the queues when scraped.
type engineGauges struct {
	cfg  Config
	load func() Load
}

// Describe implements prometheus.Collector; the gauges are unchecked, since
// vllm:lora_requests_info has its values in its labels.
func (g *engineGauges) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g *engineGauges) Collect(ch chan<- prometheus.Metric) {
	load := g.load()
	gauge := func(name, help string, value float64, labels prometheus.Labels) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), prometheus.GaugeValue, value)
	}
	labels := prometheus.Labels{"model_name": g.cfg.ServedNames[0], "engine": engineLabel}
	gauge("vllm:num_requests_running", "Requests in model execution batches.", float64(load.Running), labels)
	gauge("vllm:num_requests_waiting", "Requests waiting to be processed.", float64(load.Waiting), labels)
	gauge("vllm:kv_cache_usage_perc", "KV-cache usage; 1 means 100 percent.", load.KVUsage, labels)
	gauge("vllm:cache_config_info", "The engine's cache configuration.", 1, prometheus.Labels{
		"block_size":            strconv.Itoa(g.cfg.BlockSize),
		"num_gpu_blocks":        strconv.Itoa(g.cfg.NumBlocks),
		"enable_prefix_caching": "True",
		"engine":                engineLabel,
	})
	if g.cfg.EnableLoRA {
		gauge("vllm:lora_requests_info", "Adapters of running and waiting requests; the value is the time.",
			float64(time.Now().UnixMilli())/1000, prometheus.Labels{
				"max_lora":              strconv.Itoa(g.cfg.MaxLoRAs),
				"running_lora_adapters": strings.Join(load.RunningAdapters, ","),
				"waiting_lora_adapters": strings.Join(load.WaitingAdapters, ","),
			})
	}
}
