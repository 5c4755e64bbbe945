package picker

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
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
	// Rewrites returns the rules in force; nil: there are none.
	Rewrites func() *rewrite.Table
	// Random draws below its argument; nil: at random.
	Random func(uint64) uint64
	// Endpoints is how many endpoints an answer may name: 0 and 1 mean one, more
	// add fallbacks for the gateway, in order.
	Endpoints int
	// Deadline bounds the time that one decision may take in our hands; 0: none.
	Deadline time.Duration
	// Prefixes remembers who was sent which prompts; nil: prompts are not looked at.
	Prefixes *prefix.Index
	// TrustHeaders believes the headers in which a request names its objective and
	// the model that is to serve it; nobody authenticates them.
	TrustHeaders bool
}

// NewProcessor returns the processor of one request.
func (h *Handler) NewProcessor() extproc.Processor { return &exchange{handler: h} }

func (h *Handler) rules() *rewrite.Table {
	if h.Rewrites != nil {
		if t := h.Rewrites(); t != nil {
			return t
		}
	}
	return &rewrite.Table{}
}

// exchange is one request and its response. It picks at the headers where they are
// answered at once, because a gateway in BUFFERED mode never shows a body to a
// request that has only trailers, and at the end when the body changed what is
// asked for.
type exchange struct {
	handler *Handler
	began   time.Time
	spent   time.Duration // in our hands, until decided
	rules   *rewrite.Table
	asked   string // the client's model; "" when nobody named one
	body    requestBody
	// What the request's headers ask for, where they are trusted.
	objective, wanted string

	request   Request
	choice    Choice
	endpoint  *Endpoint   // where the request was sent; nil when it was refused
	fallbacks []*Endpoint // where the gateway may send it instead
	strip     []string    // headers that the client must not have set
	series    *series     // nil until the target model is decided

	status    int // of the response; 0 until its headers came
	streaming bool
	spoke     bool // the first byte of the response body came
	ended     bool // the response is over
	unseen    bool // the gateway does not show when it is
	overflow  bool // the gateway did not send the request: a breaker was open
	tokens    tokens
}

// Headers picks.
func (x *exchange) Headers(r *extproc.Request) (extproc.Decision, error) {
	h := x.handler
	x.began = h.Clock.Now()
	x.rules = h.rules()
	x.asked, _ = r.Header(header.ModelName)
	if h.TrustHeaders {
		x.objective = firstHeader(r, header.Objective, header.ObjectiveOld)
		x.wanted = firstHeader(r, header.ModelRewrite, header.ModelRewriteOld)
	}
	x.request.Subset = SubsetOf(r.Metadata(header.SubsetNamespace, header.DestinationEndpointSubset))
	x.strip = foreign(r)
	x.body.open(r, x.asked == "" || x.wanted != "" || !x.rules.Empty(), h.Prefixes)
	x.aim(x.asked)
	if x.body.prompt != nil && !r.AnswerNow {
		return extproc.Decision{}, nil // sent by nobody: End decides, and knows the prompt
	}
	if err := x.pick(x.began); err != nil {
		return extproc.Decision{}, err
	}
	return x.decide(x.began)
}

func firstHeader(r *extproc.Request, names ...string) string {
	for _, name := range names {
		if value, ok := r.Header(name); ok {
			return value
		}
	}
	return ""
}

// aim says which model the request is to reach, and reports whether that makes a
// difference.
func (x *exchange) aim(model string) (changed bool) {
	priority := x.rules.Priority(x.asked, x.objective)
	changed = model != x.request.Model || priority != x.request.Priority
	x.request.Model, x.request.Priority = model, priority
	return changed
}

// pick chooses an endpoint in place of the one chosen before, in a decision that
// began at began.
func (x *exchange) pick(began time.Time) error {
	x.leave()
	h := x.handler
	if h.Deadline > 0 {
		x.request.Deadline = began.Add(h.Deadline - x.spent)
	}
	x.choice = h.Picker.Pick(&x.request)
	if x.choice.Endpoint == nil {
		return x.refuse(x.choice.Reason)
	}
	x.endpoint = x.choice.Endpoint
	x.endpoint.Live.Begin()
	if n := h.Endpoints - 1; n > 0 {
		x.fallbacks = h.Picker.Fallbacks(&x.request, x.endpoint, n)
	}
	return nil
}

