package modelsim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestFaultsOfSomeRequests: a fault that names a model or a share holds back
// the requests it touches and leaves their neighbours in the batch alone.
func TestFaultsOfSomeRequests(t *testing.T) {
	t.Parallel()
	sick := Job{PromptTokens: 128, OutputTokens: 3, Model: "sick"}
	well := Job{PromptTokens: 128, OutputTokens: 3, Model: "well"}
	check(t, map[string]play{
		"slow touches its model only": {play: func(s *script) {
			s.faults(Faults{SlowFactor: 4, Model: "sick"})
			s.submit("a", well)
			s.to(time.Second)
			s.submit("b", sick)
			s.to(2 * time.Second)
		}, want: []string{"a first 100ms done 120ms", "b first 1.4s done 1.48s"}},
		"slow reaches a prefill on its way and its tokens": {play: func(s *script) {
			s.submit("a", sick)
			s.to(50 * ms)
			s.faults(Faults{SlowFactor: 2, Model: "sick"})
			s.to(time.Second)
		}, want: []string{"a first 150ms done 190ms"}},
		"mended in its prefill it goes on at full speed": {play: func(s *script) {
			s.faults(Faults{SlowFactor: 2, Model: "sick"})
			s.submit("a", sick)
			s.to(100 * ms)
			s.faults(Faults{})
			s.to(time.Second)
		}, want: []string{"a first 150ms done 170ms"}},
		"hung requests stand while others pass, and go on when mended": {play: func(s *script) {
			s.faults(Faults{Hang: true, Model: "sick"})
			s.submit("b", sick)
			s.submit("a", Job{PromptTokens: 128, OutputTokens: 1, Model: "well"})
			s.to(time.Second)
			s.faults(Faults{})
			s.to(2 * time.Second)
		}, want: []string{"a first 116.667ms done 116.667ms", "b first 1.1s done 1.12s"}},
		"a server whose requests all hang waits for no event": {play: func(s *script) {
			s.faults(Faults{Hang: true, Model: "sick"})
			s.submit("b", sick)
			if _, ok := s.e.Next(); ok {
				s.t.Error("an event is due")
			}
		}},
	})
}

func TestAShareOfRequestsIsTouched(t *testing.T) {
	t.Parallel()
	count := func(f Faults, model string) (touched int) {
		for n := range uint64(10_000) {
			if f.touch(7, n, model) {
				touched++
			}
		}
		return touched
	}
	for name, tc := range map[string]struct {
		faults   Faults
		model    string
		min, max int
	}{
		"no share means all":               {Faults{}, "a", 10_000, 10_000},
		"a quarter":                        {Faults{Share: 0.25}, "a", 2400, 2600},
		"another model is left alone":      {Faults{Model: "b"}, "a", 0, 0},
		"its model":                        {Faults{Model: "b"}, "b", 10_000, 10_000},
		"a share of its model":             {Faults{Model: "b", Share: 0.5}, "b", 4850, 5150},
		"a share does not leak to another": {Faults{Model: "b", Share: 0.5}, "a", 0, 0},
	} {
		if got := count(tc.faults, tc.model); got < tc.min || got > tc.max {
			t.Errorf("%s: %d of 10000 touched, want %d to %d", name, got, tc.min, tc.max)
		}
	}
}

func TestErrorsOfOneTargetModel(t *testing.T) {
	change := func(c *Config) { c.Adapters = []Adapter{{Name: "lora-v2"}} }
	inBubble(t, change, func(t *testing.T, ts *testServer) {
		if w := ts.do("PUT", "/sandbox/faults", `{"errorRate":1,"model":"lora-v2","share":0.5}`); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		failed := map[string]int{}
		for range 200 {
			for _, model := range []string{"qwen", "lora-v2"} {
				if ts.do("POST", "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":"x","max_tokens":1}`, model)).Code == 500 {
					failed[model]++
				}
			}
		}
		if failed["qwen"] != 0 || failed["lora-v2"] < 75 || failed["lora-v2"] > 125 {
			t.Errorf("of 200 each, %v failed; want about 100 of lora-v2", failed)
		}
	})
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"slowFactor":0.5}`:            "slowFactor",
		`{"errorRate":-1}`:              "errorRate",
		`{"share":1.5,"hang":true}`:     "share",
		`{"share":0.5}`:                 "name slowFactor, errorRate or hang",
		`{"model":"a"}`:                 "name slowFactor, errorRate or hang",
		`{"model":"a","dead":true}`:     "whole process",
		`{"share":0.1,"dead":true}`:     "whole process",
		`{"slow":4}`:                    "unknown field",
		`{"slowFactor":4,"share":"1%"}`: "read faults",
	} {
		if _, err := readFaults(strings.NewReader(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	if f, err := readFaults(strings.NewReader(`{"slowFactor":4,"share":1}`)); err != nil || f.narrow() {
		t.Errorf("share 1 is the whole server: %+v, %v", f, err)
	}
}
