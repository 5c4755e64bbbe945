package scrape

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// What can go wrong with a page; compare with errors.Is.
var (
	// ErrUnreachable: no answer, or the answer broke off before its end.
	ErrUnreachable = errors.New("unreachable")
	// ErrStatus: an answer whose status is not 200, redirects included.
	ErrStatus = errors.New("unexpected status")
	// ErrTooLarge: a bound of Limits was passed.
	ErrTooLarge = errors.New("page too large")
	// ErrMalformed: not a metrics page, or one that contradicts itself.
	ErrMalformed = errors.New("malformed page")
)

// Limits bound what one page may cost. A field that is zero has the default of
// DefaultLimits.
type Limits struct {
	Timeout time.Duration // the whole exchange, reading included
	Bytes   int64         // after decompression
	Line    int           // bytes in one line
	Lines   int           // lines of any kind
	Series  int           // samples of the wanted families
}

// DefaultLimits returns 1 s, 4 MiB, 64 KiB a line, 100,000 lines and 20,000
// samples: ten times a page of vLLM with many adapters.
func DefaultLimits() Limits {
	return Limits{Timeout: time.Second, Bytes: 4 << 20, Line: 64 << 10, Lines: 100_000, Series: 20_000}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Timeout <= 0 {
		l.Timeout = d.Timeout
	}
	if l.Bytes <= 0 {
		l.Bytes = d.Bytes
	}
	if l.Line <= 0 {
		l.Line = d.Line
	}
	if l.Lines <= 0 {
		l.Lines = d.Lines
	}
	if l.Series <= 0 {
		l.Series = d.Series
	}
	return l
}

// NewClient returns a client for direct scrapes: no proxy whatever the
// environment says, no transparent decompression (a page cannot grow on
// arrival), one idle connection kept per address. Call CloseIdleConnections on
// it at the end.
func NewClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:               nil,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 1,
		MaxConnsPerHost:     2,
		IdleConnTimeout:     30 * time.Second,
		// A header larger than any exporter writes.
		MaxResponseHeaderBytes: 64 << 10,
	}}
}

// accept asks for the two formats that Parse reads; a plain text page is
// preferred, being the cheaper one.
const accept = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5"

// Fetch gets one page from url and keeps the samples of the wanted families.
// Redirects are never followed, whatever client does elsewhere: a pod must not
// be able to send the scraper to another address. client decides about proxies
// (see NewClient) and credentials.
func Fetch(ctx context.Context, client *http.Client, url string, families []string, limits Limits) (*Page, error) {
	limits = limits.orDefault()
	ctx, cancel := context.WithTimeout(ctx, limits.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", url, err)
	}
	req.Header.Set("Accept", accept)

	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := own.Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w: %w", url, ErrUnreachable, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: %w: %s", url, ErrStatus, resp.Status)
	}
	page, err := Parse(resp.Body, resp.Header.Get("Content-Type"), families, limits)
	if err != nil {
		return nil, fmt.Errorf("scrape %s: %w", url, err)
	}
	return page, nil
}