// leave takes the request off the endpoint it counts for.
func (x *exchange) leave() {
	if x.endpoint != nil {
		x.endpoint.Live.End()
	}
	x.endpoint, x.fallbacks = nil, nil
}

// Body looks for the model and the prompt, where they count.
func (x *exchange) Body(slice []byte) error {
	if x.body.scanner != nil {
		began := x.handler.Clock.Now()
		x.body.add(slice)
		x.spent += x.handler.Clock.Since(began)
	}
	return nil
}

// End picks again when the body made a difference, and the headers wait for it.
func (x *exchange) End() (extproc.Decision, error) {
	h := x.handler
	began := h.Clock.Now()
	splice, changed, err := x.rewrite()
	if err != nil {
		return extproc.Decision{}, err
	}
	prompt := x.body.prompt
	if prompt.Blocks() > 0 {
		x.request.Prompt, changed = &prefix.Match{}, true
		h.Prefixes.Lookup(prompt, x.request.Model, began, x.request.Prompt)
	}
	if x.endpoint == nil || changed && x.body.whole {
		if err := x.pick(began); err != nil {
			return extproc.Decision{}, err
		}
	}
	x.start()
	d, err := x.decide(began)
	if err != nil {
		return extproc.Decision{}, err
	}
	if prompt.Blocks() > 0 {
		h.Prefixes.Learn(prompt, x.request.Model, x.endpoint.Live.Slot(), began)
	}
	h.Metrics.picks.WithLabelValues(string(x.choice.Reason)).Inc()
	x.explain()
	d.Splice = splice
	return d, nil
}

// explain logs why the choice is what it is.
func (x *exchange) explain() {
	if log, ctx := x.handler.Log, context.Background(); log.Enabled(ctx, slog.LevelDebug) {
		c := &x.choice
		log.LogAttrs(ctx, slog.LevelDebug, "picked",
			slog.String("model", x.asked), slog.String("target", x.request.Model), slog.Int("priority", x.request.Priority),
			slog.String("endpoint", c.Endpoint.Value), slog.String("pod", c.Endpoint.Pod),
			slog.String("reason", string(c.Reason)), slog.Int("candidates", c.Candidates), slog.Float64("score", c.Score),
			slog.Float64("requests", c.View.Outstanding), slog.Float64("queue", c.View.Waiting), slog.Float64("kv_cache", c.View.KVCache),
			slog.String("adapter", c.View.Adapter.String()), slog.Float64("prompt_missing", c.View.Missing))
	}
}

// start counts the request, now that its target is known.
func (x *exchange) start() {
	if x.series == nil {
		x.series = x.handler.Metrics.of(models{x.asked, x.request.Model}, x.known)
		x.series.start()
		x.series.waits.begin(x)
	}
}

// known tells whether a name deserves labels of its own: one that the
// configuration names or a model server answers to. As long as neither tells any,
// the first names that come get them.
func (x *exchange) known(name string) bool {
	if x.rules.Names(name) {
		return true
	}
	known, told := x.handler.Picker.Snapshot().Knows(name)
	return known || !told
}

// decide writes the choice where the protocol wants it, header and metadata with
// one value, and removes what a client may have sent under the names of the
// answer and the hint. A decision that took too long is none.
func (x *exchange) decide(since time.Time) (extproc.Decision, error) {
	x.spent += x.handler.Clock.Since(since)
	if x.handler.Deadline > 0 && x.spent > x.handler.Deadline {
		return extproc.Decision{}, x.refuse(Late)
	}
	value := x.endpoint.Value
	for _, e := range x.fallbacks {
		value += "," + e.Value
	}
	return extproc.Decision{
		Set:      []extproc.Header{{Name: header.DestinationEndpoint, Value: value}},
		Remove:   x.strip,
		Metadata: []extproc.Metadatum{{Namespace: header.MetadataNamespace, Key: header.DestinationEndpoint, Value: value}},
	}, nil
}

