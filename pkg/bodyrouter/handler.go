package bodyrouter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// MissingModel is what happens to a JSON or form body without a model.
type MissingModel string

// The values of --missing-model.
const (
	PassMissing   MissingModel = "pass"
	RejectMissing MissingModel = "reject"
)

// ParseMissingModel reads the value of --missing-model.
func ParseMissingModel(s string) (MissingModel, error) {
	switch m := MissingModel(s); m {
	case PassMissing, RejectMissing:
		return m, nil
	}
	return "", fmt.Errorf("--missing-model %q: neither %s nor %s", s, PassMissing, RejectMissing)
}

// BaseModels knows the models that are configured. Its methods are called from
// many goroutines.
type BaseModels interface {
	// BaseModel returns the base model that serves name, which is name itself
	// for a base model; not ok when the name is unknown.
	BaseModel(name string) (base string, ok bool)
}

// StaticBaseModels maps names to base models, and never changes.
type StaticBaseModels map[string]string

// BaseModel implements BaseModels.
func (m StaticBaseModels) BaseModel(name string) (string, bool) {
	base, ok := m[name]
	return base, ok
}

// Handler holds what all requests share.
type Handler struct {
	// Missing is the policy for bodies without a model.
	Missing MissingModel
	// MaxKeys bounds the top-level keys of a JSON body.
	MaxKeys int
	// Bases gives the base model header; nil sets none.
	Bases BaseModels
	// Metrics and Log take what happened.
	Metrics *Metrics
	Log     *slog.Logger
}

// clientName is a name that a client sent. A log line shows it quoted and cut.
type clientName string

// LogValue implements slog.LogValuer.
func (n clientName) LogValue() slog.Value {
	const shown = 128 // bytes
	if len(n) > shown {
		return slog.StringValue(fmt.Sprintf("%q… (%d bytes)", string(n[:shown]), len(n)))
	}
	return slog.StringValue(fmt.Sprintf("%q", string(n)))
}

// Open returns the processor of one request.
func (h *Handler) Open(context.Context) extproc.Processor {
	return &request{handler: h, outcome: outcomeAborted}
}

// finder finds the model name in a body. Its errors are *Invalid.
type finder interface {
	Scan([]byte) error
	End() error
	Model() string
}

// request is one request's extproc.Processor.
type request struct {
	handler *Handler
	finder  finder // nil when the body is not looked at
	scanner Scanner

	bytes    int64
	scanTime time.Duration
	model    string
	outcome  string
}

// Headers decides by content type whether the body will be scanned.
func (r *request) Headers(in *extproc.Request) (extproc.Decision, error) {
	if in.EndOfStream {
		r.outcome = outcomeNoBody
		return extproc.Decision{}, nil
	}
	if upgrade(in) {
		return r.ignore(outcomeUpgrade), nil
	}
	contentType, known := in.Header("content-type")
	if !known {
		contentType = "application/json"
	}
	switch mediaType := media(contentType); {
	case mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"):
		r.scanner.maxKeys = r.handler.MaxKeys
		r.finder = &r.scanner
	case mediaType == "multipart/form-data":
		form, err := newForm(contentType)
		if err != nil {
			return extproc.Decision{}, r.refuse(err)
		}
		r.finder = form
	default:
		return r.ignore(outcomeOtherType), nil
	}
	if encoding, ok := in.Header("content-encoding"); in.Count("content-encoding") > 1 || ok && !strings.EqualFold(encoding, "identity") {
		return extproc.Decision{}, &extproc.Reject{
			Status: http.StatusUnsupportedMediaType, Reason: "content_encoding",
			Message: "send the request body without a content encoding",
		}
	}
	return strip(), nil
}

// ignore lets the body pass unseen.
func (r *request) ignore(outcome string) extproc.Decision {
	r.outcome = outcome
	d := strip()
	d.Final = true
	return d
}

// Body scans the next slice.
func (r *request) Body(slice []byte) error {
	r.bytes += int64(len(slice))
	if r.finder == nil {
		return nil
	}
	began := time.Now()
	err := r.finder.Scan(slice)
	r.scanTime += time.Since(began)
	if err != nil {
		return r.refuse(err)
	}
	return nil
}

// End routes by the name that was found.
func (r *request) End() (extproc.Decision, error) {
	if r.finder == nil {
		return strip(), nil
	}
	if r.bytes == 0 {
		r.outcome = outcomeNoBody
		return strip(), nil
	}
	if err := r.finder.End(); err != nil {
		return extproc.Decision{}, r.refuse(err)
	}
	if r.model = r.finder.Model(); r.model == "" {
		r.outcome = outcomeNoModel
		if r.handler.Missing == RejectMissing {
			return extproc.Decision{}, &extproc.Reject{
				Status: http.StatusBadRequest, Reason: "model_missing", Message: `the body names no "model"`,
			}
		}
		return strip(), nil
	}
	r.outcome = outcomeRouted
	r.handler.Log.Debug("routed", "model", clientName(r.model))
	return r.route(), nil
}

// route sets the routing headers and removes those it does not set.
func (r *request) route() extproc.Decision {
	set := []extproc.Header{{Name: header.ModelName, Value: r.model}}
	remove := header.Owned()[1:]
	if base, ok := r.handler.baseModel(r.model); ok {
		set = append(set, extproc.Header{Name: header.BaseModelName, Value: base})
		remove = remove[1:]
	}
	return extproc.Decision{Set: set, Remove: remove, ClearRouteCache: true}
}

func (h *Handler) baseModel(name string) (string, bool) {
	if h.Bases == nil {
		return "", false
	}
	return h.Bases.BaseModel(name)
}

// refuse answers 400 for what a finder could not accept.
func (r *request) refuse(err error) error {
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	r.handler.Log.Debug("rejected body", "reason", invalid.Reason, "offset", invalid.Offset)
	return &extproc.Reject{Status: http.StatusBadRequest, Reason: invalid.Reason, Message: invalid.Error()}
}

// ResponseHeaders passes.
func (r *request) ResponseHeaders(*extproc.Response) {}

// ResponseBody passes.
func (r *request) ResponseBody([]byte, bool) {}

// Close counts the request.
func (r *request) Close(o extproc.Outcome) {
	if o.Reject != nil {
		r.outcome = outcomeRejected
	}
	r.handler.Metrics.count(r, o)
}

// strip removes every routing header the client may have sent. The route that
// was matched with them must be matched again.
func strip() extproc.Decision {
	return extproc.Decision{Remove: header.Owned(), ClearRouteCache: true}
}

// upgrade reports a request whose body never ends, such as a WebSocket. A single
// Upgrade header is none: it asks nothing without Connection (RFC 9110, 7.8).
func upgrade(in *extproc.Request) bool {
	if method, _ := in.Header(":method"); method == http.MethodConnect {
		return true
	}
	connection, _ := in.Header("connection")
	return in.Count("upgrade") > 0 && strings.Contains(strings.ToLower(connection), "upgrade")
}

// media returns the type and subtype of a content type in lower case.
func media(contentType string) string {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(mediaType))
}
