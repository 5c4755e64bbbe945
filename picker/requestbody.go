package picker

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// maxKeys bounds the top-level keys of a body that is scanned.
const maxKeys = 1024

// requestBody is what a request's body says. It is looked at only for what counts:
// the model, where rules are in force or no header told it, and the beginning of
// the prompt.
type requestBody struct {
	scanner *bodyrouter.Scanner // nil: not looked at
	names   bool                // the model in it counts, so it is read to its end
	whole   bool                // it is shown before any of the request goes on
	follows bool                // the gateway announced a body
	bytes   int64               // seen
	scanned int                 // of these
	err     error               // of the scanner
	prompt  *prefix.Prompt      // nil: does not count
}

func (b *requestBody) open(r *extproc.Request, names bool, prefixes *prefix.Index) {
	b.whole, b.follows, b.names = r.CanSplice, !r.EndOfStream, names
	if !b.follows || !isJSON(r) {
		return
	}
	if prefixes != nil && b.whole {
		b.prompt = prefixes.NewPrompt()
	}
	if names || b.prompt != nil {
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
	before := b.bytes
	b.bytes += int64(len(slice))
	if b.err != nil || !b.names && b.prompt.Full() {
		return
	}
	b.scanned += len(slice)
	if b.err = b.scanner.Scan(slice); b.err == nil && b.prompt != nil {
		from, to := b.scanner.PromptAt()
		if from, to = max(from, before), min(to, b.bytes); from < to {
			b.prompt.Write(slice[from-before : to-before])
		}
	}
}

// end returns the model in the body, "" when it names none or was not read.
func (b *requestBody) end() (model string) {
	if b.scanner == nil || b.bytes == 0 || !b.names {
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

// rewrite learns what the body says, and applies the rule for the request's model,
// if there is one, else what a trusted header asks for. What the body says counts
// more than the body router's header: it is what the model server reads. changed
// says that the request is to be picked for anew.
func (x *exchange) rewrite() (splice *extproc.Splice, changed bool, err error) {
	named := x.body.end()
	if named != "" {
		x.asked = named
	}
	rule := x.rules.Match(x.asked)
	if rule == nil && x.wanted == "" || x.asked == "" && x.body.bytes == 0 {
		// No rule, or no body that could name a model: a GET, a form.
		return nil, x.aim(x.asked), nil
	}
	if err := x.unchangeable(named); err != nil {
		return nil, false, err
	}
	target := x.wanted
	if rule != nil {
		target = rule.Draw(x.draw())
	}
	if changed = x.aim(target); changed {
		x.leave() // picked for another model
	}
	if rule != nil && x.handler.Picker.Unloaded(target) {
		return nil, false, x.refuse(NotLoaded)
	}
	if target == named {
		return nil, changed, nil
	}
	from, to := x.body.scanner.ModelAt()
	return &extproc.Splice{From: from, To: to, With: quoted(target)}, changed, nil
}

func (x *exchange) draw() func(uint64) uint64 {
	if x.handler.Random != nil {
		return x.handler.Random
	}
	return rand.Uint64N
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
	case !x.body.whole:
		reject.Status, reject.Reason = http.StatusInternalServerError, "rewrite_needs_body"
		reject.Message = "the model of this request is rewritten, and the gateway does not let the picker change its body; use BUFFERED or FULL_DUPLEX_STREAMED"
	case named == "":
		reject.Reason, reject.Message = "model_missing", `the body names no "model", and which one serves it depends on it`
	case x.wanted != "" && !rewrite.Servable(x.wanted):
		reject.Reason, reject.Message = "rewrite_header", "the header names a model that is not 1 to 253 visible ASCII characters"
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
