package scrape

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Page holds the wanted samples of one metrics page. It never changes, so any
// number of goroutines may read it.
type Page struct {
	samples map[string][]sample // by sample name
}

type sample struct {
	labels labels.Labels
	value  float64
}

// matches tells whether every label of match has that value on the sample.
// A label that match maps to "" must be absent or empty.
func (s sample) matches(match map[string]string) bool {
	for name, value := range match {
		if s.labels.Get(name) != value {
			return false
		}
	}
	return true
}

// Sample is one value with its labels, the name among them as __name__.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// NewPage makes a page of samples that did not come as text, under the rules
// that Parse has for counters and buckets.
func NewPage(samples []Sample) (*Page, error) {
	page := &Page{samples: map[string][]sample{}}
	seen := map[uint64]struct{}{}
	for _, s := range samples {
		if err := page.add(labels.FromMap(s.Labels), s.Value, "", seen); err != nil {
			return nil, err
		}
	}
	return page, page.checkBuckets()
}

// Sum adds up the samples called name (the full sample name: a counter's
// "_total", a histogram's "_count") whose labels include match. ok is false
// when no sample matches, or when the sum is no finite number.
func (p *Page) Sum(name string, match map[string]string) (sum float64, ok bool) {
	for _, s := range p.samples[name] {
		if s.matches(match) {
			sum, ok = sum+s.value, true
		}
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return 0, false
	}
	return sum, ok
}

// Max is the largest of the samples that Sum would add up: for gauges that are
// shares, such as the KV cache use of each engine in a pod.
func (p *Page) Max(name string, match map[string]string) (largest float64, ok bool) {
	for _, s := range p.samples[name] {
		if s.matches(match) && (!ok || s.value > largest) && !math.IsNaN(s.value) && !math.IsInf(s.value, 0) {
			largest, ok = s.value, true
		}
	}
	return largest, ok
}

// Buckets adds up the classic histograms of family name whose labels include
// match. The result maps each upper edge but +Inf to the number of observations
// at or below it, cumulative as on the page; count is the number of all. Edges
// that not every added histogram has are left out, because their sum would
// miss observations. ok is false when no histogram matches.
func (p *Page) Buckets(name string, match map[string]string) (buckets map[float64]float64, count float64, ok bool) {
	histograms := 0
	parts := map[float64]int{}
	buckets = map[float64]float64{}
	for _, s := range p.samples[name+"_bucket"] {
		if !s.matches(match) {
			continue
		}
		edge, _ := s.edge() // checkBuckets has read it before
		if math.IsInf(edge, 1) {
			count += s.value
			histograms++
			continue
		}
		buckets[edge] += s.value
		parts[edge]++
	}
	for edge, n := range parts {
		if n != histograms {
			delete(buckets, edge)
		}
	}
	return buckets, count, histograms > 0
}

// Has tells whether any sample of a family is on the page.
func (p *Page) Has(family string) bool {
	return len(p.samples[family]) > 0 || len(p.samples[family+"_bucket"]) > 0
}

// Values lists the distinct values of a label among the samples called name, in
// order: which models, pools or pods a page speaks of.
func (p *Page) Values(name, label string) []string {
	var values []string
	for _, s := range p.samples[name] {
		values = append(values, s.labels.Get(label))
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// Newest returns the labels of the sample called name with the largest value: of
// an info series whose value is the time it was written. ok is false when there
// is none.
func (p *Page) Newest(name string) (label func(string) string, ok bool) {
	var newest sample
	for _, s := range p.samples[name] {
		if !ok || s.value > newest.value {
			newest, ok = s, true
		}
	}
	return newest.labels.Get, ok
}

// edge reads the upper edge of a bucket.
func (s sample) edge() (float64, error) {
	le := s.labels.Get(labels.BucketLabel)
	edge, err := strconv.ParseFloat(le, 64)
	if err != nil || math.IsNaN(edge) {
		return 0, fmt.Errorf("%w: series %s has no edge in its label le", ErrMalformed, s.labels)
	}
	return edge, nil
}

// checkBuckets refuses a page with a histogram that has no +Inf bucket, the
// same edge twice, or buckets that fall from one edge to the next.
func (p *Page) checkBuckets() error {
	for name, samples := range p.samples {
		if !strings.HasSuffix(name, "_bucket") {
			continue
		}
		histograms := map[uint64][]sample{}
		for _, s := range samples {
			if _, err := s.edge(); err != nil {
				return err
			}
			h, _ := s.labels.HashWithoutLabels(nil, labels.BucketLabel)
			histograms[h] = append(histograms[h], s)
		}
		for _, buckets := range histograms {
			if err := checkHistogram(buckets); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkHistogram(buckets []sample) error {
	slices.SortFunc(buckets, func(a, b sample) int {
		ea, _ := a.edge()
		eb, _ := b.edge()
		switch {
		case ea < eb:
			return -1
		case ea > eb:
			return 1
		}
		return 0
	})
	for i, s := range buckets {
		edge, _ := s.edge()
		if i > 0 {
			below := buckets[i-1]
			if e, _ := below.edge(); e == edge {
				return fmt.Errorf("%w: series %s repeats an edge", ErrMalformed, s.labels)
			}
			if s.value < below.value {
				return fmt.Errorf("%w: series %s is %v, below the bucket before it", ErrMalformed, s.labels, s.value)
			}
		}
		if i == len(buckets)-1 && !math.IsInf(edge, 1) {
			return fmt.Errorf("%w: the histogram of series %s has no +Inf bucket", ErrMalformed, s.labels)
		}
	}
	return nil
}
