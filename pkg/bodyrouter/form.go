package bodyrouter

import (
	"bytes"
	"mime"
	"strings"
)

// Limits of a form that are not flags.
const (
	maxBoundary   = 70      // bytes; RFC 2046, section 5.1.1
	maxPartHeader = 4 << 10 // bytes of one part's header block
	maxParts      = 1000
)

const reasonForm = "form_syntax"

// formState is what a form expects next.
type formState uint8

const (
	atFirst    formState = iota // the first delimiter
	afterDash                   // after a delimiter: CRLF, or the two dashes that end the form
	inHeader                    // a part's header block
	inData                      // a part's content
	atEpilogue                  // after the last delimiter: nothing, or one CRLF
)

// form finds the field "model" of a multipart/form-data body that arrives in
// slices (RFC 7578, RFC 2046). Parsers of forms disagree more than those of
// JSON, so it takes only what all read alike: CRLF line ends, no preamble or
// epilogue, no folded header lines, one Content-Disposition for each part, and
// delimiter lines with nothing after them. It keeps one part's header at a time.
type form struct {
	delimiter []byte // CRLF, two dashes, the boundary
	matched   int    // bytes of delimiter seen
	state     formState
	tail      []byte // bytes of afterDash or atEpilogue so far
	head      []byte // the header block so far
	parts     int

	begun   int  // bytes of a delimiter without its CRLF seen at the content's start; -1 when it is none
	capture bool // the part is the field "model"
	seen    bool
	name    []byte

	offset int64
	err    *Invalid
}

// newForm returns the finder for a multipart/form-data content type.
func newForm(contentType string) (*form, error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	boundary := parameters["boundary"]
	if err != nil || !validBoundary(boundary) || strings.Contains(strings.ToLower(contentType), "boundary*") {
		return nil, &Invalid{Reason: reasonForm, Message: "the content type has no valid boundary"}
	}
	// The body starts with a delimiter that has no CRLF before it.
	return &form{delimiter: []byte("\r\n--" + boundary), matched: 2}, nil
}

