package prefix

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

var epoch = time.Unix(1_000_000, 0)

func small() *Index {
	return New(Options{Block: 8, Blocks: 16, Entries: 4096, Window: time.Minute})
}

func (x *Index) prompt(text string) *Prompt {
	p := x.NewPrompt()
	p.Write([]byte(text))
	return p
}

// held is how many blocks of a prompt the slot holds.
func (x *Index) held(text, model string, slot int, at time.Time) int {
	var m Match
	x.Lookup(x.prompt(text), model, at, &m)
	return m.Held(slot)
}

func blocks(names ...string) string {
	out := ""
	for _, name := range names {
		out += (name + "........")[:8]
	}
	return out
}

func TestWhoHoldsWhat(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		sent, asked string
		model       string
		slot, want  int
	}{
		"the same prompt":                               {blocks("a", "b", "c"), blocks("a", "b", "c"), "m", 1, 3},
		"one that goes on":                              {blocks("a", "b"), blocks("a", "b", "c", "d"), "m", 1, 2},
		"one that goes another way":                     {blocks("a", "b", "c"), blocks("a", "x", "c"), "m", 1, 1},
		"one that begins otherwise, and ends alike":     {blocks("a", "b", "c"), blocks("x", "b", "c"), "m", 1, 0},
		"for another model":                             {blocks("a", "b", "c"), blocks("a", "b", "c"), "other", 1, 0},
		"at another model server":                       {blocks("a", "b", "c"), blocks("a", "b", "c"), "m", 2, 0},
		"a block that is not whole does not count":      {blocks("a", "b") + "half", blocks("a", "b") + "half", "m", 1, 2},
		"a prompt shorter than a block":                 {"half", "half", "m", 1, 0},
		"blocks beyond the bound are not looked at":     {strings.Repeat(blocks("a"), 20), strings.Repeat(blocks("a"), 20), "m", 1, 16},
		"more model servers than slots share them":      {blocks("a"), blocks("a"), "m", 1 + Slots, 1},
		"a repeated block is told apart by its place":   {blocks("a"), blocks("a", "a"), "m", 1, 1},
		"an empty prompt, which everybody has for free": {"", "", "m", 1, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			x := small()
			x.Learn(x.prompt(tc.sent), "m", 1, epoch)
			if got := x.held(tc.asked, tc.model, tc.slot, epoch); got != tc.want {
				t.Errorf("%d blocks, want %d", got, tc.want)
			}
		})
	}
}

func TestASharedBeginningIsHeldByAllWhoWereSentIt(t *testing.T) {
	t.Parallel()
	x := small()
	for slot := range Slots {
		x.Learn(x.prompt(blocks("system", "user", fmt.Sprint(slot))), "m", slot, epoch)
	}
	for slot := range Slots {
		if got := x.held(blocks("system", "user", "7"), "m", slot, epoch); got != map[bool]int{true: 3, false: 2}[slot == 7] {
			t.Fatalf("slot %d holds %d", slot, got)
		}
	}
}

func TestAPromptIsTheSameHoweverItsBytesCome(t *testing.T) {
	t.Parallel()
	x := small()
	text := blocks("one", "two", "three", "four") + "rest"
	x.Learn(x.prompt(text), "m", 1, epoch)
	for size := 1; size < len(text); size++ {
		p := x.NewPrompt()
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			p.Write([]byte(rest[:min(size, len(rest))]))
		}
		var m Match
		if x.Lookup(p, "m", epoch, &m); m.Held(1) != 4 || p.Blocks() != 4 {
			t.Fatalf("in pieces of %d: %d of %d blocks", size, m.Held(1), p.Blocks())
		}
	}
}

