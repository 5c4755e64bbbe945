package prometheus

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// Edges of native histograms lie at powers of 2^(2^-schema). A classic one is
// made at every power of 2^(1/16) from 2^-10 s to 2^10 s, which are edges of
// every schema from 4 up; coarser schemas have fewer of them.
const (
	perOctave = 16
	octaves   = 10
)

// native is a native histogram as the API prints it: [seconds, {count, sum,
// buckets: [[rule, low, high, count], …]}]; empty buckets are left out.
type native struct {
	count   float64
	buckets []nativeBucket
}

type nativeBucket struct{ low, high, count float64 }

func (n *native) UnmarshalJSON(raw []byte) error {
	var at float64
	var h struct {
		Count   string
		Buckets [][]json.RawMessage
	}
	if err := json.Unmarshal(raw, &[]any{&at, &h}); err != nil {
		return err
	}
	var err error
	if n.count, err = strconv.ParseFloat(h.Count, 64); err != nil {
		return err
	}
	for _, b := range h.Buckets {
		if len(b) != 4 {
			return fmt.Errorf("a bucket of a native histogram has %d parts", len(b))
		}
		var texts [3]string
		var numbers [3]float64
		for i := range texts {
			if err := json.Unmarshal(b[i+1], &texts[i]); err != nil {
				return err
			}
			if numbers[i], err = strconv.ParseFloat(texts[i], 64); err != nil {
				return err
			}
		}
		n.buckets = append(n.buckets, nativeBucket{numbers[0], numbers[1], numbers[2]})
	}
	return nil
}

// classic writes the histogram as cumulative buckets. An edge that lies inside a
// bucket is left out: how many of its observations are below is not known.
func (n *native) classic(labels map[string]string) []scrape.Sample {
	name := labels["__name__"]
	sample := func(suffix, le string, value float64) scrape.Sample {
		l := maps.Clone(labels)
		l["__name__"] = name + suffix
		if le != "" {
			l["le"] = le
		}
		return scrape.Sample{Labels: l, Value: value}
	}
	samples := []scrape.Sample{sample("_count", "", n.count), sample("_bucket", "+Inf", n.count)}
	step := n.step()
	for i := -octaves * perOctave; i <= octaves*perOctave; i++ {
		if i%step != 0 {
			continue
		}
		edge, below := math.Exp2(float64(i)/perOctave), 0.0
		for _, b := range n.buckets {
			if b.high <= edge*(1+1e-9) {
				below += b.count
			}
		}
		samples = append(samples, sample("_bucket", strconv.FormatFloat(edge, 'g', -1, 64), below))
	}
	return samples
}

// step is how many sixteenths of an octave the widest bucket spans, and at least
// one.
func (n *native) step() int {
	step := 1
	for _, b := range n.buckets {
		if b.low > 0 && !math.IsInf(b.high, 1) {
			step = max(step, int(math.Round(math.Log2(b.high/b.low)*perOctave)))
		}
	}
	return step
}
