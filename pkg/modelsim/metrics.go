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

// vLLM's histogram edges in seconds (vllm/v1/metrics/loggers.py). A gate that
// reads them must sit on one.
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

func e2eEdges() []float64 {
	return []float64{
		0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240,
		480, 960, 1920, 7680,
	}
}

// finish reasons of vllm:request_success_total.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishAbort  = "abort"
)

// metrics are vLLM's series, per server and not per adapter: model_name is the
// first served name, as in vLLM.
type metrics struct {
	registry                     *prometheus.Registry
	ttft, tpot, e2e              prometheus.Observer
	promptTokens, generateTokens prometheus.Counter
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
	m.tpot = histogram("vllm:request_time_per_output_token_seconds", "Time per output token in seconds, one observation per request.", tpotEdges())
	m.e2e = histogram("vllm:e2e_request_latency_seconds", "End to end request latency in seconds.", e2eEdges())
	m.promptTokens = counter("vllm:prompt_tokens_total", "Prefill tokens processed.")
	m.generateTokens = counter("vllm:generation_tokens_total", "Generation tokens processed.")
	m.success = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vllm:request_success_total", Help: "Finished requests by reason.", ConstLabels: labels,
	}, []string{"finished_reason"})
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "HTTP requests by handler, method and status class.",
	}, []string{"handler", "method", "status"})
	m.registry.MustRegister(m.success, m.requests)
	for _, reason := range []string{finishStop, finishLength, finishAbort} {
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

func (m *metrics) token(s *Sequence, first bool) {
	m.generateTokens.Inc()
	if first {
		m.promptTokens.Add(float64(s.PromptTokens))
		m.ttft.Observe(s.FirstToken.Sub(s.Arrived).Seconds())
	}
}

func (m *metrics) finished(s *Sequence) {
	m.e2e.Observe(s.Finished.Sub(s.Arrived).Seconds())
	if s.OutputTokens > 1 {
		m.tpot.Observe(s.Finished.Sub(s.FirstToken).Seconds() / float64(s.OutputTokens-1))
	}
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
