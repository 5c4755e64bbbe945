package picker

import (
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
)

// Metrics counts what the picker does for one pool. Every label set is bounded:
// model and target_model take names that the configuration or a model server
// knows (any name, while nothing is known), at most MaxModels pairs of them, and
// then "other"; code takes the
// statuses 100 to 599, and the rest is fixed. Its methods may be called by any
// number of goroutines.
type Metrics struct {
	started, messages, finished *prometheus.CounterVec
	overflows                   *prometheus.CounterVec
	running                     *prometheus.GaugeVec
	ttft, tpot, duration        *prometheus.HistogramVec
	promptTokens, outputTokens  *prometheus.HistogramVec
	picks                       *prometheus.CounterVec
	mismatch, fallbacks         prometheus.Counter

	maxModels int
	mu        sync.RWMutex
	models    map[models]*series
}

// models are the two names a request has: asked by the client, and after a
// rewrite.
type models struct{ asked, target string }

const (
	// unknownModel labels requests whose model nobody named.
	unknownModel = "unknown"
	// otherModel labels the names beyond MaxModels, and those no label can hold.
	otherModel = "other"
	// DefaultMaxModels is the number of model names that get labels of their own.
	DefaultMaxModels = 100
	// maxModelName is the longest name that becomes a label, in bytes.
	maxModelName = 253
)

// NewMetrics registers the picker's metrics for one pool. maxModels ≤ 0 stands
// for DefaultMaxModels.
func NewMetrics(registry prometheus.Registerer, namespace, pool string, maxModels int) *Metrics {
	if maxModels <= 0 {
		maxModels = DefaultMaxModels
	}
	constant := prometheus.Labels{"namespace": namespace, "pool": pool}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: constant}, labels)
	}
	histogramOf := func(buckets []float64) func(name, help string, labels ...string) *prometheus.HistogramVec {
		return func(name, help string, labels ...string) *prometheus.HistogramVec {
			return prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name: name, Help: help, ConstLabels: constant, Buckets: buckets,
			}, labels)
		}
	}
	histogram, counts := histogramOf(edges.Latency()), histogramOf(prometheus.ExponentialBuckets(1, 2, 21))
	m := &Metrics{
		started: counter("infer_picker_requests_started_total",
			"Requests that reached the picker, refused ones included.", "model", "target_model"),
		finished: counter("infer_picker_requests_finished_total",
			"Requests that are over: by HTTP status, none (over before response headers), cut (over inside the response), drained (the picker left before response headers).",
			"model", "target_model", "code"),
		overflows: counter("infer_picker_breaker_overflows_total",
			"Requests that the gateway did not send because a circuit breaker was open; they are finished with code 503, too.", "model", "target_model"),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "infer_picker_requests_running", Help: "Requests started and not finished.", ConstLabels: constant,
		}, []string{"model", "target_model"}),
		messages: counter("infer_picker_response_messages_total",
			"Pieces of response bodies seen: progress of running requests.", "model", "target_model"),
		ttft: histogram("infer_picker_ttft_seconds",
			"From the request headers to the first byte of the response body, of answers with a 2xx status.",
			"model", "target_model", "streaming"),
		duration: histogram("infer_picker_request_duration_seconds",
			"From the request headers to the end of the response, of whole answers with a 2xx status.",
			"model", "target_model"),
		tpot: histogram("infer_picker_tpot_seconds",
			"Time per output token of whole answers with a 2xx status: streamed, (last chunk - first chunk)/(n - 1), n from usage, else from SSE data events; else the whole time over n from usage.",
			"model", "target_model", "streaming", "tokens"),
		promptTokens: counts("infer_picker_prompt_tokens",
			"Tokens of prompts, of whole answers with a 2xx status that report usage.", "model", "target_model"),
		outputTokens: counts("infer_picker_output_tokens",
			"Tokens of answers, of whole answers with a 2xx status that report usage.", "model", "target_model"),
		picks: counter("infer_picker_picks_total",
			"Choices by reason; no_endpoints, none_ready, not_in_subset, shed, target_not_loaded and deadline are refusals.", "reason"),
		fallbacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "infer_picker_fallbacks_served_total", ConstLabels: constant,
			Help: "Responses that came from a fallback endpoint.",
		}),
		mismatch: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "infer_picker_served_mismatch_total", ConstLabels: constant,
			Help: "Responses that came from another endpoint than the one asked for.",
		}),
		maxModels: maxModels,
		models:    map[models]*series{},
	}
	for _, r := range Reasons() {
		m.picks.WithLabelValues(string(r))
	}
	registry.MustRegister(m.started, m.finished, m.running, m.messages, m.ttft, m.tpot, m.duration, m.promptTokens, m.outputTokens, m.picks, m.mismatch, m.fallbacks, m.overflows)
	return m
}