// foreign lists the headers of the protocol that the client sent and we do not
// set.
func foreign(r *extproc.Request) []string {
	var names []string
	for _, name := range []string{header.DestinationEndpointServed, header.DestinationEndpointSubset} {
		if r.Count(name) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// refuse counts a refusal and answers the client.
func (x *exchange) refuse(reason Reason) *extproc.Reject {
	x.handler.Metrics.picks.WithLabelValues(string(reason)).Inc()
	x.handler.Log.Debug("refused", "model", x.asked, "target", x.request.Model, "reason", string(reason))
	return rejection(reason)
}

// rejection is the answer to a refused request, with 429 where coming back later
// helps.
func rejection(reason Reason) *extproc.Reject {
	reject := &extproc.Reject{Status: http.StatusServiceUnavailable, Reason: string(reason)}
	switch reason {
	case NoEndpoints:
		reject.Message = "the pool has no endpoints"
	case NotInSubset:
		reject.Message = "none of the endpoints that the gateway allows is ready"
	case NotLoaded:
		reject.Message = "the target model that serves this share of the requests is loaded on no ready endpoint"
	case Late:
		reject.Message = "no endpoint was chosen in time"
	case Shed:
		reject.Status, reject.Message = http.StatusTooManyRequests, "the pool is saturated; try again"
		reject.Headers = []extproc.Header{{Name: "retry-after", Value: "1"}}
	default:
		reject.Message = "no endpoint of the pool is ready"
	}
	return reject
}

// ResponseHeaders notes the status, and whether the gateway kept to the choice.
func (x *exchange) ResponseHeaders(r *extproc.Response) {
	x.status, x.unseen = r.Status(), r.Unseen
	overloaded, _ := r.Header(header.Overloaded)
	x.overflow = x.status == http.StatusServiceUnavailable && overloaded == "true"
	contentType, _ := r.Header("content-type")
	x.streaming = strings.HasPrefix(strings.ToLower(contentType), "text/event-stream")
	served := r.Metadata(header.MetadataNamespace, header.DestinationEndpointServed).GetStringValue()
	if x.endpoint == nil || !differs(served, x.endpoint.Address) {
		return
	}
	for _, e := range x.fallbacks {
		if !differs(served, e.Address) {
			x.leave()
			x.endpoint = e
			e.Live.Begin()
			x.handler.Metrics.fallbacks.Inc()
			return
		}
	}
	x.handler.Metrics.mismatch.Inc()
	x.handler.Log.Debug("served elsewhere", "asked", x.endpoint.Value, "served", served)
}

// differs tells whether served names an address, and another one than asked.
func differs(served string, asked netip.AddrPort) bool {
	address, err := netip.ParseAddrPort(served)
	return err == nil && netip.AddrPortFrom(address.Addr().Unmap(), address.Port()) != asked
}

// overflowText is how Envoy's own answer to a request that a circuit breaker kept
// back ends. It tells where the header is suppressed, as Envoy Gateway does.
//
// Source: Envoy v1.40, source/common/router/router.cc, onUpstreamReset.
var overflowText = []byte("reset reason: overflow")

// ResponseBody counts progress and notes the first byte.
func (x *exchange) ResponseBody(slice []byte, end bool) {
	x.ended = x.ended || end
	if len(slice) == 0 || x.series == nil {
		return
	}
	x.series.messages.Inc()
	x.overflow = x.overflow || !x.spoke && x.status == http.StatusServiceUnavailable && bytes.Contains(slice, overflowText)
	switch {
	case !x.ok():
	case x.streaming:
		x.tokens.add(slice, x.handler.Clock.Now())
	default:
		x.tokens.tail(slice)
	}
	if !x.spoke && x.ok() {
		x.series.firstByte(x.handler.Clock.Since(x.began), x.streaming)
	}
	if !x.spoke {
		x.series.waits.end(x)
	}
	x.spoke = true
}

// ok tells whether the response is one whose latency counts: a fast error says
// nothing about the speed of a model.
func (x *exchange) ok() bool { return x.status >= 200 && x.status < 300 }

// Close settles the accounts.
func (x *exchange) Close(o extproc.Outcome) {
	x.leave()
	if x.began.IsZero() {
		return // no request came
	}
	x.start()
	if x.ended && x.ok() {
		took := x.handler.Clock.Since(x.began)
		if !x.streaming {
			x.tokens.usage(x.tokens.line)
		}
		x.series.whole(took, x.streaming, &x.tokens)
	}
	if x.overflow {
		x.series.overflows.Inc()
	}
	x.series.waits.end(x)
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
	case x.ended || x.unseen || o.Ending == extproc.Drained:
		return codeLabel(x.status)
	default:
		return "cut"
	}
}
