package picker

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// maxKeys bounds the top-level keys of a body that is scanned.
const maxKeys = 1024

// requestBody is what a request's body says about its model. It is looked at only
// where rules are in force.
type requestBody struct {
	scanner   *bodyrouter.Scanner // nil: not looked at
	canSplice bool
	follows   bool  // the gateway announced a body
	bytes     int64 // seen
	err       error // of the scanner
}

func (b *requestBody) open(r *extproc.Request, rules *rewrite.Table) {
	b.canSplice, b.follows = r.CanSplice, !r.EndOfStream
	if b.follows && !rules.Empty() && isJSON(r) {
		b.scanner = bodyrouter.NewScanner(maxKeys)
	}
}

// isJSON tells by the headers whether the body can be read. Without a content
// type it is taken for JSON, as model servers do.
func isJSON(r *extproc.Request) bool {
	if encoding, ok := r.Header("content-encoding"); ok && !strings.EqualFold(encoding, "identity") {
		return false
	}
	contentType, ok := r.Header("content-type")
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	return !ok || media == "application/json" || strings.HasSuffix(media, "+json")
}

func (b *requestBody) add(slice []byte) {
	b.bytes += int64(len(slice))
	if b.err == nil {
		b.err = b.scanner.Scan(slice)
	}
}

// end returns the model in the body, "" when it names none or was not read.
func (b *requestBody) end() (model string) {
	if b.scanner == nil || b.bytes == 0 {
		return ""
	}
	if b.err == nil {
		b.err = b.scanner.End()
	}
	if b.err != nil {
		return ""
	}
	return b.scanner.Model()
}

// rewrite applies the rule for the request's model, if there is one. What the
// body says counts more than the body router's header: it is what the model
// server reads.
func (x *exchange) rewrite() (*extproc.Splice, error) {
	named := x.body.end()
	if named != "" {
		x.asked = named
	}
	rule := x.rules.Match(x.asked)
	if rule == nil || x.asked == "" && x.body.bytes == 0 {
		return nil, nil // no rule, or no body that could name a model: a GET, a form
	}
	if err := x.unchangeable(named); err != nil {
		return nil, err
	}
	draw := x.handler.Random
	if draw == nil {
		draw = rand.Uint64N
	}
	target := rule.Draw(draw)
	if target != x.request.Model {
		x.leave() // picked for another model
		x.aim(target)
	}
	if x.handler.Picker.Unloaded(target) {
		return nil, x.refuse(NotLoaded)
	}
	if target == named {
		return nil, nil
	}
	from, to := x.body.scanner.ModelAt()
	return &extproc.Splice{From: from, To: to, With: quoted(target)}, nil
}

// unchangeable returns the refusal of a request that a rule is about and whose
// body cannot be changed. To let it pass would bend the weights.
func (x *exchange) unchangeable(named string) error {
	reject := &extproc.Reject{
		Status: http.StatusBadRequest, Reason: "rewrite_needs_json",
		Message: "the model of this request is rewritten, which needs a JSON body without content encoding",
	}
	var invalid *bodyrouter.Invalid
	switch {
	case errors.As(x.body.err, &invalid):
		reject.Reason, reject.Message = invalid.Reason, invalid.Error()
	case x.body.follows && x.body.scanner == nil:
	case !x.body.canSplice:
		reject.Status, reject.Reason = http.StatusInternalServerError, "rewrite_needs_body"
		reject.Message = "the model of this request is rewritten, and the gateway does not let the picker change its body; use BUFFERED or FULL_DUPLEX_STREAMED"
	case named == "":
		reject.Reason, reject.Message = "model_missing", `the body names no "model", and which one serves it depends on it`
	default:
		return nil
	}
	return reject
}

// quoted is a model name, which is visible ASCII, as it stands between the quotes
// of a JSON string.
func quoted(name string) []byte {
	return []byte(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name))
}
