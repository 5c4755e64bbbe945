package evidence

import (
	"math"
	"slices"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// gauge is one gate as it is read from pages.
type gauge struct {
	from  histogram
	edges []float64 // ascending; nil for errors
}

// edgesOf lists the finite bucket edges that pages export for metric.
func (p preset) edgesOf(pages []*scrape.Page, metric gate.Metric) ([]float64, error) {
	h, known := p.histograms[metric]
	if !known {
		return nil, hint.Errorf("gate on another metric: "+p.offers(), "gate on %s: %s does not export it", metric, p.name)
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
		return found, nil
	case p.edges != nil:
		return p.edges(), nil // nothing was counted yet
	default:
		return nil, hint.Errorf("send some requests to stable first; ttft and tpot count streaming answers only",
			"gate on %s: %s exports no %s yet", metric, p.name, h.family)
	}
}

// offers lists what can be gated on with this picker.
func (p preset) offers() string {
	text := string(gate.Errors)
	for _, metric := range []gate.Metric{gate.TTFT, gate.TPOT, gate.E2E} {
		if _, ok := p.histograms[metric]; ok {
			text += ", " + string(metric)
		}
	}
	return text
}

// reading is one page as numbers, in a fixed order: started, finished, errors,
// progress, then every gauge's cumulative buckets and count.
func (p preset) reading(page *scrape.Page, gauges []gauge) []float64 {
	values := make([]float64, 0, 4+len(gauges)*32)
	started, _ := page.Sum(p.started, nil)
	finished, _ := page.Sum(p.finished, nil)
	progress, _ := page.Sum(p.progress, nil)
	values = append(values, started, finished, p.errors(page), progress)
	for _, g := range gauges {
		values = append(values, g.cumulative(page)...)
	}
	return values
}

func (g gauge) cumulative(page *scrape.Page) []float64 {
	if g.edges == nil {
		return nil
	}
	values := make([]float64, len(g.edges)+1)
	buckets, count, _ := page.Buckets(g.from.family, g.from.match)
	for i, edge := range g.edges {
		values[i] = buckets[edge]
	}
	values[len(g.edges)] = count
	return values
}

// increments is a window of one process, or of an arm.
type increments struct {
	started, finished, errors, progress uint64
	buckets                             [][]uint64 // by gauge: requests per bucket, the last above every edge
}

// split turns the growth of a reading into a window.
func split(grown []float64, gauges []gauge) increments {
	w := increments{started: whole(grown[0]), finished: whole(grown[1]), errors: whole(grown[2]), progress: whole(grown[3])}
	grown = grown[4:]
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
