package modelsim

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

func quietConfig() EngineConfig {
	c := DefaultConfig().EngineConfig
	c.Jitter, c.MaxNumSeqs = 0, 4
	return c
}

// script drives an engine by hand and writes down what happens when.
type script struct {
	t     *testing.T
	e     *Engine
	start time.Time
	now   time.Time
	names map[*Sequence]string
	log   []string
}

func newScript(t *testing.T, cfg EngineConfig) *script {
	start := time.Unix(1_700_000_000, 0)
	return &script{t: t, e: NewEngine(cfg, start), start: start, now: start, names: map[*Sequence]string{}}
}

func (s *script) submit(name string, j Job) *Sequence {
	s.t.Helper()
	seq, err := s.e.Submit(s.now, j)
	if err != nil {
		s.t.Fatal(err)
	}
	s.names[seq] = name
	return seq
}

// to advances to a time after the start, stopping at every event on the way.
func (s *script) to(d time.Duration) {
	end := s.start.Add(d)
	for {
		at, ok := s.e.Next()
		if !ok || at.After(end) {
			break
		}
		s.now = at
		s.note(s.e.Advance(at))
	}
	s.now = end
	s.note(s.e.Advance(end))
}

func (s *script) note(events []Event) {
	for _, ev := range events {
		if ev.Kind == EventFinished {
			at := ev.Seq.Finished.Sub(s.start).Round(time.Microsecond)
			s.log = append(s.log, fmt.Sprintf("%s first %v done %v", s.names[ev.Seq], ev.Seq.FirstToken.Sub(s.start).Round(time.Microsecond), at))
		}
	}
}

func (s *script) faults(f Faults) {
	s.e.Advance(s.now)
	s.e.SetFaults(f)
}

// play is what is done to an engine and what must come of it.
type play struct {
	change func(*EngineConfig)
	play   func(*script)
	want   []string
}

// oneJob is a prompt of reference length and an answer of three tokens. With a
// batch of 4 one more in the batch makes everything 1/6 longer: 100ms,
// 116.7ms, …; 10ms, 11.67ms, …
func oneJob() Job { return Job{PromptTokens: referencePrompt, OutputTokens: 3} }

func TestTimeInTheBatch(t *testing.T) {
	t.Parallel()
	one := oneJob()
	check(t, map[string]play{
		"alone: ttft, then a token every tpot": {play: func(s *script) {
			s.submit("a", one)
			s.to(time.Second)
		}, want: []string{"a first 100ms done 120ms"}},
		"half of ttft grows with the prompt": {play: func(s *script) {
			s.submit("a", Job{PromptTokens: 384, OutputTokens: 1})
			s.to(time.Second)
		}, want: []string{"a first 200ms done 200ms"}},
		"a cached prefix needs no prefill": {play: func(s *script) {
			blocks := []uint64{1, 2, 3, 4}
			s.submit("a", Job{PromptTokens: 128, OutputTokens: 1, Blocks: blocks})
			s.to(200 * ms)
			s.submit("b", Job{PromptTokens: 128, OutputTokens: 1, Blocks: blocks})
			s.to(time.Second)
		}, want: []string{"a first 100ms done 100ms", "b first 275ms done 275ms"}},
		"a full batch makes the next one wait": {change: func(c *EngineConfig) { c.MaxNumSeqs = 1 }, play: func(s *script) {
			s.submit("a", one)
			s.submit("b", one)
			s.to(time.Second)
		}, want: []string{"a first 100ms done 120ms", "b first 220ms done 240ms"}},
		"a full KV cache makes the next one wait, in order": {change: func(c *EngineConfig) { c.NumBlocks = 12 }, play: func(s *script) {
			s.submit("a", one)
			s.submit("b", one)
			s.submit("small", Job{PromptTokens: 1, OutputTokens: 1})
			s.to(400 * ms)
		}, want: []string{"a first 100ms done 120ms", "small first 178.789ms done 178.789ms", "b first 220ms done 240ms"}},
		"an adapter without a place waits, others pass it": {play: func(s *script) {
			s.submit("a", Job{PromptTokens: 128, OutputTokens: 1, Adapter: "x"})
			s.submit("b", Job{PromptTokens: 128, OutputTokens: 1, Adapter: "y"})
			s.submit("base", Job{PromptTokens: 128, OutputTokens: 1})
			s.to(time.Second)
		}, want: []string{"a first 100ms done 100ms", "base first 116.667ms done 116.667ms", "b first 216.667ms done 216.667ms"}},
	})
}

