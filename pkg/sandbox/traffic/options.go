package traffic

import (
	"cmp"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	defaultConcurrency = 256
	defaultTimeout     = time.Minute
	defaultGrace       = 5 * time.Second
	defaultPath        = "/v1/chat/completions"
	maxRate            = 10_000  // req/s; past it the driver would measure itself
	maxTokens          = 4 << 20 // a prompt of 16 MiB
)

// ModelShare is one model of the mix, asked with probability proportional to
// its weight.
type ModelShare struct {
	Model  string  `json:"model"`
	Weight float64 `json:"weight"`
}

// Range is an inclusive range that is drawn from uniformly. The zero Range
// stands for the default.
type Range struct{ Min, Max int }

// Options says what to drive. The zero value of an optional field stands for
// the default it names.
type Options struct {
	URL            string        // the gateway; a path replaces /v1/chat/completions
	Host           string        // Host header; default: the URL's
	Mix            []ModelShare  // at least one
	Rate           float64       // mean arrivals per second
	Duration       time.Duration // of arrivals; 0 is until the context ends
	StreamingShare float64       // of requests that stream, 0–1
	PromptTokens   Range         // default 64–192
	OutputTokens   Range         // default 16–48
	Concurrency    int           // requests in flight; default 256
	Timeout        time.Duration // of one request, whole; default 1m
	Grace          time.Duration // for requests in flight when the context ends; default 5s
	Seed           uint64
	Header         http.Header // added to every request

	AllowRemote bool              // permit a URL that is not loopback
	Transport   http.RoundTripper // default: one of its own, without proxies
}

// prepare fills in defaults and checks the rest.
func (o Options) prepare() (Options, error) {
	o.Concurrency = cmp.Or(o.Concurrency, defaultConcurrency)
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Grace = cmp.Or(o.Grace, defaultGrace)
	o.PromptTokens = cmp.Or(o.PromptTokens, Range{64, 192})
	o.OutputTokens = cmp.Or(o.OutputTokens, Range{16, 48})
	var err error
	if o.URL, err = target(o.URL, o.AllowRemote); err != nil {
		return o, err
	}
	const see = "see kubectl infer sandbox load --help"
	switch {
	case !(o.Rate > 0 && o.Rate <= maxRate):
		return o, hint.Errorf(see, "load: rate %v is not between 0 and %d requests per second", o.Rate, maxRate)
	case o.Duration < 0 || o.Timeout < 0 || o.Grace < 0:
		return o, hint.Errorf(see, "load: a duration is negative")
	case !(o.StreamingShare >= 0 && o.StreamingShare <= 1):
		return o, hint.Errorf(see, "load: streaming share %v is not between 0 and 1", o.StreamingShare)
	case o.Concurrency < 0:
		return o, hint.Errorf(see, "load: concurrency %d is negative", o.Concurrency)
	case !o.PromptTokens.valid() || !o.OutputTokens.valid():
		return o, hint.Errorf(see, "load: a token range is not within 1 to %d", maxTokens)
	case len(o.Mix) == 0:
		return o, hint.Errorf("name a model that the route serves", "load: no model named")
	}
	for _, m := range o.Mix {
		if m.Model == "" || !(m.Weight > 0) || math.IsInf(m.Weight, 1) {
			return o, hint.Errorf("give each model a positive weight", "load: model %q with weight %v", m.Model, m.Weight)
		}
	}
	return o, nil
}

func (r Range) valid() bool { return r.Min >= 1 && r.Max >= r.Min && r.Max <= maxTokens }

// target completes and checks the URL. Names other than localhost count as
// remote, since what they resolve to can change.
func target(raw string, allowRemote bool) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", hint.Errorf("write it as http://127.1.1.1:8080; `kubectl infer sandbox status` prints the gateway's", "load: %q is not an http URL", raw)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
	if !loopback && !allowRemote {
		return "", hint.Errorf("load is for sandboxes; to drive another machine's gateway on purpose, add --allow-remote",
			"load: %s is not a loopback address", u.Hostname())
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = defaultPath
	}
	return u.String(), nil
}
