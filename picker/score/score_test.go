package score

import (
	"testing"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

func TestScores(t *testing.T) {
	t.Parallel()
	total := func(v picker.View) float64 {
		product := 1.0
		for _, s := range Default() {
			product *= s(v)
		}
		return product
	}
	for rule, tc := range map[string]struct{ better, worse picker.View }{
		"fewer requests are better":                           {picker.View{Outstanding: 3}, picker.View{Outstanding: 4}},
		"of as many requests, a queued one is worse":          {picker.View{Outstanding: 3}, picker.View{Outstanding: 3, Waiting: 1}},
		"free KV cache is better":                             {picker.View{KVCache: 0.5}, picker.View{KVCache: 0.6}},
		"a full KV cache is worse than many requests":         {picker.View{Outstanding: 10}, picker.View{KVCache: 1}},
		"with a full KV cache the requests still decide":      {picker.View{KVCache: 1}, picker.View{KVCache: 1, Outstanding: 1}},
		"more than full is only full, so requests decide":     {picker.View{KVCache: 7}, picker.View{KVCache: 1, Outstanding: 1}},
		"a tenth more requests weigh less than a short queue": {picker.View{Outstanding: 11}, picker.View{Outstanding: 10, Waiting: 2}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if total(tc.better) <= total(tc.worse) {
				t.Errorf("%v scores %v, %v scores %v", tc.better, total(tc.better), tc.worse, total(tc.worse))
			}
		})
	}
	if got := total(picker.View{}); got != 1 {
		t.Errorf("an idle endpoint scores %v", got)
	}
}
