package bodyrouter

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// role is what a string is for.
type role uint8

const (
	plain     role = iota // a value nobody here reads
	nestedKey             // a key below the top level
	topKey                // a key of the top-level object
	modelName             // the value of the top-level "model"
)

const modelKey = "model"

// maxKey is the length of the longest key that is looked for.
const maxKey = len("messages")

// textState is the place inside a string.
type textState struct {
	role   role
	key    [maxKey]byte // what a topKey began with
	length int          // its characters, more than maxKey being one too many

	escape bool   // after a backslash
	hex    int    // hex digits still to come after \u
	unit   uint16 // the UTF-16 unit they make
	high   bool   // a high surrogate waits for its low one

	more   int  // UTF-8 continuation bytes to come
	lo, hi byte // bounds of the next one
}

// is tells whether a topKey is this name, of at most maxKey bytes.
func (t *textState) is(name string) bool {
	return t.length == len(name) && string(t.key[:len(name)]) == name
}

func (t *textState) isPrompt() bool { return t.is("prompt") || t.is("messages") || t.is("input") }

// strict says that the string is compared or used: it must decode to one text.
func (t *textState) strict() bool { return t.role != plain }

// beginString starts a key or a value; false when neither may stand here.
func (s *Scanner) beginString() bool {
	t := textState{}
	switch {
	case s.state == atKey || s.state == atKeyOrEnd:
		t.role = nestedKey
		if s.depth == 1 {
			t.role = topKey
			if s.keys++; s.keys > s.maxKeys {
				s.fail(reasonKeys, "the JSON body has too many top-level keys")
				return false
			}
		}
	case !s.atValue():
		s.unexpected()
		return false
	case s.model.next:
		t.role = modelName
	}
	s.text, s.state = t, inString
	return true
}

// scanString reads on in a string, up to its closing quote.
func (s *Scanner) scanString(b []byte, i int) int {
	for i < len(b) && s.err == nil && s.state == inString {
		if s.text.idle() {
			if i = s.skip(b, i); i == len(b) {
				break
			}
		}
		s.textByte(b[i])
		i++
	}
	return i
}

// idle says that nothing is pending and plain bytes need not be looked at.
func (t *textState) idle() bool {
	return !t.escape && t.hex == 0 && t.more == 0 && !t.high &&
		(t.role == plain || t.role == nestedKey || t.role == topKey && t.length > maxKey)
}

// skip passes over bytes that change nothing and returns the index of the first
// that textByte must see.
func (s *Scanner) skip(b []byte, i int) int {
	strict := s.text.strict()
	for {
		i = skipPlain(b, i)
		if i == len(b) || strict {
			return i
		}
		switch c := b[i]; {
		case c == '\\':
			n := escapeLength(b[i:])
			if n == 0 {
				return i
			}
			i += n
		case c >= utf8.RuneSelf:
			n := runesLength(b[i:])
			if n == 0 {
				return i
			}
			i += n
		default:
			return i
		}
	}
}

const (
	ones     = 0x0101010101010101 // one in each of eight bytes
	highBits = 0x80 * ones
)

