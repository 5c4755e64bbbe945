package bodyrouter

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

const refused = "!"

// oracle says what the scanner must answer, from encoding/json's tokens and the
// written list of differences:
//
//   - a body that is not UTF-8 throughout is refused;
//   - the top level must be an object, at most 128 levels deep, with at most
//     1,024 keys;
//   - no key may have an unpaired surrogate;
//   - "model" occurs at most once, as a string of 1 to 253 visible ASCII bytes.
//
// The inputs must not contain U+FFFD, which is how encoding/json shows an
// unpaired surrogate.
func oracle(body []byte) string {
	if !json.Valid(body) || !utf8.Valid(body) {
		return refused
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	w := walk{}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil || !w.accept(token) {
			return refused
		}
	}
	if w.keys > 1024 {
		return refused
	}
	return w.model
}

// walk follows the tokens of a document.
type walk struct {
	stack   []json.Delim
	wantKey []bool
	last    string
	keys    int
	seen    bool
	model   string
}

func (w *walk) accept(token json.Token) bool {
	depth := len(w.stack)
	if depth == 0 && token != json.Delim('{') {
		return false
	}
	if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
		w.stack, w.wantKey = w.stack[:depth-1], w.wantKey[:depth-1]
		return true
	}
	if depth > 0 && w.stack[depth-1] == '{' {
		w.wantKey[depth-1] = !w.wantKey[depth-1]
		if !w.wantKey[depth-1] {
			return w.key(token.(string))
		}
		if depth == 1 && w.last == "model" && !w.name(token) {
			return false
		}
	}
	if delim, ok := token.(json.Delim); ok {
		w.stack, w.wantKey = append(w.stack, delim), append(w.wantKey, true)
	}
	return len(w.stack) <= 128
}

func (w *walk) key(key string) bool {
	if len(w.stack) == 1 {
		w.last = key
		w.keys++
		if key == "model" && w.seen {
			return false
		}
		w.seen = w.seen || key == "model"
	}
	return !strings.ContainsRune(key, utf8.RuneError)
}

func (w *walk) name(token json.Token) bool {
	name, ok := token.(string)
	if !ok || name == "" || len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	w.model = name
	return true
}

// agree compares scanner and oracle on one body, cut in two.
func agree(t *testing.T, body []byte, cut int) {
	t.Helper()
	got := scan(string(body[:cut]), string(body[cut:]))
	if strings.HasPrefix(got, "!") && oracle(body) == refused {
		return
	}
	if want := oracle(body); got != want {
		t.Fatalf("body %q cut at %d: got %q, want %q", body, cut, got, want)
	}
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	differ(t, 20_000)
}

// differ compares scanner and oracle on generated documents.
func differ(t *testing.T, documents int) {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 8259))
	accepted, named := 0, 0
	for range documents {
		g := generator{Rand: random}
		g.object(0)
		body := g.mutate()
		agree(t, body, random.IntN(len(body)+1))
		if got := oracle(body); got != refused {
			accepted++
			if got != "" {
				named++
			}
		}
	}
	if accepted < documents/4 || accepted > documents*9/10 || named < documents/20 {
		t.Errorf("%d of %d documents accepted, %d with a model: the test proves little", accepted, documents, named)
	}
}

// generator writes documents that are mostly valid.
type generator struct {
	*rand.Rand
	out []byte
}

func (g *generator) put(s string) { g.out = append(g.out, s...) }

func (g *generator) pick(choices ...string) { g.put(choices[g.IntN(len(choices))]) }

func (g *generator) space() {
	if g.IntN(8) == 0 {
		g.pick(" ", "\n", "\t", "\r", "  ")
	}
}

func (g *generator) object(depth int) {
	g.put("{")
	for i := range g.IntN(5) {
		if i > 0 {
			g.put(",")
		}
		g.space()
		if depth == 0 && g.IntN(4) == 0 {
			g.pick(`"model"`, `"\u006dodel"`, `"mod\u0065l"`, `"Model"`, `"models"`)
			g.put(":")
			g.pick(`"qwen"`, `"qwen"`, `"qwen"`, `"qwen"`, `"llama/3:8b"`, `"a\u002db"`, `"\u00e9"`, `"a b"`, `""`, `1`, `null`, `{}`, `["x"]`, `"\ud83d"`)
			continue
		}
		g.text()
		g.space()
		g.put(":")
		g.value(depth + 1)
	}
	g.space()
	g.put("}")
}

func (g *generator) value(depth int) {
	g.space()
	kind := g.IntN(8)
	switch {
	case kind == 0 && depth < 6:
		g.object(depth)
	case kind == 1 && depth < 6:
		g.put("[")
		for i := range g.IntN(4) {
			if i > 0 {
				g.put(",")
			}
			g.value(depth + 1)
		}
		g.put("]")
	case kind == 2:
		g.pick("true", "false", "null")
	case kind < 5:
		g.pick("0", "-0", "17", "-3.25", "1e9", "2E-3", "0.5e+10", "123456789012345678901234567890")
	default:
		g.text()
	}
	g.space()
}

func (g *generator) text() {
	g.put(`"`)
	for range g.IntN(6) {
		g.pick("a", "prompt", "modelmodelmodel", "é", "世界", "𝄞", `\n`, `\"`, `\\`, `\/`, `\u0041`, `\u4e16`,
			`\ud83d\ude00`, "0123456789abcdef")
		if g.IntN(60) == 0 {
			g.pick(`\ud83d`, `\ude00`, `\ude00\ud83d`)
		}
	}
	g.put(`"`)
}

// mutate damages one document in three.
func (g *generator) mutate() []byte {
	if g.IntN(3) != 0 {
		return g.out
	}
	at := g.IntN(len(g.out))
	switch g.IntN(4) {
	case 0:
		return append(g.out[:at], g.out[at+1:]...)
	case 1:
		return g.out[:at]
	case 2:
		g.out[at] = "{}[]:,\"\\0-+.eEtfnu \x00\x1f\x7f\x80\xc3\xe4\xf0\xff"[g.IntN(26)]
		return g.out
	default:
		return append(g.out, g.out[at:]...)
	}
}

func FuzzScanner(f *testing.F) {
	for _, tt := range scannerCases() {
		f.Add([]byte(tt.body), uint(len(tt.body)/2))
	}
	f.Fuzz(func(t *testing.T, body []byte, cut uint) {
		if bytes.ContainsRune(body, utf8.RuneError) && utf8.Valid(body) || bytes.Contains(bytes.ToLower(body), []byte(`\ufffd`)) {
			return // the oracle cannot tell these from surrogates
		}
		agree(t, body, int(cut%uint(len(body)+1)))
	})
}