func TestWhatWasNotSentLatelyIsForgotten(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		again time.Duration // sent again, 0: not
		after time.Duration
		want  int
	}{
		"in the window":                       {0, 59 * time.Second, 1},
		"in the next one":                     {0, 119 * time.Second, 1},
		"after that":                          {0, 180 * time.Second, 0},
		"much later":                          {0, 24 * time.Hour, 0},
		"sent again meanwhile":                {100 * time.Second, 179 * time.Second, 1},
		"a clock that goes back begins anew":  {0, -10 * time.Minute, 0},
		"looking it up does not make it last": {0, 200 * time.Second, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			x := small()
			begin := epoch.Truncate(time.Minute)
			x.Learn(x.prompt(blocks("a")), "m", 1, begin)
			if tc.again > 0 {
				x.Learn(x.prompt(blocks("a")), "m", 1, begin.Add(tc.again))
			}
			_ = x.held(blocks("a"), "m", 1, begin.Add(tc.after/2))
			if got := x.held(blocks("a"), "m", 1, begin.Add(tc.after)); got != tc.want {
				t.Errorf("%d", got)
			}
		})
	}
}

func TestMemoryIsFixedAndWhatIsUsedStays(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(entry{}); n != EntryBytes {
		t.Errorf("an entry takes %d bytes", n)
	}
	x := small()
	entries := func() (n int) {
		for i := range x.shards {
			n += len(x.shards[i].entries)
		}
		return n
	}
	before := entries()
	hot := blocks("system")
	for i := range 20_000 {
		x.Learn(x.prompt(fmt.Sprintf("%08d", i)), "m", i%8, epoch)
		if i%50 == 0 {
			x.Learn(x.prompt(hot), "m", 3, epoch)
		}
	}
	if got := entries(); got != before || before != 4096 {
		t.Errorf("%d entries, then %d", before, got)
	}
	if x.held(hot, "m", 3, epoch) != 1 {
		t.Error("a block that is sent all the time was given up")
	}
	if x.held(fmt.Sprintf("%08d", 1), "m", 1, epoch) != 0 {
		t.Error("a block of long ago is still there: nothing was given up")
	}
}

func TestAffinityOfAShortPromptDecidesLittle(t *testing.T) {
	t.Parallel()
	for want, m := range map[float64]Match{
		0:   {total: 0},
		0.2: {total: 1},
		0.8: {total: 16},
		0.4: {total: 16, held: [Slots]uint8{8}},
	} {
		if got := m.Missing(0); got != want {
			t.Errorf("%d of %d blocks held: %v missing, want %v", m.Held(0), m.total, got, want)
		}
	}
}

func TestLookupAndLearnAllocateNothing(t *testing.T) {
	x := New(Options{Block: 512, Blocks: MaxBlocks, Entries: 1 << 14, Window: time.Minute})
	text := []byte(strings.Repeat("x", 512*MaxBlocks))
	p := x.NewPrompt()
	var m Match
	if n := testing.AllocsPerRun(20, func() {
		*p = Prompt{index: x}
		p.hash.SetSeed(x.seed)
		p.Write(text)
		x.Learn(p, "m", 1, epoch)
		x.Lookup(p, "m", epoch, &m)
	}); n != 0 || m.Held(1) != MaxBlocks {
		t.Errorf("%v allocations, %d blocks", n, m.Held(1))
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	x := small()
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 0))
			var m Match
			for range 2000 {
				p := x.prompt(blocks(fmt.Sprint(random.IntN(50)), fmt.Sprint(random.IntN(50))))
				x.Learn(p, "m", worker, epoch)
				if x.Lookup(p, "m", epoch, &m); m.Held(worker) > 2 {
					t.Errorf("%d blocks of two", m.Held(worker))
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkLookupAndLearn(b *testing.B) {
	x := New(Options{Block: 512, Blocks: MaxBlocks, Entries: 1 << 16, Window: time.Minute})
	p := x.prompt(strings.Repeat("x", 512*MaxBlocks))
	for slot := range 100 {
		x.Learn(p, "m", slot, epoch)
	}
	var m Match
	b.ReportAllocs()
	for b.Loop() {
		x.Lookup(p, "m", epoch, &m)
		x.Learn(p, "m", 7, epoch)
	}
}
