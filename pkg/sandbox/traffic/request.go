package traffic

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// backendHeader is set by the sandbox gateway on every answer: the namespace
// and name of the pool that gave it.
const backendHeader = "x-kubectl-infer-backend"

const (
	maxEvent  = 64 << 10 // bytes read of one event; the rest of it is skipped
	maxAnswer = 1 << 20  // bytes read of one whole answer to find its model
)

// Kinds of failure without a status of their own.
const (
	kindTimeout   = "timeout"
	kindRefused   = "connection refused"
	kindReset     = "connection reset"
	kindClosed    = "connection closed"
	kindTruncated = "truncated"
	kindEvent     = "error event"
	kindMalformed = "malformed answer"
	kindOther     = "other"
)

var errEvent = errors.New("error event in the stream")

// outcome is what became of one request.
type outcome struct {
	code     int           // 0 when no response came
	kind     string        // "" unless the failure has no status
	canceled bool          // given up by us
	ttft     time.Duration // 0 unless streaming and a first event came
	total    time.Duration
	backend  string
	model    string
}

func (o outcome) ok() bool { return o.kind == "" && !o.canceled && o.code/100 == 2 }

// body builds the request's JSON. ignore_eos is vLLM's way to get exactly
// max_tokens; the prompt begins with its number, so that no two share a prefix.
func (a arrival) body(chat bool) ([]byte, error) {
	const filler = "tell me one more thing about this old town and its river "
	size := a.prompt * 4
	text := fmt.Sprintf("%d ", a.n)
	text += strings.Repeat(filler, max(0, size-len(text))/len(filler)+1)
	text = text[:size]
	request := map[string]any{
		"model": a.model, "stream": a.stream, "max_tokens": a.output, "ignore_eos": true,
	}
	if chat {
		request["messages"] = []map[string]string{{"role": "user", "content": text}}
	} else {
		request["prompt"] = text
	}
	if a.stream {
		request["stream_options"] = map[string]bool{"include_usage": true}
	}
	return json.Marshal(request)
}

// do sends one request and reads its answer to the end.
func (d *driver) do(ctx context.Context, a arrival) outcome {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	out, err := d.exchange(limited, a, start)
	out.total = time.Since(start)
	out.canceled = ctx.Err() != nil && err != nil
	if err != nil {
		out.kind = kindOf(err)
	}
	return out
}

func (d *driver) exchange(ctx context.Context, a arrival, start time.Time) (out outcome, err error) {
	body, err := a.body(strings.HasSuffix(d.o.URL, "/chat/completions"))
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.o.URL, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	for name, values := range d.o.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Host = d.o.Host
	resp, err := d.client.Do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	out.code, out.backend = resp.StatusCode, resp.Header.Get(backendHeader)
	if out.code/100 != 2 {
		_, err = io.Copy(io.Discard, resp.Body)
		return out, err
	}
	if a.stream {
		out.model, err = readStream(resp.Body, func() { out.ttft = time.Since(start) })
	} else {
		out.model, err = readAnswer(resp.Body)
	}
	return out, err
}

// readAnswer reads a whole JSON answer and returns the model it names; "" when
// the answer is too long to look into.
func readAnswer(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err != nil {
		return "", err
	}
	rest, err := io.Copy(io.Discard, r)
	if err != nil || rest > 0 {
		return "", err
	}
	var answer struct{ Model string }
	return answer.Model, json.Unmarshal(data, &answer)
}

// readStream reads server-sent events to the end, calls first at the first one
// and returns the model it names. A stream without [DONE] is an error.
func readStream(r io.Reader, first func()) (model string, err error) {
	lines := bufio.NewReaderSize(r, maxEvent)
	done, events := false, 0
	for {
		line, err := lines.ReadSlice('\n')
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = bytes.TrimSpace(data)
			switch {
			case bytes.Equal(data, []byte("[DONE]")):
				done = true
			case bytes.HasPrefix(data, []byte(`{"error"`)):
				return model, errEvent
			case events == 0:
				first()
				model = modelOf(data)
			}
			events++
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && done:
			return model, nil
		case errors.Is(err, io.EOF):
			return model, io.ErrUnexpectedEOF
		default:
			return model, err
		}
	}
}

// modelOf is the model an event names, "" when it names none.
func modelOf(event []byte) string {
	var chunk struct{ Model string }
	if json.Unmarshal(event, &chunk) != nil {
		return ""
	}
	return chunk.Model
}

// kindOf sorts an error into one of a few kinds.
func kindOf(err error) string {
	var timeout net.Error
	var syntax *json.SyntaxError
	var field *json.UnmarshalTypeError
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return kindTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return kindRefused
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return kindReset
	case errors.Is(err, io.ErrUnexpectedEOF):
		return kindTruncated
	case errors.Is(err, io.EOF):
		return kindClosed
	case errors.Is(err, errEvent):
		return kindEvent
	case errors.As(err, &syntax), errors.As(err, &field):
		return kindMalformed
	}
	return kindOther
}
