package bodyrouter

import "fmt"

// Limits of the scanner that are not flags.
const (
	maxDepth = 128 // nested objects and arrays
	maxName  = 253 // bytes of a model name
)

// Invalid says why a request body has no model that every reader would agree on.
type Invalid struct {
	// Reason is a short snake_case word, from a fixed set.
	Reason string
	// Message is for the person who sent the body. It quotes nothing of it.
	Message string
	// Offset is the byte at which the scanner stopped, from 0.
	Offset int64
}

// Error returns the message and the offset.
func (e *Invalid) Error() string { return fmt.Sprintf("%s at byte %d", e.Message, e.Offset) }

// The reasons an Invalid can have.
const (
	reasonSyntax    = "json_syntax"
	reasonNotObject = "json_not_object"
	reasonUTF8      = "json_utf8"
	reasonSurrogate = "json_surrogate"
	reasonDepth     = "json_depth"
	reasonKeys      = "json_keys"
	reasonDuplicate = "model_duplicate"
	reasonType      = "model_not_string"
	reasonName      = "model_name"
)

// state is what the scanner expects next.
type state uint8

const (
	atStart      state = iota // the top-level object
	atKeyOrEnd                // after {
	atKey                     // after , in an object
	atColon                   // after a key
	atValue                   // after : or , in an array
	atValueOrEnd              // after [
	atNext                    // after a value
	atEnd                     // after the document
	inString
	inNumber
	inLiteral
)

// Scanner finds the top-level "model" of a JSON object that arrives in slices of
// any size. It checks the whole document against RFC 8259 and closes every way
// in which two readers could see different models: duplicate keys (also written
// with escapes), a value that is no string, invalid UTF-8, unpaired surrogates
// in keys. It keeps no bytes but the model name and allocates nothing.
//
// Start reading at Scan; scanStructure is the grammar of RFC 8259, text.go its
// strings and number.go its numbers.
type Scanner struct {
	maxKeys int
	offset  int64
	err     *Invalid

	state state
	depth int
	array [maxDepth / 64]uint64 // bit d: the container at depth d+1 is an array
	keys  int

	text    textState
	number  numberState
	literal string // what must still follow
	model   modelState
	prompt  span
}

// span is a part of the body; both ends are 0 when there is none, and to alone
// while its end is not reached.
type span struct{ from, to int64 }

// modelState is what is known about "model".
type modelState struct {
	seen bool // the key occurred
	next bool // its value comes next
	name [maxName]byte
	n    int

	from, to int64 // where its value stands, quotes left out
}

// NewScanner returns a scanner that allows maxKeys top-level keys.
func NewScanner(maxKeys int) *Scanner { return &Scanner{maxKeys: maxKeys} }

// Scan takes the next bytes of the body. Its error is an *Invalid, and lasting.
func (s *Scanner) Scan(b []byte) error {
	for i := 0; i < len(b) && s.err == nil; {
		switch s.state {
		case inString:
			if i = s.scanString(b, i); s.state != inString {
				s.stringEnded(s.offset + int64(i))
			}
		case inNumber:
			i = s.scanNumber(b, i)
		case inLiteral:
			i = s.scanLiteral(b, i)
		default:
			if i = s.scanStructure(b, i); s.state == inString {
				s.stringBegan(s.offset + int64(i))
			}
		}
		if s.err != nil {
			s.err.Offset = s.offset + int64(max(i-1, 0))
		}
	}
	if s.err != nil {
		return s.err
	}
	s.offset += int64(len(b))
	return nil
}

// stringBegan notes where a string's first byte is, after its opening quote.
func (s *Scanner) stringBegan(at int64) {
	switch {
	case s.text.role == modelName:
		s.model.from = at
	case s.text.role == topKey && s.prompt.from > 0 && s.prompt.to == 0:
		s.prompt.to = at
	}
}

// stringEnded notes where a string is over, its closing quote included.
func (s *Scanner) stringEnded(at int64) {
	switch {
	case s.text.role == modelName:
		s.model.to = at - 1
	case s.text.role == topKey && s.prompt.from == 0 && s.text.isPrompt():
		s.prompt.from = at
	}
}

// End says that the body is complete. Its error is an *Invalid.
func (s *Scanner) End() error {
	if s.err == nil && s.state != atEnd {
		s.fail(reasonSyntax, "the JSON body ends too early")
		s.err.Offset = s.offset
	}
	if s.err != nil {
		return s.err
	}
	return nil
}

