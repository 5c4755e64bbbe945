package evidence

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// gauge is one gate as it is read from pages: a row of requests per bucket.
type gauge struct {
	from  histogram
	edges []float64 // as on the page, ascending; nil for errors
}

// seconds are the gauge's edges in seconds; nil for errors.
func (g gauge) seconds() []float64 {
	if g.edges == nil {
		return nil
	}
	list := make([]float64, len(g.edges))
	for i, edge := range g.edges {
		list[i] = g.from.seconds(edge)
	}
	return list
}

// gauge finds what a gate on metric is read from, or says why these pages
// cannot feed it and what they can.
func (p preset) gauge(pages []*scrape.Page, metric gate.Metric) (gauge, error) {
	if metric == gate.Errors {
		if p.counted != "" && !everyPage(pages, p.counted) {
			return gauge{}, hint.Errorf("gate on what there is: "+p.offers(pages), "gate on errors: %s exports no %s", p.title, p.counted)
		}
		return gauge{}, nil
	}
	h, known := p.histograms[metric]
	if !known {
		return gauge{}, hint.Errorf("gate on what there is: "+p.offers(pages), "gate on %s: %s does not export it", metric, p.title)
	}
	var found []float64
	for _, page := range pages {
		buckets, _, _ := page.Buckets(h.family, h.match)
		for edge := range buckets {
			found = append(found, edge)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	switch {
	case len(found) > 0:
		return gauge{from: h, edges: found}, nil
	case p.edges != nil:
		return gauge{from: h, edges: p.edges()}, nil // nothing was counted yet
	case h.instead != "" && everyPage(pages, h.instead):
		return gauge{}, hint.Errorf("gate on what there is: "+p.offers(pages), "gate on %s: %s exports only %s, and %s", metric, p.title, h.instead, h.because)
	default:
		return gauge{}, hint.Errorf("gate on what there is: "+p.offers(pages)+"; or send some requests to stable first (ttft and tpot count streaming answers only)",
			"gate on %s: %s exports no %s yet", metric, p.title, h.family)
	}
}

func everyPage(pages []*scrape.Page, family string) bool {
	return !slices.ContainsFunc(pages, func(page *scrape.Page) bool { return !page.Has(family) })
}

// offers lists what can be gated on with these pages.
func (p preset) offers(pages []*scrape.Page) string {
	var list []string
	if p.counted == "" || everyPage(pages, p.counted) {
		list = append(list, string(gate.Errors))
	}
	for _, metric := range []gate.Metric{gate.TTFT, gate.TPOT, gate.E2E} {
		if h, ok := p.histograms[metric]; ok && (p.edges != nil || everyPage(pages, h.family)) {
			list = append(list, string(metric))
		}
	}
	if len(list) == 0 {
		return "nothing yet"
	}
	return strings.Join(list, ", ")
}

// reading is one page as numbers, in a fixed order: begun, finished, bad,
// progress, the tokens of prompts and how many prompts, the same of answers,
// breaker overflows, then every gauge's cumulative buckets and count. A page without a
// series of the program, or with other buckets than the gates are bound to,
// cannot be read.
func (p preset) reading(page *scrape.Page, of match, gauges []gauge) ([]float64, error) {
	if !p.on(page) {
		return nil, fmt.Errorf("the page has no series of %s any more", p.title)
	}
	started, finished, bad := p.count(page, of)
	progress, _ := page.Sum(p.progress, of)
	values := append(make([]float64, 0, fixed+len(gauges)*32), started, finished, bad, progress)
	for _, family := range []string{p.prompts, p.answers} {
		tokens, _ := page.Sum(family+"_sum", of)
		requests, _ := page.Sum(family+"_count", of)
		values = append(values, tokens, requests)
	}
	overflows, _ := page.Sum(p.overflows, of)
	values = append(values, overflows)
	for _, g := range gauges {
		var err error
		if values, err = g.cumulative(page, of, values); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (g gauge) cumulative(page *scrape.Page, of match, values []float64) ([]float64, error) {
	if g.edges == nil {
		return values, nil
	}
	buckets, count, some := page.Buckets(g.from.family, of.and(g.from.match))
	for _, edge := range g.edges {
		n, there := buckets[edge]
		if some && !there {
			return nil, fmt.Errorf("the bucket edge %v of %s is gone", edge, g.from.family)
		}
		values = append(values, n)
	}
	return append(values, count), nil
}

// fixed is how many numbers of a reading come before the gauges'.
const fixed = 9

// increments is a window of one process, or of an arm.
type increments struct {
	started, finished, errors, progress uint64
	promptTokens, prompts               uint64
	answerTokens, answers               uint64
	overflows                           uint64
	buckets                             [][]uint64 // by gauge: requests per bucket, the last above every edge
}

// split turns the growth of a reading into a window.
func split(grown []float64, gauges []gauge) increments {
	w := increments{started: whole(grown[0]), finished: whole(grown[1]), errors: whole(grown[2]), progress: whole(grown[3])}
	w.promptTokens, w.prompts, w.answerTokens, w.answers = whole(grown[4]), whole(grown[5]), whole(grown[6]), whole(grown[7])
	w.overflows = whole(grown[8])
	grown = grown[fixed:]
	for _, g := range gauges {
		if g.edges == nil {
			w.buckets = append(w.buckets, []uint64{w.finished - min(w.errors, w.finished), w.errors})
			continue
		}
		row, below := make([]uint64, len(g.edges)+1), 0.0
		for i := range row {
			row[i] = whole(grown[i] - below)
			below = math.Max(below, grown[i])
		}
		w.buckets = append(w.buckets, row)
		grown = grown[len(g.edges)+1:]
	}
	return w
}

// whole is a counter's growth as an integer; counters grow by whole numbers.
func whole(v float64) uint64 {
	if !(v > 0) {
		return 0
	}
	return uint64(math.Round(v))
}

func (w *increments) add(other increments) {
	w.started += other.started
	w.finished += other.finished
	w.errors += other.errors
	w.progress += other.progress
	w.promptTokens += other.promptTokens
	w.prompts += other.prompts
	w.answerTokens += other.answerTokens
	w.answers += other.answers
	w.overflows += other.overflows
	for i, row := range other.buckets {
		if w.buckets[i] == nil {
			w.buckets[i] = make([]uint64, len(row))
		}
		for k, n := range row {
			w.buckets[i][k] += n
		}
	}
}
