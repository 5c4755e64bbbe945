package bodyrouter

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// What became of a request: the values of the label outcome.
const (
	outcomeRouted    = "routed"     // the model header was set
	outcomeNoModel   = "no_model"   // the body names none
	outcomeNoBody    = "no_body"    // there was no body
	outcomeUpgrade   = "upgrade"    // passed at the headers
	outcomeOtherType = "other_type" // passed: a content type we do not read
	outcomeRejected  = "rejected"   // answered by us
	outcomeAborted   = "aborted"    // the gateway left before the end
	otherModel       = "other"      // label model: a name not configured
	noModel          = ""           // label model: no name
)

// MetricsNamespace begins the name of every metric of the body router.
const MetricsNamespace = "infer_body_router"

// Metrics counts requests. No label takes a value that a client can invent.
type Metrics struct {
	requests   *prometheus.CounterVec
	rejections *prometheus.CounterVec
	bytes      prometheus.Counter
	scan       prometheus.Histogram
}

// NewMetrics returns metrics registered with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: MetricsNamespace + "_requests_total",
			Help: "Requests by outcome, and by model where it is configured (else \"other\").",
		}, []string{"outcome", "model"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: MetricsNamespace + "_rejections_total",
			Help: "Requests answered by the body router, by status and reason.",
		}, []string{"code", "reason"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: MetricsNamespace + "_body_bytes_total",
			Help: "Request body bytes scanned.",
		}),
		scan: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    MetricsNamespace + "_scan_seconds",
			Help:    "Time spent scanning one request body.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10),
		}),
	}
	r.MustRegister(m.requests, m.rejections, m.bytes, m.scan)
	return m
}

// count records a request that has ended.
func (m *Metrics) count(r *request, o extproc.Outcome) {
	label := noModel
	if r.model != "" {
		label = otherModel
		if _, known := r.handler.baseModel(r.model); known {
			label = r.model
		}
	}
	m.requests.WithLabelValues(r.outcome, label).Inc()
	if o.Reject != nil {
		m.rejections.WithLabelValues(strconv.Itoa(o.Reject.Status), o.Reject.Reason).Inc()
	}
	if r.bytes > 0 {
		m.bytes.Add(float64(r.bytes))
		m.scan.Observe(r.scanTime.Seconds())
	}
}
