package picker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
)

// waits are the requests whose answer has not begun. A histogram shows a request
// once its answer came: one that never comes would be in no bucket.
type waits struct {
	mu    sync.Mutex
	since map[*exchange]time.Time
}

func (w *waits) begin(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since == nil {
		w.since = map[*exchange]time.Time{}
	}
	w.since[x] = x.began
}

func (w *waits) end(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.since, x)
}

// longer counts those that have waited for longer than limit.
func (w *waits) longer(limit time.Duration, now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, began := range w.since {
		if now.Sub(began) > limit {
			n++
		}
	}
	return n
}

// beyondEdges is the largest edge of the latency histograms.
func beyondEdges() time.Duration {
	all := edges.Latency()
	return time.Duration(all[len(all)-1] * float64(time.Second))
}

// CountUnanswered exports how many requests wait for the first byte of an answer
// for longer than the histograms' largest edge. now is the clock that requests
// begin by.
func (m *Metrics) CountUnanswered(registry prometheus.Registerer, namespace, pool string, now func() time.Time) {
	registry.MustRegister(&unansweredRequests{metrics: m, now: now, desc: prometheus.NewDesc("infer_picker_requests_unanswered",
		"Running requests that have waited for the first byte of an answer for longer than the largest edge of the latency histograms.",
		[]string{"model", "target_model"}, prometheus.Labels{"namespace": namespace, "pool": pool})})
}

type unansweredRequests struct {
	metrics *Metrics
	now     func() time.Time
	desc    *prometheus.Desc
}

func (u *unansweredRequests) Describe(ch chan<- *prometheus.Desc) { ch <- u.desc }

func (u *unansweredRequests) Collect(ch chan<- prometheus.Metric) {
	limit, now := beyondEdges(), u.now()
	u.metrics.mu.RLock()
	defer u.metrics.mu.RUnlock()
	for names, s := range u.metrics.models {
		ch <- prometheus.MustNewConstMetric(u.desc, prometheus.GaugeValue, float64(s.waits.longer(limit, now)), names.asked, names.target)
	}
}