// CountReady exports the number of endpoints of p that may be picked.
func (m *Metrics) CountReady(registry prometheus.Registerer, namespace, pool string, p *Picker) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "infer_picker_ready_endpoints", Help: "Endpoints that may be picked.",
		ConstLabels: prometheus.Labels{"namespace": namespace, "pool": pool},
	}, func() float64 { return float64(p.Snapshot().Ready()) }))
}

// series are the metrics of one pair of models, looked up once per request.
type series struct {
	started, messages prometheus.Counter
	overflows         prometheus.Counter
	running           prometheus.Gauge
	duration          prometheus.Observer
	prompt, output    prometheus.Observer
	finished          *prometheus.CounterVec
	ttft, tpot        prometheus.ObserverVec
	waits             waits
}

// of returns the series of a request. known tells which names get labels of their
// own; the first maxModels pairs of them do.
func (m *Metrics) of(names models, known func(string) bool) *series {
	names = models{bounded(names.asked), bounded(names.target)}
	m.mu.RLock()
	s := m.models[names]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	for _, name := range []*string{&names.asked, &names.target} {
		if *name != unknownModel && *name != otherModel && !known(*name) {
			*name = otherModel
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.models[names] == nil && names != (models{unknownModel, unknownModel}) && len(m.models) >= m.maxModels {
		names = models{otherModel, otherModel}
	}
	if m.models[names] == nil {
		m.models[names] = m.curry(names)
	}
	return m.models[names]
}

// bounded is the label for a name.
func bounded(name string) string {
	switch {
	case name == "":
		return unknownModel
	case len(name) > maxModelName || !utf8.ValidString(name):
		return otherModel
	}
	return name
}

func (m *Metrics) curry(key models) *series {
	labels := prometheus.Labels{"model": key.asked, "target_model": key.target}
	return &series{
		started:   m.started.With(labels),
		messages:  m.messages.With(labels),
		overflows: m.overflows.With(labels),
		running:   m.running.With(labels),
		duration:  m.duration.With(labels),
		prompt:    m.promptTokens.With(labels),
		output:    m.outputTokens.With(labels),
		finished:  m.finished.MustCurryWith(labels),
		ttft:      m.ttft.MustCurryWith(labels),
		tpot:      m.tpot.MustCurryWith(labels),
	}
}

func (s *series) start() {
	s.started.Inc()
	s.running.Inc()
}

func (s *series) finish(code string) {
	s.finished.WithLabelValues(code).Inc()
	s.running.Dec()
}

func (s *series) firstByte(after time.Duration, streaming bool) {
	s.ttft.WithLabelValues(strconv.FormatBool(streaming)).Observe(after.Seconds())
}

// whole observes an answer that came to its end.
func (s *series) whole(took time.Duration, streaming bool, t *tokens) {
	s.duration.Observe(took.Seconds())
	if each, from, ok := t.perToken(streaming, took); ok {
		s.tpot.WithLabelValues(strconv.FormatBool(streaming), from).Observe(each.Seconds())
	}
	if t.prompt > 0 {
		s.prompt.Observe(float64(t.prompt))
	}
	if t.output > 0 {
		s.output.Observe(float64(t.output))
	}
}

// codeLabel is the label of an HTTP status.
func codeLabel(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return strconv.Itoa(status)
}
