// Package prometheus reads the raw counters of pods from a Prometheus server,
// as the metrics pages they were scraped from.
//
// Only plain selectors are asked for, never rate() or histogram_quantile(): the
// increments are taken where those of scraped pages are, by the same code, so
// that a restart or a missed scrape means the same. Native histograms are read
// as classic ones (see native.go). Start at Client.Pages; Client.Value answers a
// query of the user's own, which may be anything.
//
// Source: the HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/).
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// Bounds of one query.
const (
	timeout  = 5 * time.Second
	maxBytes = 32 << 20
)

// Client asks one Prometheus.
type Client struct {
	base *url.URL
	http *http.Client
}

// New returns a client of the Prometheus at base, such as
// http://prometheus.monitoring:9090.
func New(base string, client *http.Client) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("prometheus %q is no http or https address", base)
	}
	return &Client{base: u, http: client}, nil
}

// Pod is what Prometheus scrapes: by the pod label, or by the address in the
// instance label when there is no pod label.
type Pod struct {
	ID   string // the caller's
	Name string
	IP   string
	Port int32
}

// Pages returns by Pod.ID what was last scraped of each pod, of the given
// families. A pod of which nothing is known is left out: never scraped, or gone
// (a target that cannot be scraped has no samples any more).
func (c *Client) Pages(ctx context.Context, families []string, pods []Pod) (map[string]*scrape.Page, error) {
	var names, addresses []string
	for _, p := range pods {
		names = append(names, regexp.QuoteMeta(p.Name))
		addresses = append(addresses, regexp.QuoteMeta(p.address()))
	}
	selector := `__name__=~"(` + strings.Join(families, "|") + `)(_total|_bucket|_count)?"`
	series, err := c.query(ctx, `{`+selector+`,pod=~`+strconv.Quote(strings.Join(names, "|"))+`}`)
	if err == nil && len(series) == 0 {
		series, err = c.query(ctx, `{`+selector+`,instance=~`+strconv.Quote(strings.Join(addresses, "|"))+`}`)
	}
	if err != nil {
		return nil, err
	}
	pages := map[string]*scrape.Page{}
	for _, p := range pods {
		samples := samplesOf(p, series)
		if len(samples) == 0 {
			continue
		}
		page, err := scrape.NewPage(samples)
		if err != nil {
			return nil, fmt.Errorf("prometheus: pod %s: %w", p.Name, err)
		}
		pages[p.ID] = page
	}
	return pages, nil
}

// Interval is how far apart Prometheus scrapes these pods: the longest of the
// last two minutes. 0 when it cannot be told.
func (c *Client) Interval(ctx context.Context, pods []Pod) (time.Duration, error) {
	var names, addresses []string
	for _, p := range pods {
		names = append(names, regexp.QuoteMeta(p.Name))
		addresses = append(addresses, regexp.QuoteMeta(p.address()))
	}
	series, err := c.query(ctx, `up{pod=~`+strconv.Quote(strings.Join(names, "|"))+`}[2m]`)
	if err == nil && len(series) == 0 {
		series, err = c.query(ctx, `up{instance=~`+strconv.Quote(strings.Join(addresses, "|"))+`}[2m]`)
	}
	if err != nil {
		return 0, err
	}
	longest := 0.0
	for _, s := range series {
		for i := 1; i < len(s.Values); i++ {
			longest = max(longest, s.Values[i].at-s.Values[i-1].at)
		}
	}
	return time.Duration(longest * float64(time.Second)).Round(100 * time.Millisecond), nil
}

func (p Pod) address() string { return net.JoinHostPort(p.IP, strconv.Itoa(int(p.Port))) }

// owns says whether a series is of this pod, and of this port when the pod has
// several.
func (p Pod) owns(labels map[string]string) bool {
	if labels["instance"] == p.address() {
		return true
	}
	_, port, err := net.SplitHostPort(labels["instance"])
	return labels["pod"] == p.Name && (err != nil || port == strconv.Itoa(int(p.Port)))
}

// samplesOf are the samples of a pod. A pod that two jobs scrape counts once.
func samplesOf(p Pod, all []series) []scrape.Sample {
	var jobs []string
	for _, s := range all {
		if p.owns(s.Metric) {
			jobs = append(jobs, s.Metric["job"])
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	job := slices.Min(jobs)
	var samples []scrape.Sample
	for _, s := range all {
		if !p.owns(s.Metric) || s.Metric["job"] != job {
			continue
		}
		switch {
		case s.Histogram != nil:
			samples = append(samples, s.Histogram.classic(s.Metric)...)
		case s.Value != nil:
			samples = append(samples, scrape.Sample{Labels: s.Metric, Value: s.Value.value})
		}
	}
	return samples
}

// series is one result of a query: one value, one native histogram, or the
// values of a time range.
type series struct {
	Metric    map[string]string `json:"metric"`
	Value     *point            `json:"value"`
	Histogram *native           `json:"histogram"`
	Values    []point           `json:"values"`
}

// point is [seconds, "value"].
type point struct{ at, value float64 }

func (p *point) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &[]any{&p.at, &text}); err != nil {
		return err
	}
	var err error
	p.value, err = strconv.ParseFloat(text, 64)
	return err
}

// query runs one instant query whose result is a list of series.
func (c *Client) query(ctx context.Context, expr string) ([]series, error) {
	_, result, err := c.instant(ctx, expr)
	if err != nil {
		return nil, err
	}
	var list []series
	if err := json.Unmarshal(result, &list); err != nil {
		return nil, fmt.Errorf("prometheus: the answer is no query result: %w", err)
	}
	return list, nil
}

// instant runs one instant query; the kind is what Prometheus calls resultType.
func (c *Client) instant(ctx context.Context, expr string) (kind string, result json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	form := url.Values{"query": {expr}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("api/v1/query").String(), strings.NewReader(form))
	if err != nil {
		return "", nil, fmt.Errorf("prometheus: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return "", nil, fmt.Errorf("prometheus: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	var answer struct {
		Status, Error, ErrorType string
		Data                     struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	limited := &io.LimitedReader{R: resp.Body, N: maxBytes + 1}
	err = json.NewDecoder(limited).Decode(&answer)
	switch {
	case limited.N <= 0:
		return "", nil, fmt.Errorf("prometheus: the answer has more than %d bytes", maxBytes)
	case answer.Error != "" && answer.ErrorType == "bad_data":
		return "", nil, fmt.Errorf("prometheus: query %w: %s", ErrRefused, answer.Error)
	case answer.Error != "":
		return "", nil, fmt.Errorf("prometheus: %s", answer.Error)
	case resp.StatusCode != http.StatusOK:
		return "", nil, fmt.Errorf("prometheus: %s", resp.Status)
	case err != nil:
		return "", nil, fmt.Errorf("prometheus: the answer is no query result: %w", err)
	case answer.Status != "success":
		return "", nil, errors.New("prometheus: the answer is no query result")
	}
	return answer.Data.ResultType, answer.Data.Result, nil
}