func validBoundary(boundary string) bool {
	if boundary == "" || len(boundary) > maxBoundary {
		return false
	}
	return !strings.ContainsFunc(boundary, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Scan takes the next bytes of the body. Its error is an *Invalid, and lasting.
func (f *form) Scan(b []byte) error {
	for i := 0; i < len(b) && f.err == nil; {
		switch f.state {
		case atFirst:
			if b[i] != f.delimiter[f.matched] {
				f.fail(reasonForm, "the form does not start with its boundary")
			}
			i++
			f.step()
		case afterDash:
			f.afterDelimiter(b[i])
			i++
		case inHeader:
			i = f.header(b, i)
		case inData:
			i = f.data(b, i)
		case atEpilogue:
			f.epilogue(b[i])
			i++
		}
		if f.err != nil {
			f.err.Offset = f.offset + int64(i) - 1
		}
	}
	if f.err != nil {
		return f.err
	}
	f.offset += int64(len(b))
	return nil
}

// End says that the body is complete. Its error is an *Invalid.
func (f *form) End() error {
	if f.err == nil && (f.state != atEpilogue || len(f.tail) == 1) {
		f.fail(reasonForm, "the form ends too early")
		f.err.Offset = f.offset
	}
	if f.err != nil {
		return f.err
	}
	return nil
}

// Model returns the value of the field "model", "" when there is none.
func (f *form) Model() string { return string(f.name) }

func (f *form) fail(reason, message string) {
	if f.err == nil {
		f.err = &Invalid{Reason: reason, Message: message}
	}
}

// step notes one more byte of the delimiter.
func (f *form) step() {
	if f.matched++; f.matched == len(f.delimiter) {
		f.state, f.matched, f.tail = afterDash, 0, f.tail[:0]
	}
}

func (f *form) afterDelimiter(c byte) {
	f.tail = append(f.tail, c)
	switch string(f.tail) {
	case "\r", "-":
	case "\r\n":
		f.state, f.head, f.capture = inHeader, append(f.head[:0], '\r', '\n'), false
		if f.parts++; f.parts > maxParts {
			f.fail(reasonForm, "the form has too many parts")
		}
	case "--":
		f.state, f.tail = atEpilogue, f.tail[:0]
	default:
		f.fail(reasonForm, "a boundary of the form is followed by other text")
	}
}

func (f *form) epilogue(c byte) {
	f.tail = append(f.tail, c)
	if !strings.HasPrefix("\r\n", string(f.tail)) {
		f.fail(reasonForm, "the form goes on after its end")
	}
}

// header gathers a header block up to its empty line.
func (f *form) header(b []byte, i int) int {
	for ; i < len(b); i++ {
		f.head = append(f.head, b[i])
		if len(f.head) > maxPartHeader {
			f.fail(reasonForm, "a part of the form has a header that is too long")
			return i + 1
		}
		if b[i] == '\n' && bytes.HasSuffix(f.head, []byte("\r\n\r\n")) {
			f.beginPart()
			return i + 1
		}
	}
	return i
}

func (f *form) beginPart() {
	f.state, f.begun = inData, 0
	part, ok := parsePart(string(f.head))
	switch {
	case !ok:
		f.fail(reasonForm, "a part of the form has an invalid header")
	case part.name != modelKey:
	case f.seen:
		f.fail(reasonDuplicate, `"model" occurs twice`)
	case part.file || part.encoded:
		f.fail(reasonType, `"model" is not a plain form field`)
	default:
		f.seen, f.capture = true, true
	}
}

// data looks for the delimiter, whose only carriage return is its first byte.
func (f *form) data(b []byte, i int) int {
	for i < len(b) && f.state == inData && f.err == nil {
		switch {
		case f.begun >= 0:
			f.beginContent(b[i])
		case f.matched == 0 && !f.capture:
			next := bytes.IndexByte(b[i:], '\r')
			if next < 0 {
				return len(b)
			}
			i += next
		}
		c := b[i]
		i++
		if c == f.delimiter[f.matched] {
			if f.step(); f.state != inData && f.capture && len(f.name) == 0 {
				f.badName()
			}
			continue
		}
		if f.capture {
			f.content(c)
		}
		if f.matched = 0; c == '\r' {
			f.matched = 1
		}
	}
	return i
}

// beginContent refuses a delimiter right after a part's header: the CRLF before
// it belongs to the header, so some readers see a delimiter and some do not.
func (f *form) beginContent(c byte) {
	bare := f.delimiter[2:]
	if c != bare[f.begun] {
		f.begun = -1
		return
	}
	if f.begun++; f.begun == len(bare) {
		f.fail(reasonForm, "a part of the form starts with a boundary")
	}
}

// content takes a byte of the name. A false start of a delimiter holds a line
// break, which no name may have.
func (f *form) content(c byte) {
	if f.matched > 0 || c <= ' ' || c > '~' || len(f.name) == maxName {
		f.badName()
		return
	}
	f.name = append(f.name, c)
}

func (f *form) badName() {
	f.fail(reasonName, `"model" is not 1 to 253 visible ASCII characters`)
}

// part is what a part's header says.
type part struct {
	name          string
	file, encoded bool
}

// parsePart reads a header block that starts and ends with CRLF.
func parsePart(block string) (part, bool) {
	var p part
	named := false
	lines := strings.TrimSuffix(strings.TrimPrefix(block, "\r\n"), "\r\n\r\n")
	for line := range strings.SplitSeq(lines, "\r\n") {
		key, value, ok := strings.Cut(line, ":")
		if !ok || !token(key) || strings.ContainsFunc(value, control) {
			return p, false
		}
		switch strings.ToLower(key) {
		case "content-disposition":
			if named || !p.disposition(value) {
				return p, false
			}
			named = true
		case "content-transfer-encoding":
			p.encoded = true
		}
	}
	return p, named
}

// control reports what no header value may hold (RFC 9110, section 5.5).
func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// disposition reads the value of Content-Disposition.
func (p *part) disposition(value string) bool {
	kind, rest, _ := strings.Cut(value, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return false
	}
	named := false
	for rest != "" {
		key, text, after, ok := parameter(rest)
		switch {
		case !ok:
			return false
		case key == "name" && !named:
			p.name, named = text, true
		case key == "filename" || key == "filename*":
			p.file = true
		case strings.HasPrefix(key, "name"):
			return false // a second name, or one in another notation
		}
		rest = after
	}
	return named
}

// parameter reads one key=value and the semicolon after it.
func parameter(s string) (key, value, rest string, ok bool) {
	key, s, ok = strings.Cut(s, "=")
	key = strings.ToLower(strings.TrimSpace(key))
	if !ok || !token(key) {
		return "", "", "", false
	}
	if quoted := strings.TrimLeft(s, " \t"); strings.HasPrefix(quoted, `"`) {
		end := closingQuote(quoted)
		if end < 0 || key == "name" && strings.Contains(quoted[:end], `\`) {
			return "", "", "", false
		}
		value, s = quoted[1:end], strings.TrimLeft(quoted[end+1:], " \t")
		if s != "" && s[0] != ';' {
			return "", "", "", false
		}
		return key, value, strings.TrimPrefix(s, ";"), true
	}
	value, rest, _ = strings.Cut(s, ";")
	value = strings.TrimSpace(value)
	return key, value, rest, token(value)
}

// token reports a word of RFC 9110, section 5.6.2.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// closingQuote returns the index of the quote that ends the one at 0, or -1.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
