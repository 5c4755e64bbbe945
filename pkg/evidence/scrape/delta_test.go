package scrape

import (
	"reflect"
	"testing"
)

func TestDelta(t *testing.T) {
	t.Parallel()
	type step struct {
		source string
		values []float64
		want   []float64
	}
	for rule, steps := range map[string][]step{
		"the first sight of a source is its baseline": {{"a", []float64{9}, nil}},
		"growth is the increment":                     {{"a", []float64{9}, nil}, {"a", []float64{12}, []float64{3}}, {"a", []float64{12}, []float64{0}}},
		"a fall is a restart: the new value counts":   {{"a", []float64{9}, nil}, {"a", []float64{2}, []float64{2}}},
		"counters of a source restart together":       {{"a", []float64{9, 2}, nil}, {"a", []float64{5, 3}, []float64{5, 3}}},
		"sources do not mix":                          {{"a", []float64{9}, nil}, {"b", []float64{1}, nil}, {"a", []float64{10}, []float64{1}}},
		"another number of counters starts anew":      {{"a", []float64{9}, nil}, {"a", []float64{9, 1}, nil}, {"a", []float64{9, 3}, []float64{0, 2}}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			var d Delta
			for _, s := range steps {
				got, known := d.Observe(s.source, s.values)
				if !reflect.DeepEqual(got, s.want) || known != (s.want != nil) {
					t.Fatalf("%s %v: got %v, %v; want %v", s.source, s.values, got, known, s.want)
				}
			}
		})
	}
}

func TestDeltaOfASourceBornLaterCountsInFull(t *testing.T) {
	t.Parallel()
	var d Delta
	d.Born("a", 1)
	if got, known := d.Observe("a", []float64{4}); !known || got[0] != 4 {
		t.Errorf("got %v, %v", got, known)
	}
	d.Born("a", 1)
	if got, _ := d.Observe("a", []float64{5}); got[0] != 1 {
		t.Errorf("born twice: got %v", got)
	}
	d.Forget("a")
	if _, known := d.Observe("a", []float64{6}); known {
		t.Error("a forgotten source is still known")
	}
}
