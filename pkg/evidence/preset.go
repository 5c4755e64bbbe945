package evidence

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// The families of our endpoint picker, see docs/metrics.md.
const (
	startedFamily  = "infer_picker_requests_started_total"
	finishedFamily = "infer_picker_requests_finished_total"
	progressFamily = "infer_picker_response_messages_total"
	runningFamily  = "infer_picker_requests_running"
	ttftFamily     = "infer_picker_ttft_seconds"
	tpotFamily     = "infer_picker_tpot_seconds"
	durationFamily = "infer_picker_request_duration_seconds"
	readyFamily    = "infer_picker_ready_endpoints"
	// bornFamily tells two processes in one pod apart.
	bornFamily = "process_start_time_seconds"
)

func families() []string {
	return []string{startedFamily, finishedFamily, progressFamily, runningFamily, ttftFamily, tpotFamily, durationFamily, readyFamily, bornFamily}
}

// noAnswer is the code of a request whose stream ended before any answer came:
// a reset, a timeout, or a client that went away.
const noAnswer = "none"

// histogramOf names the family and labels a latency gate reads. Time to first
// token is only meant for streaming answers: for the others it is the whole
// duration.
func histogramOf(metric gate.Metric) (family string, match map[string]string, err error) {
	switch metric {
	case gate.TTFT:
		return ttftFamily, map[string]string{"streaming": "true"}, nil
	case gate.TPOT:
		return tpotFamily, nil, nil
	case gate.E2E:
		return durationFamily, nil, nil
	default:
		return "", nil, fmt.Errorf("metric %q has no histogram", metric)
	}
}

// gauge is one gate as it is read from pages.
type gauge struct {
	bound gate.Bound
	edges []float64 // ascending; nil for errors
}

// edgesOf lists the finite bucket edges that pages export for metric.
func edgesOf(pages []*scrape.Page, metric gate.Metric) ([]float64, error) {
	family, match, err := histogramOf(metric)
	if err != nil {
		return nil, err
	}
	var found []float64
	for _, page := range pages {
		buckets, _, _ := page.Buckets(family, match)
		for edge := range buckets {
			found = append(found, edge)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	switch {
	case len(found) > 0:
		return found, nil
	case metric != gate.TPOT && ours(pages):
		return edges.Latency(), nil // nothing was counted yet
	default:
		return nil, hint.Errorf("use errors, ttft or e2e with this picker", "gate on %s: no picker exports %s", metric, family)
	}
}

// ours says whether pages are of our own picker.
func ours(pages []*scrape.Page) bool {
	for _, page := range pages {
		if _, ok := page.Sum(readyFamily, nil); !ok {
			return false
		}
	}
	return true
}

// reading is one page as numbers, in a fixed order: started, finished, errors,
// progress, then every gauge's cumulative buckets and count.
func reading(page *scrape.Page, gauges []gauge) []float64 {
	values := make([]float64, 0, 4+len(gauges)*32)
	started, _ := page.Sum(startedFamily, nil)
	finished, _ := page.Sum(finishedFamily, nil)
	progress, _ := page.Sum(progressFamily, nil)
	values = append(values, started, finished, serverErrors(page), progress)
	for _, g := range gauges {
		values = append(values, cumulative(page, g)...)
	}
	return values
}

func serverErrors(page *scrape.Page) float64 {
	bad := 0.0
	for _, code := range page.Values(finishedFamily, "code") {
		if code == noAnswer || (len(code) == 3 && strings.HasPrefix(code, "5")) {
			n, _ := page.Sum(finishedFamily, map[string]string{"code": code})
			bad += n
		}
	}
	return bad
}

func cumulative(page *scrape.Page, g gauge) []float64 {
	if g.edges == nil {
		return nil
	}
	values := make([]float64, len(g.edges)+1)
	family, match, err := histogramOf(g.bound.Expr.Metric)
	if err != nil {
		return values
	}
	buckets, count, _ := page.Buckets(family, match)
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
		n := len(g.edges)
		if g.edges == nil {
			w.buckets = append(w.buckets, []uint64{w.finished - min(w.errors, w.finished), w.errors})
			continue
		}
		row, below := make([]uint64, n+1), 0.0
		for i := range row {
			row[i] = whole(grown[i] - below)
			below = math.Max(below, grown[i])
		}
		w.buckets = append(w.buckets, row)
		grown = grown[n+1:]
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

// counts says how many of a gauge's requests were on the gate's bad side.
func (g gauge) counts(row []uint64) gate.Counts {
	if g.edges == nil {
		return gate.Counts{Requests: row[0] + row[1], Bad: row[1]}
	}
	var c gate.Counts
	for i, n := range row {
		c.Requests += n
		if i == len(g.edges) || g.edges[i] > g.bound.HarmEdge*(1+1e-9) {
			c.Bad += n
		}
	}
	return c
}