// skipPlain returns the index of the first quote, backslash, control character
// or non-ASCII byte, looking at eight bytes at a time, and at 32 while nothing
// is near.
func skipPlain(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		if found := marks(b[i:]); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		for ; i+40 <= len(b); i += 32 {
			next := b[i+8 : i+40 : i+40]
			if marks(next)|marks(next[8:])|marks(next[16:])|marks(next[24:]) != 0 {
				break
			}
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// marks sets the high bit of the first of eight bytes that is not plain, and of
// none when all are. What it says about later bytes means nothing: a subtraction
// borrows from the byte after.
func marks(b []byte) uint64 {
	x := binary.LittleEndian.Uint64(b)
	return (x | (x - ' '*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) & highBits
}

// escapeLength returns the length of the escape at the start of b, 0 when it is
// not whole or not valid.
func escapeLength(b []byte) int {
	switch {
	case len(b) < 2:
		return 0
	case simpleEscape(b[1]):
		return 2
	case b[1] != 'u' || len(b) < 6:
		return 0
	}
	if !isHex(b[2]) || !isHex(b[3]) || !isHex(b[4]) || !isHex(b[5]) {
		return 0
	}
	return 6
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 6 }

// simpleEscape is the second result of unescape, without a branch: text has
// escapes in no order that a processor could foresee.
func simpleEscape(c byte) bool {
	const (
		low  = 1<<'"' | 1<<'/'
		high = 1<<('\\'-64) | 1<<('b'-64) | 1<<('f'-64) | 1<<('n'-64) | 1<<('r'-64) | 1<<('t'-64)
	)
	return (uint64(low)>>c|uint64(high)>>(c-64))&1 != 0
}

// runesLength returns the length of the whole and valid runes beyond ASCII at the
// start of b.
func runesLength(b []byte) int {
	i := 0
	for i < len(b) && b[i] >= utf8.RuneSelf {
		// Most are of three bytes; with E0 and ED the second has narrower bounds.
		if i+3 <= len(b) && b[i]&0xF0 == 0xE0 && b[i] != 0xE0 && b[i] != 0xED && b[i+1]&0xC0 == 0x80 && b[i+2]&0xC0 == 0x80 {
			i += 3
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		i += n
	}
	return i
}

// textByte takes one byte of a string.
func (s *Scanner) textByte(c byte) {
	t := &s.text
	switch {
	case t.more > 0:
		s.continueRune(c)
	case t.hex > 0:
		s.hexByte(c)
	case t.escape:
		s.escapeByte(c)
	case c == '\\':
		t.escape = true
	case t.high && t.strict():
		s.loneSurrogate()
	case c == '"':
		s.endString()
	case c < 0x20:
		s.fail(reasonSyntax, "a JSON string has a bare control character")
	case c >= utf8.RuneSelf:
		s.beginRune(c)
	default:
		s.char(c)
	}
}

func (s *Scanner) escapeByte(c byte) {
	t := &s.text
	t.escape = false
	if c == 'u' {
		t.hex, t.unit = 4, 0
		return
	}
	decoded, ok := unescape(c)
	switch {
	case !ok:
		s.fail(reasonSyntax, "a JSON string has an unknown escape")
	case t.high && t.strict():
		s.loneSurrogate()
	default:
		s.char(decoded)
	}
}

func (s *Scanner) hexByte(c byte) {
	t := &s.text
	digit, ok := hexDigit(c)
	if !ok {
		s.fail(reasonSyntax, "a JSON string has an unknown escape")
		return
	}
	t.unit = t.unit<<4 | uint16(digit)
	if t.hex--; t.hex == 0 && t.strict() {
		s.endUnit(t.unit)
	}
}

// endUnit takes a UTF-16 unit written as an escape.
func (s *Scanner) endUnit(unit uint16) {
	t := &s.text
	low := 0xDC00 <= unit && unit <= 0xDFFF
	switch {
	case t.high != low:
		s.loneSurrogate()
	case low:
		t.high = false
		s.char(utf8.RuneSelf)
	case 0xD800 <= unit && unit <= 0xDBFF:
		t.high = true
	default:
		s.char(byte(min(unit, utf8.RuneSelf)))
	}
}

// char takes one decoded character: an ASCII one, or utf8.RuneSelf for any other.
func (s *Scanner) char(c byte) {
	t, m := &s.text, &s.model
	switch t.role {
	case topKey:
		if t.length < maxKey {
			t.key[t.length] = c
		}
		t.length = min(t.length+1, maxKey+1)
	case modelName:
		if c <= ' ' || c > '~' || m.n == maxName {
			s.badName()
			return
		}
		m.name[m.n] = c
		m.n++
	}
}

func (s *Scanner) badName() {
	s.fail(reasonName, `"model" is not 1 to 253 visible ASCII characters`)
}

func (s *Scanner) loneSurrogate() {
	s.fail(reasonSurrogate, "a key or the model name has an unpaired surrogate")
}

func (s *Scanner) endString() {
	switch s.text.role {
	case topKey:
		s.state = atColon
		if !s.text.is(modelKey) {
			return
		}
		if s.model.seen {
			s.fail(reasonDuplicate, `"model" occurs twice`)
		}
		s.model.seen, s.model.next = true, true
	case nestedKey:
		s.state = atColon
	case modelName:
		if s.model.n == 0 {
			s.badName()
		}
		s.model.next = false
		s.endValue()
	default:
		s.endValue()
	}
}

// beginRune starts a multi-byte rune; the bounds of its second byte shut out
// overlong forms, surrogates and what is above U+10FFFF (RFC 3629, section 4).
func (s *Scanner) beginRune(c byte) {
	t := &s.text
	t.lo, t.hi = 0x80, 0xBF
	switch {
	case 0xC2 <= c && c <= 0xDF:
		t.more = 1
	case c == 0xE0:
		t.more, t.lo = 2, 0xA0
	case c == 0xED:
		t.more, t.hi = 2, 0x9F
	case 0xE1 <= c && c <= 0xEF:
		t.more = 2
	case c == 0xF0:
		t.more, t.lo = 3, 0x90
	case 0xF1 <= c && c <= 0xF3:
		t.more = 3
	case c == 0xF4:
		t.more, t.hi = 3, 0x8F
	default:
		s.badUTF8()
	}
}

func (s *Scanner) continueRune(c byte) {
	t := &s.text
	if c < t.lo || c > t.hi {
		s.badUTF8()
		return
	}
	t.lo, t.hi = 0x80, 0xBF
	if t.more--; t.more == 0 {
		s.char(utf8.RuneSelf)
	}
}

func (s *Scanner) badUTF8() { s.fail(reasonUTF8, "the body is not valid UTF-8") }

// unescape returns the character that a backslash and c stand for.
func unescape(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
