package picker

import (
	"bytes"
	"time"
)

// tokens counts the tokens of an answer, and measures the time that each took: of a
// streamed one, (last chunk − first chunk)/(n − 1); of another one, which comes at
// once, the whole time over n. n is the usage that the model server reports, else,
// of a streamed answer, the number of SSE data events, which is about one a token.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, the usage
// of OpenAI's completions and chats (prompt_tokens, completion_tokens; a streamed
// one has it with stream_options.include_usage) and of its responses (input_tokens,
// output_tokens).
type tokens struct {
	first, last    time.Time // chunks with data events
	chunks         int
	events         int // data events but [DONE]
	prompt, output int // of the usage, 0 when nobody told
	line           []byte
	cut            bool // the line is longer than maxLine: its end is not looked at
}

// maxLine bounds the part of an SSE line that is kept until its end arrives, and
// the end of another answer, where its usage is.
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
	if !t.cut {
		t.usage(data)
	}
}

// tail takes a chunk of an answer that is not streamed, and keeps its end.
func (t *tokens) tail(chunk []byte) {
	if over := len(t.line) + len(chunk) - maxLine; over > 0 {
		keep := copy(t.line, t.line[min(over, len(t.line)):])
		t.line = t.line[:keep]
		chunk = chunk[max(0, len(chunk)-maxLine):]
	}
	t.line = append(t.line, chunk...)
}

// usage notes the last usage in data, if there is one. What an answer quotes has
// its quotes escaped, and is not taken for one.
func (t *tokens) usage(data []byte) {
	for _, field := range []struct {
		key  string
		into *int
	}{
		{`"completion_tokens":`, &t.output},
		{`"output_tokens":`, &t.output},
		{`"prompt_tokens":`, &t.prompt},
		{`"input_tokens":`, &t.prompt},
	} {
		at := bytes.LastIndex(data, []byte(field.key))
		if at < 0 {
			continue
		}
		n := 0
		for _, c := range bytes.TrimLeft(data[at+len(field.key):], " ") {
			if c < '0' || c > '9' || n > 1<<30 {
				break
			}
			n = n*10 + int(c-'0')
		}
		*field.into = n
	}
}

// perToken returns the time per output token and where n came from; took is that of
// the whole answer. Not ok for answers of one token or one chunk, which have no time
// between tokens, and for those that do not tell.
func (t *tokens) perToken(streaming bool, took time.Duration) (each time.Duration, from string, ok bool) {
	n, from := t.events, "events"
	if t.output > 0 {
		n, from = t.output, "usage"
	}
	switch {
	case !streaming:
		return took / time.Duration(max(n, 1)), from, t.output > 0
	case n < 2 || t.chunks < 2:
		return 0, from, false
	}
	return t.last.Sub(t.first) / time.Duration(n-1), from, true
}
