package score

import (
	"math"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

func total(t *testing.T, w Weights, v picker.View) float64 {
	t.Helper()
	scorers, err := New(w)
	if err != nil {
		t.Fatal(err)
	}
	score := 1.0
	for _, s := range scorers {
		score *= s(v)
	}
	return score
}

func TestBetterLoadsScoreHigher(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ better, worse picker.View }{
		"fewer requests":                                      {picker.View{Outstanding: 1}, picker.View{Outstanding: 2}},
		"a shorter queue of as many requests":                 {picker.View{Outstanding: 4}, picker.View{Outstanding: 4, Waiting: 1}},
		"a freer KV cache":                                    {picker.View{KVCache: 0.2}, picker.View{KVCache: 0.8}},
		"a full KV cache is worse than many requests":         {picker.View{Outstanding: 10}, picker.View{KVCache: 1}},
		"with a full KV cache the requests still decide":      {picker.View{KVCache: 1}, picker.View{KVCache: 1, Outstanding: 1}},
		"more than full is only full, so requests decide":     {picker.View{KVCache: 7}, picker.View{KVCache: 1, Outstanding: 1}},
		"a tenth more requests weigh less than a short queue": {picker.View{Outstanding: 11}, picker.View{Outstanding: 10, Waiting: 2}},
		"an adapter in the batch before one being loaded":     {picker.View{Adapter: picker.AdapterActive}, picker.View{Adapter: picker.AdapterLoading}},
		"one being loaded before a free slot":                 {picker.View{Adapter: picker.AdapterLoading}, picker.View{Adapter: picker.AdapterRoom}},
		"a free slot before none":                             {picker.View{Adapter: picker.AdapterRoom}, picker.View{Adapter: picker.AdapterFull}},
		"an adapter in the batch outweighs two requests":      {picker.View{Adapter: picker.AdapterActive, Outstanding: 2}, picker.View{Adapter: picker.AdapterRoom}},
		"and not four":                         {picker.View{Adapter: picker.AdapterRoom}, picker.View{Adapter: picker.AdapterActive, Outstanding: 4}},
		"a prompt that is held":                {picker.View{}, picker.View{Missing: 0.1}},
		"a held prompt outweighs two requests": {picker.View{Outstanding: 2}, picker.View{Missing: 1}},
		"and not four of them":                 {picker.View{Missing: 1}, picker.View{Outstanding: 4}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if total(t, nil, tc.better) <= total(t, nil, tc.worse) {
				t.Errorf("%v scores %v, %v scores %v", tc.better, total(t, nil, tc.better), tc.worse, total(t, nil, tc.worse))
			}
		})
	}
	for rule, v := range map[string]picker.View{"idle": {}, "idle, the adapter in the batch": {Adapter: picker.AdapterActive}} {
		if got := total(t, nil, v); got != 1 {
			t.Errorf("%s: scores %v", rule, got)
		}
	}
}

func TestWeightsAreExponents(t *testing.T) {
	t.Parallel()
	v := picker.View{Outstanding: 1, Waiting: 3, KVCache: 0.5, Adapter: picker.AdapterRoom, Missing: 1}
	for rule, tc := range map[string]struct {
		weights Weights
		want    float64
	}{
		"all 1 by default":      {nil, 1.0 / 2 / 2 / 2 / 4 / 4},
		"0 is left out":         {Weights{"queue": 0, "prefix": 0}, 1.0 / 2 / 2 / 4},
		"2 counts twice":        {Weights{"queue": 2}, 1.0 / 2 / 4 / 2 / 4 / 4},
		"half counts half":      {Weights{"lora": 0.5}, 1.0 / 2 / 2 / 2 / 2 / 4},
		"nothing left: all one": {Weights{"requests": 0, "queue": 0, "kv-cache": 0, "lora": 0, "prefix": 0}, 1},
	} {
		if got := total(t, tc.weights, v); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", rule, got, tc.want)
		}
	}
}

func TestWeightsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for rule, w := range map[string]Weights{
		"a scorer that does not exist": {"latency": 1},
		"a negative weight":            {"queue": -1},
		"one that is no number":        {"queue": math.NaN()},
		"one that drowns all others":   {"queue": 11},
	} {
		if _, err := New(w); err == nil {
			t.Errorf("%s: accepted", rule)
		}
	}
}

func TestTheWorstScoreIsStillAboveZero(t *testing.T) {
	t.Parallel()
	weights := Weights{}
	for _, name := range Names() {
		weights[name] = maxWeight
	}
	if got := total(t, weights, picker.View{Outstanding: 1e4, Waiting: 1e4, KVCache: 1, Adapter: picker.AdapterFull, Missing: 1}); !(got > 0) {
		t.Errorf("scores %v", got)
	}
}