func TestTimeUnderFaults(t *testing.T) {
	t.Parallel()
	one := oneJob()
	check(t, map[string]play{
		"slow multiplies every latency": {play: func(s *script) {
			s.faults(Faults{SlowFactor: 4})
			s.submit("a", one)
			s.to(time.Second)
		}, want: []string{"a first 400ms done 480ms"}},
		"slow reaches what is already running": {play: func(s *script) {
			s.submit("a", one)
			s.to(50 * ms)
			s.faults(Faults{SlowFactor: 2})
			s.to(time.Second)
		}, want: []string{"a first 150ms done 190ms"}},
		"hung: nothing progresses; mended: it goes on": {play: func(s *script) {
			s.submit("a", one)
			s.to(50 * ms)
			s.faults(Faults{Hang: true})
			s.to(10 * time.Second)
			s.faults(Faults{})
			s.to(time.Minute)
		}, want: []string{"a first 10.05s done 10.07s"}},
		"an aborted one gives its place to the next": {change: func(c *EngineConfig) { c.MaxNumSeqs = 1 }, play: func(s *script) {
			a := s.submit("a", one)
			s.submit("b", one)
			s.to(50 * ms)
			s.e.Abort(a)
			s.to(time.Second)
		}, want: []string{"b first 150ms done 170ms"}},
		"tokens of a batch come in steps, a sixth longer for two": {play: func(s *script) {
			s.submit("a", Job{PromptTokens: 128, OutputTokens: 20})
			s.submit("b", Job{PromptTokens: 128, OutputTokens: 20})
			s.to(time.Second)
		}, want: []string{"a first 100ms done 318.333ms", "b first 116.667ms done 328.333ms"}},
	})
}

func check(t *testing.T, plays map[string]play) {
	t.Helper()
	for name, tc := range plays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quietConfig()
			if tc.change != nil {
				tc.change(&cfg)
			}
			s := newScript(t, cfg)
			tc.play(s)
			if !slices.Equal(s.log, tc.want) {
				t.Errorf("got  %q\nwant %q", s.log, tc.want)
			}
		})
	}
}

func TestStallsDelayTheWholeBatchAlike(t *testing.T) {
	t.Parallel()
	play := func(every time.Duration) []string {
		cfg := quietConfig()
		cfg.StallEvery, cfg.StallDuration = every, 10*time.Second
		s := newScript(t, cfg)
		s.submit("a", Job{PromptTokens: 128, OutputTokens: 3})
		s.submit("b", Job{PromptTokens: 128, OutputTokens: 3})
		s.to(time.Hour)
		return s.log
	}
	free, stalled := play(0), play(300*ms)
	if len(free) != 2 || len(stalled) != 2 || slices.Equal(free, stalled) {
		t.Errorf("without stalls %q, with stalls %q", free, stalled)
	}
}

func TestOneJumpAndSmallStepsMeetTheSameTimes(t *testing.T) {
	t.Parallel()
	play := func(grain time.Duration) []string {
		cfg := quietConfig()
		cfg.Jitter, cfg.StallEvery, cfg.StallDuration = 0.3, 200*ms, 50*ms
		s := newScript(t, cfg)
		for i := range 12 {
			s.submit(fmt.Sprint(i), Job{PromptTokens: 40 * i, OutputTokens: 5 + i})
		}
		for d := grain; d <= 20*time.Second; d += grain {
			s.now = s.start.Add(d)
			s.note(s.e.Advance(s.now))
		}
		return s.log
	}
	jump, steps := play(20*time.Second), play(7*ms)
	if len(jump) != 12 || len(steps) != 12 {
		t.Fatalf("%d and %d of 12 finished", len(jump), len(steps))
	}
	if !slices.Equal(jump, steps) {
		t.Errorf("one jump  %q\nin steps  %q", jump, steps)
	}
}