// Model returns the model's name, "" when the body has none. It is meaningful
// once End returned nil.
func (s *Scanner) Model() string { return string(s.model.name[:s.model.n]) }

// ModelAt returns where the name stands in the body, as it is written there and
// without its quotes: the bytes from from up to, not including, to. Like Model it
// is meaningful once End returned nil; both are 0 when there is no model.
func (s *Scanner) ModelAt() (from, to int64) { return s.model.from, s.model.to }

// PromptAt returns the part of the body that holds the prompt, as far as it was
// scanned: from the first top-level key that is "prompt", "messages" or "input",
// its value and what surrounds it, up to the next key. Two bodies with prompts
// that begin alike have parts that do, unless their writers format JSON
// differently. Both are 0 when there is none yet.
func (s *Scanner) PromptAt() (from, to int64) {
	if s.prompt.from > 0 && s.prompt.to == 0 {
		return s.prompt.from, s.offset
	}
	return s.prompt.from, s.prompt.to
}

func (s *Scanner) fail(reason, message string) {
	if s.err == nil {
		s.err = &Invalid{Reason: reason, Message: message}
	}
}

// scanStructure reads what stands between strings, numbers and literals.
func (s *Scanner) scanStructure(b []byte, i int) int {
	for i < len(b) && s.err == nil {
		c := b[i]
		i++
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			if s.beginString() {
				return i
			}
		case '{', '[':
			s.push(c == '[')
		case '}', ']':
			s.pop(c == ']')
		case ':':
			s.expect(s.state == atColon, atValue)
		case ',':
			s.comma()
		default:
			s.beginScalar(c)
			if s.err == nil {
				return i
			}
		}
	}
	return i
}

// expect moves to next when ok, and fails otherwise.
func (s *Scanner) expect(ok bool, next state) {
	if !ok {
		s.unexpected()
		return
	}
	s.state = next
}

func (s *Scanner) unexpected() {
	if s.state == atStart {
		s.fail(reasonNotObject, "the body is not a JSON object")
		return
	}
	s.fail(reasonSyntax, "the body is not valid JSON")
}

func (s *Scanner) inArray() bool {
	d := s.depth - 1
	return s.array[d/64]&(1<<(d%64)) != 0
}

func (s *Scanner) atValue() bool { return s.state == atValue || s.state == atValueOrEnd }

func (s *Scanner) push(array bool) {
	switch {
	case s.state == atStart && !array:
	case !s.atValue():
		s.unexpected()
		return
	case s.model.next:
		s.modelNotString()
		return
	case s.depth == maxDepth:
		s.fail(reasonDepth, fmt.Sprintf("the JSON body is nested deeper than %d levels", maxDepth))
		return
	}
	bit := uint64(1) << (s.depth % 64)
	if array {
		s.array[s.depth/64] |= bit
		s.state = atValueOrEnd
	} else {
		s.array[s.depth/64] &^= bit
		s.state = atKeyOrEnd
	}
	s.depth++
}

func (s *Scanner) pop(array bool) {
	empty := atKeyOrEnd
	if array {
		empty = atValueOrEnd
	}
	if s.state != empty && s.state != atNext || s.inArray() != array {
		s.unexpected()
		return
	}
	s.depth--
	s.endValue()
}

func (s *Scanner) endValue() {
	s.state = atNext
	if s.depth == 0 {
		s.state = atEnd
	}
}

func (s *Scanner) comma() {
	switch {
	case s.state != atNext:
		s.unexpected()
	case s.inArray():
		s.state = atValue
	default:
		s.state = atKey
	}
}

func (s *Scanner) modelNotString() {
	s.fail(reasonType, `"model" is not a string`)
}

// beginScalar starts a number or a literal with its first byte c.
func (s *Scanner) beginScalar(c byte) {
	if !s.atValue() {
		s.unexpected()
		return
	}
	if s.model.next {
		s.modelNotString()
		return
	}
	switch {
	case c == 't':
		s.state, s.literal = inLiteral, "rue"
	case c == 'f':
		s.state, s.literal = inLiteral, "alse"
	case c == 'n':
		s.state, s.literal = inLiteral, "ull"
	default:
		s.beginNumber(c)
	}
}

func (s *Scanner) scanLiteral(b []byte, i int) int {
	for ; i < len(b) && s.literal != ""; i++ {
		if b[i] != s.literal[0] {
			s.unexpected()
			return i + 1
		}
		s.literal = s.literal[1:]
	}
	if s.literal == "" {
		s.endValue()
	}
	return i
}
