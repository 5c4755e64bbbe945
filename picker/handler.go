package picker

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// Handler answers the requests of one pool. Its fields do not change once it is
// in use.
type Handler struct {
	Picker  *Picker
	Metrics *Metrics
	Clock   clock.PassiveClock
	Log     *slog.Logger
}

// NewProcessor returns the processor of one request.
func (h *Handler) NewProcessor() extproc.Processor { return &exchange{handler: h} }

// exchange is one request and its response. The choice needs nothing of the
// body, so it falls at the headers, and the same decision is given again at the
// end: a gateway in BUFFERED mode never shows a body to a request that has only
// trailers.
type exchange struct {
	handler  *Handler
	began    time.Time
	request  Request
	endpoint *Endpoint // where the request was sent; nil when it was refused
	decision extproc.Decision
	series   *series // nil until the request headers came

	status    int // of the response; 0 until its headers came
	streaming bool
	spoke     bool // the first byte of the response body came
	ended     bool // the response is over
}

// Headers picks.
func (x *exchange) Headers(r *extproc.Request) (extproc.Decision, error) {
	h := x.handler
	x.began = h.Clock.Now()
	x.request.Model, _ = r.Header(header.ModelName)
	x.request.Subset = SubsetOf(r.Metadata(header.SubsetNamespace, header.DestinationEndpointSubset))
	x.series = h.Metrics.of(x.request.Model)
	x.series.start()

	endpoint, reason := h.Picker.Pick(&x.request)
	h.Metrics.picks.WithLabelValues(string(reason)).Inc()
	if endpoint == nil {
		return extproc.Decision{}, &extproc.Reject{
			Status:  http.StatusServiceUnavailable,
			Reason:  string(reason),
			Message: refusalMessage(reason),
		}
	}
	endpoint.Live.Begin()
	x.endpoint = endpoint
	x.decision = decide(endpoint, r)
	h.Log.Debug("picked", "model", x.request.Model, "endpoint", endpoint.Value, "pod", endpoint.Pod, "reason", string(reason))
	return x.decision, nil
}

// decide writes the choice where the protocol wants it, header and metadata
// with one value, and removes what a client may have sent under the names of the
// answer and the hint.
func decide(e *Endpoint, r *extproc.Request) extproc.Decision {
	d := extproc.Decision{
		Set:      []extproc.Header{{Name: header.DestinationEndpoint, Value: e.Value}},
		Metadata: []extproc.Metadatum{{Namespace: header.MetadataNamespace, Key: header.DestinationEndpoint, Value: e.Value}},
	}
	for _, name := range []string{header.DestinationEndpointServed, header.DestinationEndpointSubset} {
		if r.Count(name) > 0 {
			d.Remove = append(d.Remove, name)
		}
	}
	return d
}

func refusalMessage(reason Reason) string {
	switch reason {
	case NoEndpoints:
		return "the pool has no endpoints"
	case NotInSubset:
		return "none of the endpoints that the gateway allows is ready"
	default:
		return "no endpoint of the pool is ready"
	}
}

// Body ignores the request body: nothing in the choice depends on it.
func (x *exchange) Body([]byte) error { return nil }

// End repeats the choice.
func (x *exchange) End() (extproc.Decision, error) { return x.decision, nil }

// ResponseHeaders notes the status, and whether the gateway kept to the choice.
func (x *exchange) ResponseHeaders(r *extproc.Response) {
	x.status = r.Status()
	contentType, _ := r.Header("content-type")
	x.streaming = strings.HasPrefix(strings.ToLower(contentType), "text/event-stream")
	served := r.Metadata(header.MetadataNamespace, header.DestinationEndpointServed).GetStringValue()
	if x.endpoint != nil && differs(served, x.endpoint.Address) {
		x.handler.Metrics.mismatch.Inc()
		x.handler.Log.Debug("served elsewhere", "asked", x.endpoint.Value, "served", served)
	}
}

// differs tells whether served names an address, and another one than asked.
func differs(served string, asked netip.AddrPort) bool {
	address, err := netip.ParseAddrPort(served)
	return err == nil && netip.AddrPortFrom(address.Addr().Unmap(), address.Port()) != asked
}

// ResponseBody counts progress and notes the first byte.
func (x *exchange) ResponseBody(slice []byte, end bool) {
	x.ended = x.ended || end
	if len(slice) == 0 || x.series == nil {
		return
	}
	x.series.messages.Inc()
	if !x.spoke && x.ok() {
		x.series.firstByte(x.handler.Clock.Since(x.began), x.streaming)
	}
	x.spoke = true
}

// ok tells whether the response is one whose latency counts: a fast error says
// nothing about the speed of a model.
func (x *exchange) ok() bool { return x.status >= 200 && x.status < 300 }

// Close settles the accounts.
func (x *exchange) Close(o extproc.Outcome) {
	if x.endpoint != nil {
		x.endpoint.Live.End()
	}
	if x.series == nil {
		return
	}
	if x.ended && x.ok() {
		x.series.duration.Observe(x.handler.Clock.Since(x.began).Seconds())
	}
	x.series.finish(x.code(o))
}

// code labels the end of the request: its HTTP status, or why there is none.
func (x *exchange) code(o extproc.Outcome) string {
	switch {
	case o.Reject != nil:
		return codeLabel(o.Reject.Status)
	case x.status == 0 && o.Ending == extproc.Drained:
		return "drained"
	case x.status == 0:
		return "none"
	case x.ended || o.Ending == extproc.Drained:
		return codeLabel(x.status)
	default:
		return "cut"
	}
}
