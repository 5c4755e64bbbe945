package picker

import (
	"bytes"
	"time"
)

// tokens measures the time per output token of a streamed answer:
// (last chunk − first chunk)/(n − 1). n is the usage that the model server
// reports, else the number of SSE data events, which is about one a token.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html and
// OpenAI's stream_options.include_usage.
type tokens struct {
	first, last time.Time // chunks with data events
	chunks      int
	events      int // data events but [DONE]
	usage       int // completion_tokens, 0 when nobody told
	line        []byte
	cut         bool // the line is longer than maxLine: its end is not looked at
}

// maxLine bounds the part of an SSE line that is kept until its end arrives.
const maxLine = 4 << 10

// add takes a chunk of the answer that came at now.
func (t *tokens) add(chunk []byte, now time.Time) {
	before := t.events
	for len(chunk) > 0 {
		line, rest, whole := bytes.Cut(chunk, []byte("\n"))
		chunk = rest
		if len(t.line) > 0 || !whole {
			keep := min(len(line), maxLine-len(t.line))
			t.cut = t.cut || keep < len(line)
			t.line = append(t.line, line[:keep]...)
			line = t.line
		}
		if whole {
			t.event(line)
			t.line, t.cut = t.line[:0], false
		}
	}
	if t.events == before {
		return
	}
	if t.chunks++; t.chunks == 1 {
		t.first = now
	}
	t.last = now
}

// event reads one whole line.
func (t *tokens) event(line []byte) {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		return
	}
	if data = bytes.TrimSpace(data); string(data) == "[DONE]" {
		return
	}
	t.events++
	const key = `"completion_tokens":`
	at := bytes.LastIndex(data, []byte(key))
	if at < 0 || t.cut {
		return
	}
	n := 0
	for _, c := range bytes.TrimLeft(data[at+len(key):], " ") {
		if c < '0' || c > '9' || n > 1<<30 {
			break
		}
		n = n*10 + int(c-'0')
	}
	t.usage = n
}

// perToken returns the time per output token and where n came from; not ok for
// answers of one token or one chunk, which have no time between tokens.
func (t *tokens) perToken() (each time.Duration, from string, ok bool) {
	n, from := t.events, "events"
	if t.usage > 0 {
		n, from = t.usage, "usage"
	}
	if n < 2 || t.chunks < 2 {
		return 0, from, false
	}
	return t.last.Sub(t.first) / time.Duration(n-1), from, true
}
