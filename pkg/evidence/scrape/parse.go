package scrape

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// Parse reads one page and keeps the samples of the wanted families. A family
// is named as it stands on the page or without the suffix of its samples:
// "http_requests_total" and "http_requests" both keep http_requests_total, and
// the name of a histogram keeps its _bucket, _sum and _count.
//
// contentType chooses the format; without one the page is read as text.
// A counter, count or bucket that is negative or not finite, a series that
// occurs twice and a histogram whose buckets fall are ErrMalformed, and the
// error names the series.
func Parse(r io.Reader, contentType string, families []string, limits Limits) (*Page, error) {
	limits = limits.orDefault()
	format, err := formatOf(contentType)
	if err != nil {
		return nil, err
	}
	lines, err := wantedLines(r, newWanted(families), limits)
	if err != nil {
		return nil, err
	}
	parser, err := textparse.New(lines, format, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return collect(parser, limits)
}

const (
	textFormat        = "text/plain"
	openMetricsFormat = "application/openmetrics-text"
)

// formatOf tells which of the two formats a page claims to be in. OpenMetrics
// 2.0 is read as 1.0, whose samples of counters and classic histograms it
// shares.
func formatOf(contentType string) (string, error) {
	if contentType == "" {
		return textFormat, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", fmt.Errorf("%w: content type %q: %w", ErrMalformed, contentType, err)
	}
	if media != textFormat && media != openMetricsFormat {
		return "", fmt.Errorf("%w: content type %q is no metrics page", ErrMalformed, contentType)
	}
	return media, nil
}

// wanted is a set of family names.
type wanted map[string]struct{}

func newWanted(families []string) wanted {
	w := wanted{}
	for _, f := range families {
		w[f] = struct{}{}
		w[strings.TrimSuffix(f, "_total")] = struct{}{}
	}
	return w
}

// has tells whether a sample of this name belongs to a wanted family. It does
// not allocate.
func (w wanted) has(name []byte) bool {
	if _, ok := w[string(name)]; ok {
		return true
	}
	i := bytes.LastIndexByte(name, '_')
	if i < 0 {
		return false
	}
	switch string(name[i:]) {
	case "_bucket", "_count", "_sum", "_total":
		_, ok := w[string(name[:i])]
		return ok
	}
	return false
}

// line tells whether the parser needs to see this line: a sample of a wanted
// family, its type, or the end mark of OpenMetrics.
func (w wanted) line(line []byte) bool {
	if line[0] != '#' {
		end := bytes.IndexAny(line, "{ \t")
		return end > 0 && w.has(line[:end])
	}
	if bytes.Equal(line, []byte("# EOF")) {
		return true
	}
	rest, ok := bytes.CutPrefix(line, []byte("# TYPE "))
	if !ok {
		return false
	}
	name, _, _ := bytes.Cut(rest, []byte(" "))
	return w.has(name)
}

// wantedLines reads the page within its limits and returns the lines that
// matter. In both formats a line break inside a label value is escaped, so a
// line is always a whole sample.
func wantedLines(r io.Reader, w wanted, limits Limits) ([]byte, error) {
	limited := &io.LimitedReader{R: r, N: limits.Bytes + 1}
	scanner := bufio.NewScanner(limited)
	scanner.Buffer(make([]byte, 0, min(4096, limits.Line)), limits.Line)
	var kept []byte
	for n := 1; scanner.Scan(); n++ {
		if n > limits.Lines {
			return nil, fmt.Errorf("%w: more than %d lines", ErrTooLarge, limits.Lines)
		}
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) > 0 && w.line(line) {
			kept = append(append(kept, line...), '\n')
		}
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limits.Bytes)
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, limits.Line)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return kept, nil
}

// collect drains parser into a page.
func collect(parser textparse.Parser, limits Limits) (*Page, error) {
	page := &Page{samples: map[string][]sample{}}
	seen := map[uint64]struct{}{}
	counter := ""
	for n := 0; ; {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return page, page.checkBuckets()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		switch entry {
		case textparse.EntryType:
			name, kind := parser.Type()
			if counter = ""; kind == model.MetricTypeCounter {
				counter = string(name)
			}
		case textparse.EntrySeries:
			if n++; n > limits.Series {
				return nil, fmt.Errorf("%w: more than %d samples", ErrTooLarge, limits.Series)
			}
			_, _, value := parser.Series()
			var ls labels.Labels
			parser.Labels(&ls)
			if err := page.add(ls, value, counter, seen); err != nil {
				return nil, err
			}
		}
	}
}

// add keeps one sample; counter is the family that the page last declared to
// be a counter.
func (p *Page) add(ls labels.Labels, value float64, counter string, seen map[uint64]struct{}) error {
	name := ls.Get(model.MetricNameLabel)
	cumulative := name == counter ||
		strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_count")
	if cumulative && (value < 0 || math.IsNaN(value) || math.IsInf(value, 0)) {
		return fmt.Errorf("%w: series %s is %v", ErrMalformed, ls, value)
	}
	hash := ls.Hash()
	if _, twice := seen[hash]; twice {
		return fmt.Errorf("%w: series %s occurs twice", ErrMalformed, ls)
	}
	seen[hash] = struct{}{}
	p.samples[name] = append(p.samples[name], sample{labels: ls, value: value})
	return nil
}
