package bodyrouter

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func TestSkipPlainStopsAtTheFirstByteThatMatters(t *testing.T) {
	t.Parallel()
	for value := range 256 {
		c := byte(value)
		plain := c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\'
		for at := range 100 {
			text := bytes.Repeat([]byte{'!'}, 100) // one above a space, one below a quote
			text[at] = c
			if at+1 < len(text) {
				text[at+1] = '"' // what follows must not hide it
			}
			for from := range 9 {
				want := max(at, from)
				if plain || at < from {
					want = max(at+1, from)
				}
				if at+1 < from {
					want = len(text)
				}
				if got := skipPlain(text, from); got != want {
					t.Fatalf("byte %#x at %d, from %d: stopped at %d, want %d", c, at, from, got, want)
				}
			}
		}
	}
}

func TestRunesLengthAgreesWithUTF8(t *testing.T) {
	t.Parallel()
	// Every leading byte, and followers at the edges of what each may have.
	followers := []byte{'a', 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF}
	for lead := 0x80; lead < 0x100; lead++ {
		for _, second := range followers {
			for _, third := range followers {
				for _, fourth := range followers {
					text := []byte{byte(lead), second, third, fourth, 'a'}
					want := 0
					for want < len(text) && text[want] >= utf8.RuneSelf {
						r, n := utf8.DecodeRune(text[want:])
						if r == utf8.RuneError && n == 1 {
							break
						}
						want += n
					}
					if got := runesLength(text); got != want {
						t.Fatalf("% x: length %d, want %d", text, got, want)
					}
				}
			}
		}
	}
}

func TestSimpleEscapesAreThoseThatDecode(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		_, want := unescape(byte(c))
		if got := simpleEscape(byte(c)); got != want {
			t.Errorf("%q: %v, want %v", byte(c), got, want)
		}
		if _, want := hexDigit(byte(c)); isHex(byte(c)) != want {
			t.Errorf("hex digit %q: %v, want %v", byte(c), isHex(byte(c)), want)
		}
	}
}
