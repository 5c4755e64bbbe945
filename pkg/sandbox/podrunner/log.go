package podrunner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

const (
	logPoll  = 100 * time.Millisecond // between looks at a log that is followed
	logChunk = 64 << 10               // read backwards for the last lines
)

// logOptions are the ones of kubectl logs that have a meaning here; lines carry
// no time, so since has none, and timestamps are refused.
type logOptions struct {
	follow, previous bool
	tail             int64 // lines; -1 is all
	limit            int64 // bytes; -1 is all
}

func readLogOptions(query url.Values) (logOptions, error) {
	o := logOptions{tail: -1, limit: -1}
	for name, into := range map[string]*bool{"follow": &o.follow, "previous": &o.previous} {
		if text := query.Get(name); text != "" {
			value, err := strconv.ParseBool(text)
			if err != nil {
				return o, errors.New(name + " is neither true nor false")
			}
			*into = value
		}
	}
	for name, into := range map[string]*int64{"tailLines": &o.tail, "limitBytes": &o.limit} {
		if text := query.Get(name); text != "" {
			value, err := strconv.ParseInt(text, 10, 64)
			if err != nil || value < 0 {
				return o, errors.New(name + " is not a number of 0 or above")
			}
			*into = value
		}
	}
	if on, _ := strconv.ParseBool(query.Get("timestamps")); on {
		return o, errors.New("a sandbox keeps no timestamps of log lines")
	}
	return o, nil
}

// logSpan is the part of a container's log file that one run of its process
// wrote; end -1 is not yet known.
type logSpan struct{ start, end int64 }

// serveLog is kubectl logs.
func (r *Runner) serveLog(w http.ResponseWriter, request *http.Request) {
	_, c := r.container(w, request)
	if c == nil {
		return
	}
	o, err := readLogOptions(request.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	run, span := c.span(o.previous)
	if run == 0 {
		http.Error(w, "the container has no such run", http.StatusBadRequest)
		return
	}
	file, err := os.Open(c.logPath)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	out := &limitedWriter{w: w, left: o.limit}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := copyLog(request.Context(), out, file, span, o, func() bool { return c.runs(run) }); err != nil {
		r.log.Debug("log not sent to its end", "container", c.status.Name, "error", err)
	}
}

// copyLog copies a span's last lines and, with follow, what is added until
// running says no.
func copyLog(ctx context.Context, out io.Writer, file *os.File, span logSpan, o logOptions, running func() bool) error {
	end, err := spanEnd(file, span)
	if err != nil {
		return err
	}
	from := min(span.start, end) // a log that grew too long was begun anew
	if end < span.start {
		from = 0
	}
	if o.tail >= 0 {
		if from, err = lastLines(file, from, end, o.tail); err != nil {
			return err
		}
	}
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for {
		last := !o.follow || span.end >= 0 || !running()
		if end, err = spanEnd(file, span); err != nil {
			return err
		}
		if end < from {
			from = 0
		}
		n, err := io.Copy(out, io.NewSectionReader(file, from, end-from))
		if from += n; err != nil || last {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func spanEnd(file *os.File, span logSpan) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if span.end >= 0 && span.end < info.Size() {
		return span.end, nil
	}
	return info.Size(), nil
}

// lastLines returns where the last n lines between two offsets begin.
func lastLines(file io.ReaderAt, from, to, n int64) (int64, error) {
	if n == 0 {
		return to, nil
	}
	buffer := make([]byte, logChunk)
	for at, end := to, to; at > from; end = at {
		at = max(from, end-logChunk)
		chunk := buffer[:end-at]
		if _, err := file.ReadAt(chunk, at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := bytes.LastIndexByte(chunk, '\n'); i >= 0; i = bytes.LastIndexByte(chunk[:i], '\n') {
			if at+int64(i) == to-1 {
				continue // it ends the last line
			}
			if n--; n == 0 {
				return at + int64(i) + 1, nil
			}
		}
	}
	return from, nil
}

// limitedWriter flushes what it writes and ends after a number of bytes; -1 is
// no end.
type limitedWriter struct {
	w    http.ResponseWriter
	left int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	full := l.left >= 0 && int64(len(p)) > l.left
	if full {
		p = p[:l.left]
	}
	n, err := l.w.Write(p)
	if l.left >= 0 {
		l.left -= int64(n)
	}
	if flusher, ok := l.w.(http.Flusher); ok {
		flusher.Flush()
	}
	if err == nil && full {
		err = io.ErrShortWrite
	}
	return n, err
}
