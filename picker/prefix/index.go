package prefix

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// Slots is the number of model servers that are told apart; more of them share
// slots, and then each other's reputation.
const Slots = 512

// Options of an Index. Every field is required.
type Options struct {
	Block   int           // bytes in a block
	Blocks  int           // of one prompt that are looked at, at most MaxBlocks
	Entries int           // blocks that are remembered, about 150 bytes each
	Window  time.Duration // how long a model server is believed to hold a block it was sent: this long at least, twice at most
}

// Index remembers which model servers were sent which blocks lately. Its size is
// fixed: a new block takes the place of one that was not asked for longest. Its
// methods may be called by any number of goroutines, and allocate nothing.
type Index struct {
	seed          maphash.Seed
	block, blocks int
	window        time.Duration
	shards        [shards]shard
}

// EntryBytes is what one remembered block takes.
const EntryBytes = 152

const (
	shards = 64
	ways   = 4 // entries among which one is given up
)

type shard struct {
	mu      sync.Mutex
	clock   uint32 // counts uses
	entries []entry
}

// entry is one block of one model's prompts.
type entry struct {
	key         uint64
	used        uint32 // the shard's clock
	window      int64  // in which recent was written
	recent, old set    // model servers: in that window, and in the one before
}

// set is a set of slots.
type set [Slots / 64]uint64

// New returns an empty Index.
func New(o Options) *Index {
	x := &Index{seed: maphash.MakeSeed(), block: o.Block, blocks: min(o.Blocks, MaxBlocks), window: o.Window}
	buckets := max(1, o.Entries/(shards*ways))
	for i := range x.shards {
		x.shards[i].entries = make([]entry, buckets*ways)
	}
	return x
}

// Match tells, for each slot, how many blocks of a prompt its model server holds,
// from the first one on.
type Match struct {
	total int
	held  [Slots]uint8
}

// Missing is the share of the prompt that the model server of this slot would have
// to compute, from 0 to 1: 0 when there is no prompt to speak of. What a prompt is
// short of settled blocks is made up as if it were held, so that affinity decides
// little for a short prompt, which is cheap to compute anywhere.
func (m *Match) Missing(slot int) float64 {
	const settled = 4
	return float64(m.total-int(m.held[slot%Slots])) / float64(m.total+settled)
}

// Held is the number of blocks that the model server of this slot holds.
func (m *Match) Held(slot int) int { return int(m.held[slot%Slots]) }

// Lookup fills m for a prompt that is meant for model.
func (x *Index) Lookup(p *Prompt, model string, now time.Time, m *Match) {
	*m = Match{total: p.blocks}
	salt, window := maphash.String(x.seed, model), x.windowAt(now)
	var all set
	for i := range all {
		all[i] = ^uint64(0)
	}
	for i := range p.blocks {
		holders := x.holders(p.sums[i]^salt, window)
		lost, left := all, false
		for w := range all {
			all[w] &= holders[w]
			lost[w] &^= holders[w]
			left = left || all[w] != 0
		}
		if i > 0 {
			m.count(&lost, i)
		}
		if !left {
			return
		}
	}
	m.count(&all, p.blocks)
}

// count notes that the slots of s hold n blocks.
func (m *Match) count(s *set, n int) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			m.held[w*64+bits.TrailingZeros64(word)] = uint8(n)
		}
	}
}

// Learn notes that a prompt went to the model server of a slot.
func (x *Index) Learn(p *Prompt, model string, slot int, now time.Time) {
	salt, window := maphash.String(x.seed, model), x.windowAt(now)
	slot %= Slots
	for i := range p.blocks {
		x.add(p.sums[i]^salt, slot, window)
	}
}

func (x *Index) windowAt(now time.Time) int64 { return now.UnixNano() / int64(x.window) }

// bucket is where a key may be.
func (x *Index) bucket(key uint64) (*shard, []entry) {
	s := &x.shards[key%shards]
	at := int(key/shards%uint64(len(s.entries)/ways)) * ways
	return s, s.entries[at : at+ways]
}

// holders are the slots whose model servers were lately sent a block.
func (x *Index) holders(key uint64, window int64) (held set) {
	s, bucket := x.bucket(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range bucket {
		e := &bucket[i]
		if e.key != key || e.used == 0 {
			continue
		}
		s.touch(e)
		e.turn(window)
		held = e.recent
		for w := range held {
			held[w] |= e.old[w]
		}
		return held
	}
	return held
}

func (x *Index) add(key uint64, slot int, window int64) {
	s, bucket := x.bucket(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &bucket[0]
	for i := range bucket {
		e := &bucket[i]
		if e.key == key && e.used != 0 {
			at = e
			break
		}
		if s.clock-e.used > s.clock-at.used { // unsigned: right also after the clock went round
			at = e
		}
	}
	if at.key != key || at.used == 0 {
		*at = entry{key: key, window: window}
	}
	s.touch(at)
	at.turn(window)
	at.recent[slot/64] |= 1 << (slot % 64)
}

func (s *shard) touch(e *entry) {
	s.clock = max(s.clock+1, 1) // 0 marks an entry that was never used
	e.used = s.clock
}

// turn forgets what is older than a window.
func (e *entry) turn(window int64) {
	switch window - e.window {
	case 0:
		return
	case 1:
		e.old, e.recent = e.recent, set{}
	default:
		e.old, e.recent = set{}, set{}
	}
	e.window = window
}
