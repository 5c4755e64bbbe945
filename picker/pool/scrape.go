package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// Scraper asks every endpoint for its load about once an Interval. The scrapes
// of one round are spread over it, so that a large pool is a steady trickle and
// no burst; a server that fails is asked less often, up to every fourth round.
type Scraper struct {
	Endpoints func() []picker.Endpoint
	Source    Source
	Interval  time.Duration // 1 s by default
	Workers   int           // scrapes at once, 16 by default
	Limits    scrape.Limits
	Client    *http.Client
	Clock     clock.Clock
	Count     func(outcome string) // one of Outcomes
	Log       *slog.Logger
}

// Source says where an endpoint's load stands.
type Source struct {
	Scheme, Path              string
	Port                      int // 0: the endpoint's own
	Running, Waiting, KVCache Series
	Adapters                  Series // its labels list the LoRA adapters; "" name: none
	ModelsPath                string // lists the served names; "": not asked
}

// Outcomes lists what Scraper.Count is called with.
func Outcomes() []string {
	return []string{"ok", "unreachable", "status", "too_large", "malformed", "no_load"}
}

// errNoLoad: a page without the series that tell the load.
var errNoLoad = errors.New("no load on the page")

// target is an endpoint as the scraper remembers it between rounds.
type target struct {
	url      string
	models   string // "": not asked
	live     *picker.Live
	busy     atomic.Bool  // being scraped
	failures atomic.Int32 // in a row
	visits   int          // belongs to whoever made it busy
	skip     int32        // rounds to wait; belongs to the dispatching goroutine
}

// Run scrapes until ctx ends.
func (s *Scraper) Run(ctx context.Context) {
	work := make(chan *target)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer close(work)
	for range max(s.Workers, 1) {
		workers.Go(func() {
			for t := range work {
				s.visit(ctx, t)
			}
		})
	}
	targets := map[*picker.Live]*target{}
	for ctx.Err() == nil {
		var due []*target
		targets, due = s.due(targets)
		s.dispatch(ctx, due, work)
	}
}

// due returns the targets of the present endpoints and those of them to be
// scraped in this round.
func (s *Scraper) due(former map[*picker.Live]*target) (targets map[*picker.Live]*target, due []*target) {
	targets = map[*picker.Live]*target{}
	for _, e := range s.Endpoints() {
		t := former[e.Live]
		if t == nil {
			t = &target{url: s.Source.url(e.Address, s.Source.Path), live: e.Live}
			if s.Source.ModelsPath != "" {
				t.models = s.Source.models(e.Address)
			}
		}
		targets[e.Live] = t
		if t.skip > 0 {
			t.skip--
			continue
		}
		if t.busy.CompareAndSwap(false, true) {
			due = append(due, t)
		}
	}
	return targets, due
}

// dispatch hands out the due targets, spread over one interval: after each one
// it waits its share of the interval, varied by half so that several pickers do
// not fall into step.
func (s *Scraper) dispatch(ctx context.Context, due []*target, work chan<- *target) {
	pause := s.Interval / time.Duration(max(len(due), 1))
	for i := range max(len(due), 1) {
		if i < len(due) {
			t := due[i]
			t.skip = pauseAfter(t.failures.Load())
			select {
			case work <- t:
			case <-ctx.Done():
				return
			}
		}
		timer := s.Clock.NewTimer(jitter(pause))
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// jitter is a pause, shorter or longer by up to half.
func jitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause+1) }

// pauseAfter is the number of rounds to leave out after so many failures: 0, 1,
// 3, 3, …
func pauseAfter(failures int32) int32 {
	return 1<<min(failures, 2) - 1
}