func TestTheSeedFixesTheLatencies(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) []string {
		cfg := quietConfig()
		cfg.Jitter, cfg.Seed = 0.2, seed
		s := newScript(t, cfg)
		for i := range 10 {
			s.submit(fmt.Sprint(i), Job{PromptTokens: 100, OutputTokens: 10})
		}
		s.to(time.Minute)
		return s.log
	}
	if !slices.Equal(play(1), play(1)) {
		t.Error("one seed gave two histories")
	}
	if slices.Equal(play(1), play(2)) {
		t.Error("two seeds gave one history")
	}
}

func TestJitterKeepsTheMean(t *testing.T) {
	t.Parallel()
	cfg := quietConfig()
	cfg.Jitter = 0.5
	var sum time.Duration
	const n = 20_000
	for i := range uint64(n) {
		sum += cfg.prefill(i, referencePrompt, 0)
	}
	if mean := sum / n; mean < 98*ms || mean > 102*ms {
		t.Errorf("mean of %d draws is %v, want 100ms", n, mean)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	cfg := quietConfig()
	cfg.MaxNumSeqs, cfg.MaxWaiting = 2, 3
	s := newScript(t, cfg)
	for range 5 {
		s.submit("", Job{PromptTokens: 1, OutputTokens: 1})
	}
	if _, err := s.e.Submit(s.now, Job{PromptTokens: 1, OutputTokens: 1}); err == nil {
		t.Error("the sixth of 2 running and 3 waiting was taken")
	}
	if l := s.e.Load(); l.Running != 2 || l.Waiting != 3 {
		t.Errorf("load %+v", l)
	}
}

func TestLoadShowsQueuesAdaptersAndCache(t *testing.T) {
	t.Parallel()
	cfg := quietConfig()
	cfg.NumBlocks = 100
	s := newScript(t, cfg)
	s.submit("a", Job{PromptTokens: 160, OutputTokens: 17, Adapter: "x"})
	s.submit("b", Job{PromptTokens: 160, OutputTokens: 16, Adapter: "y"})
	l := s.e.Load()
	if l.Running != 1 || l.Waiting != 1 || l.KVUsage != 0.1 || !slices.Equal(l.RunningAdapters, []string{"x"}) || !slices.Equal(l.WaitingAdapters, []string{"y"}) {
		t.Errorf("load %+v", l)
	}
	s.to(time.Minute)
	if l := s.e.Load(); l.Running+l.Waiting != 0 || l.KVUsage != 0 || s.e.usedBlocks != 0 {
		t.Errorf("load after all have finished %+v, %d blocks reserved", l, s.e.usedBlocks)
	}
	if _, ok := s.e.Next(); ok {
		t.Error("an idle engine waits for an event")
	}
}

func TestPrefixBlocksMatchOnlyFromTheStart(t *testing.T) {
	t.Parallel()
	long := fmt.Sprintf("%0256d", 1)
	a := PrefixBlocks("", long, 16)
	if len(a) != 4 || !slices.Equal(a, PrefixBlocks("", long+"more", 16)) {
		t.Errorf("a longer prompt with the same start has other blocks: %v", a)
	}
	if b := PrefixBlocks("adapter", long, 16); b[0] == a[0] {
		t.Error("two adapters share a block")
	}
	if b := PrefixBlocks("", "x"+long, 16); slices.Contains(a, b[3]) {
		t.Error("a block matches without the ones before it")
	}
	c := newPrefixCache(4)
	c.add(a)
	if c.hits(a) != 4 {
		t.Error("blocks just added are missed")
	}
	c.add([]uint64{7, 8})
	if c.hits(a) != 0 || len(c.held) != 4 {
		t.Errorf("a full cache kept its oldest block; it holds %d", len(c.held))
	}
}

func TestATokenOfALateTickIsStillTheFirst(t *testing.T) {
	t.Parallel()
	s := newScript(t, quietConfig())
	s.submit("a", oneJob())
	var got []string
	for _, ev := range s.e.Advance(s.start.Add(time.Second)) {
		if ev.Kind == EventToken {
			got = append(got, fmt.Sprint(ev.Nth, " after ", ev.Gap))
		}
	}
	if want := []string{"1 after 0s", "2 after 10ms", "3 after 10ms"}; !slices.Equal(got, want) {
		t.Errorf("tokens %q, want %q", got, want)
	}
}