// visit scrapes one target and reports its load.
func (s *Scraper) visit(ctx context.Context, t *target) {
	defer t.busy.Store(false)
	if t.models != "" && t.visits%modelsEvery == 0 {
		s.askModels(ctx, t)
	}
	t.visits++
	load := picker.Load{At: s.Clock.Now(), InFlight: t.live.InFlight()}
	page, err := scrape.Fetch(ctx, s.Client, t.url, s.Source.families(), s.Limits)
	if err == nil {
		err = s.Source.read(page, &load)
	}
	if ctx.Err() != nil {
		return
	}
	s.Count(outcome(err))
	if err != nil {
		if t.failures.Add(1) == 1 {
			s.Log.Warn("load unknown", "error", err)
		}
		return
	}
	if t.failures.Swap(0) > 0 {
		s.Log.Info("load known again", "url", t.url)
	}
	t.live.Report(load)
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errNoLoad):
		return "no_load"
	case errors.Is(err, scrape.ErrStatus):
		return "status"
	case errors.Is(err, scrape.ErrTooLarge):
		return "too_large"
	case errors.Is(err, scrape.ErrMalformed):
		return "malformed"
	default:
		return "unreachable"
	}
}

// url is where an endpoint's page stands: always at the endpoint's own address.
func (s Source) url(address netip.AddrPort, path string) string {
	if s.Port != 0 {
		address = netip.AddrPortFrom(address.Addr(), uint16(s.Port))
	}
	return s.Scheme + "://" + address.String() + path
}

// models is where an endpoint lists what it answers to: at its own port, by the
// scheme of its metrics page where that is at the same port.
func (s Source) models(address netip.AddrPort) string {
	scheme := "http"
	if s.Port == 0 {
		scheme = s.Scheme
	}
	return scheme + "://" + address.String() + s.ModelsPath
}

func (s Source) families() []string {
	return []string{s.Running.Name, s.Waiting.Name, s.KVCache.Name, s.Adapters.Name}
}

// read takes the load off a page. Requests running or waiting must be there, one
// of them at least; a server that does not tell its KV cache use has it free.
// Negative gauges are read as zero.
func (s Source) read(page *scrape.Page, load *picker.Load) error {
	running, haveRunning := page.Sum(s.Running.Name, s.Running.Match)
	waiting, haveWaiting := page.Sum(s.Waiting.Name, s.Waiting.Match)
	if !haveRunning && !haveWaiting {
		return fmt.Errorf("%w: neither %s nor %s", errNoLoad, s.Running.Name, s.Waiting.Name)
	}
	kv, _ := page.Max(s.KVCache.Name, s.KVCache.Match)
	load.Running, load.Waiting, load.KVCache = max(0, running), max(0, waiting), max(0, kv)
	if label, ok := page.Newest(s.Adapters.Name); ok {
		load.ActiveAdapters = adapterNames(label("running_lora_adapters"))
		load.QueuedAdapters = adapterNames(label("waiting_lora_adapters"))
		load.MaxAdapters, _ = strconv.Atoi(label("max_lora"))
	}
	return nil
}

// adapterNames reads a list with commas, of at most maxModels names.
func adapterNames(list string) []string {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && len(names) < maxModels {
			names = append(names, name)
		}
	}
	return names
}

// Series names samples on a page: all those called Name with the labels Match.
type Series struct {
	Name  string
	Match map[string]string
}

// ParseSeries reads "name" or "name{label=value,…}", quotes around values
// allowed, as the reference picker's flags write it. Quotes around all of it are
// those that the reference's charts leave in.
func ParseSeries(text string) (Series, error) {
	if bare, err := strconv.Unquote(strings.TrimSpace(text)); err == nil {
		text = bare
	}
	name, rest, labelled := strings.Cut(strings.TrimSpace(text), "{")
	s := Series{Name: strings.TrimSpace(name)}
	if !labelled {
		return s, nil
	}
	inner, ok := strings.CutSuffix(rest, "}")
	if !ok || s.Name == "" {
		return Series{}, fmt.Errorf("series %q: want name{label=value,…}", text)
	}
	s.Match = map[string]string{}
	for pair := range strings.SplitSeq(inner, ",") {
		label, value, ok := strings.Cut(pair, "=")
		if !ok {
			return Series{}, fmt.Errorf("series %q: label %q has no value", text, pair)
		}
		value = strings.TrimSpace(value)
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		s.Match[strings.TrimSpace(label)] = value
	}
	return s, nil
}
