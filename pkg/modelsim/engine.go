package modelsim

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// errFull says that the waiting queue is at its limit.
var errFull = errors.New("too many waiting requests")

// EngineConfig is what the engine's time depends on.
type EngineConfig struct {
	MaxNumSeqs    int           // requests in the batch
	MaxWaiting    int           // requests waiting for a place in it
	MaxLoRAs      int           // distinct adapters in the batch
	NumBlocks     int           // KV-cache blocks
	BlockSize     int           // tokens per block
	TTFT          time.Duration // first token of a 128-token prompt, idle server
	TPOT          time.Duration // one decode step, batch of one
	Jitter        float64       // shape of the log-normal noise; 0 is none
	Seed          uint64
	StallEvery    time.Duration // mean time between shared stalls; 0 is none
	StallDuration time.Duration
}

// Job is one request as the engine sees it.
type Job struct {
	Request      uint64 // number of the request, which decides whether faults touch it
	Model        string // the name asked for: a served name or an adapter
	Adapter      string // "" for the base model
	PromptTokens int
	OutputTokens int      // at least 1
	Blocks       []uint64 // hashes of the prompt's full blocks
	FinishReason string   // what the client is told: stop or length
}

// Sequence is a job in the engine. Its fields belong to the engine and are
// read under the same lock that guards it.
type Sequence struct {
	Job
	Arrived, Started, FirstToken, Finished time.Time

	Cached  int // prompt tokens found in the prefix cache
	Emitted int // tokens so far

	id         uint64
	prefilling bool
	prefillEnd time.Duration
	blocks     int

	lastToken time.Time

	slow   float64 // its own slowness beside the server's, at least 1
	hung   bool
	left   time.Duration // of its prefill, while it is hung
	credit float64       // of decode steps towards its next token
}

// EventKind says what happened to a sequence.
type EventKind int

// What Advance reports.
const (
	EventToken    EventKind = iota + 1 // one more token
	EventFinished                      // the last token was emitted just before
)

// Event is one thing that happened, in order of time. Seq may have moved on
// since.
type Event struct {
	Seq  *Sequence
	Kind EventKind
	Nth  int           // which token, from 1
	Gap  time.Duration // since the token before; 0 for the first
}

// Load is a snapshot of the engine's queues.
type Load struct {
	Running, Waiting                 int
	KVUsage                          float64 // 0–1
	RunningAdapters, WaitingAdapters []string
}

// Engine is continuous batching as a pure state machine. It has a clock of its
// own that runs SlowFactor times slower than the caller's, stands still while
// the server hangs or stalls, and is moved only by Advance. Faults of some
// requests only leave that clock alone and hold back those sequences. Not safe
// for concurrent use.
type Engine struct {
	cfg    EngineConfig
	faults Faults
	cache  *prefixCache

	waiting, running []*Sequence
	usedBlocks       int

	now  time.Duration // the engine's clock
	wall time.Time     // the caller's time at now; ahead of it during a stall

	stepAt    time.Duration // next decode step; 0 when nothing decodes
	stallAt   time.Duration // next stall; 0 when there are none
	steps     uint64
	stalls    uint64
	submitted uint64
}

// NewEngine returns an idle engine whose clock starts at start.
func NewEngine(cfg EngineConfig, start time.Time) *Engine {
	e := &Engine{cfg: cfg, wall: start, cache: newPrefixCache(cfg.NumBlocks)}
	e.scheduleStall()
	return e
}

// SetFaults changes the faults from the engine's present on. Call Advance
// first.
func (e *Engine) SetFaults(f Faults) {
	e.faults = f
	for _, s := range e.running {
		e.afflict(s)
	}
	e.startStep()
}

// Submit adds a job at wall time now, to which the engine must have been
// advanced. It returns an error when the queue is full.
func (e *Engine) Submit(now time.Time, j Job) (*Sequence, error) {
	e.submitted++
	seq := &Sequence{Job: j, Arrived: now, id: e.submitted}
	seq.blocks = blocksFor(j.PromptTokens+j.OutputTokens, e.cfg.BlockSize)
	e.waiting = append(e.waiting, seq)
	e.admit()
	if len(e.waiting) > e.cfg.MaxWaiting {
		e.Abort(seq)
		return nil, errFull
	}
	return seq, nil
}

// Abort removes a sequence, wherever it is, and reports whether it was there.
func (e *Engine) Abort(seq *Sequence) bool {
	if i := slices.Index(e.waiting, seq); i >= 0 {
		e.waiting = slices.Delete(e.waiting, i, i+1)
		return true
	}
	i := slices.Index(e.running, seq)
	if i < 0 {
		return false
	}
	e.running = slices.Delete(e.running, i, i+1)
	e.usedBlocks -= seq.blocks
	e.admit()
	return true
}

// Next is the wall time of the next event, if one will come by itself.
func (e *Engine) Next() (time.Time, bool) {
	if e.hung() || !slices.ContainsFunc(e.running, func(s *Sequence) bool { return !s.hung }) {
		return time.Time{}, false
	}
	return e.wallAt(e.nextEvent()), true
}

// Advance moves the engine to wall time now and returns what happened.
func (e *Engine) Advance(now time.Time) []Event {
	if e.hung() {
		e.wall = later(e.wall, now)
		return nil
	}
	var events []Event
	for {
		at := e.nextEvent()
		if at == 0 || e.wallAt(at).After(now) {
			break
		}
		e.wall, e.now = e.wallAt(at), at
		if at == e.stallAt {
			e.stall()
			continue
		}
		events = e.decode(events)
		events = e.finishPrefills(events)
		e.admit()
	}
	if now.After(e.wall) {
		e.now += time.Duration(float64(now.Sub(e.wall)) / e.slow())
		e.wall = now
	}
	return events
}

// Load describes the queues.
func (e *Engine) Load() Load {
	l := Load{Running: len(e.running), Waiting: len(e.waiting)}
	held := 0
	for _, s := range e.running {
		held += blocksFor(s.PromptTokens+s.Emitted, e.cfg.BlockSize)
	}
	l.KVUsage = min(1, float64(held)/float64(e.cfg.NumBlocks))
	l.RunningAdapters, l.WaitingAdapters = adapters(e.running), adapters(e.waiting)
	return l
}

func (e *Engine) wallAt(at time.Duration) time.Time {
	return e.wall.Add(time.Duration(float64(at-e.now) * e.slow()))
}

// nextEvent is the engine time of the next event, 0 when there is none.
func (e *Engine) nextEvent() time.Duration {
	next := e.stallAt
	earlier := func(at time.Duration) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	earlier(e.stepAt)
	for _, s := range e.running {
		if s.prefilling && !s.hung {
			earlier(s.prefillEnd)
		}
	}
	return next
}

// decode gives every decoding sequence one token when a step ends now, and
// starts the next step.
func (e *Engine) decode(events []Event) []Event {
	if e.stepAt == 0 || e.stepAt > e.now {
		return events
	}
	for _, s := range e.running {
		if s.prefilling || s.hung {
			continue
		}
		if s.credit += 1 / s.slow; s.credit >= 1 {
			s.credit--
			events = e.emit(events, s)
		}
	}
	e.reap()
	e.stepAt = 0
	e.startStep()
	return events
}

func (e *Engine) finishPrefills(events []Event) []Event {
	for _, s := range e.running {
		if s.prefilling && !s.hung && s.prefillEnd <= e.now {
			s.prefilling = false
			s.FirstToken = e.wall
			events = e.emit(events, s)
		}
	}
	e.reap()
	e.startStep()
	return events
}

func (e *Engine) emit(events []Event, s *Sequence) []Event {
	s.Emitted++
	token := Event{Seq: s, Kind: EventToken, Nth: s.Emitted}
	if s.Emitted > 1 {
		token.Gap = e.wall.Sub(s.lastToken)
	}
	s.lastToken = e.wall
	events = append(events, token)
	if s.Emitted == s.OutputTokens {
		s.Finished = e.wall
		events = append(events, Event{Seq: s, Kind: EventFinished})
	}
	return events
}

func (e *Engine) startStep() {
	decoding := 0
	for _, s := range e.running {
		if !s.prefilling && !s.hung {
			decoding++
		}
	}
	if e.stepAt == 0 && decoding > 0 {
		e.steps++
		e.stepAt = e.now + e.cfg.step(e.steps, e.load(decoding))
	}
}

// reap frees the places of finished sequences.
func (e *Engine) reap() {
	e.running = slices.DeleteFunc(e.running, func(s *Sequence) bool {
		if s.Emitted < s.OutputTokens {
			return false
		}
		e.usedBlocks -= s.blocks
		return true
	})
}

// admit moves waiting sequences into the batch, in order of arrival; one whose
// adapter has no place is passed over, one that the KV cache cannot hold stops
// the rest.
func (e *Engine) admit() {
	active := adapters(e.running)
	full := false
	e.waiting = slices.DeleteFunc(e.waiting, func(s *Sequence) bool {
		full = full || len(e.running) >= e.cfg.MaxNumSeqs ||
			len(e.running) > 0 && e.usedBlocks+s.blocks > e.cfg.NumBlocks
		if full {
			return false
		}
		if s.Adapter != "" && !slices.Contains(active, s.Adapter) {
			if len(active) >= e.cfg.MaxLoRAs {
				return false
			}
			active = append(active, s.Adapter)
		}
		e.start(s)
		return true
	})
}

func (e *Engine) start(s *Sequence) {
	s.Started = e.wall
	s.Cached = min(e.cache.hits(s.Blocks)*e.cfg.BlockSize, s.PromptTokens)
	e.cache.add(s.Blocks)
	e.running = append(e.running, s)
	e.usedBlocks += s.blocks
	s.prefilling, s.slow = true, 1
	s.prefillEnd = e.now + max(1, e.cfg.prefill(s.id, s.PromptTokens-s.Cached, e.load(len(e.running))))
	e.afflict(s)
}

// load is the fullness of a batch of n, 0 for one request and 1 for a full one.
func (e *Engine) load(n int) float64 {
	return float64(n-1) / float64(max(1, e.cfg.MaxNumSeqs-1))
}

// stall lets wall time pass while the engine's clock stands.
func (e *Engine) stall() {
	e.wall = e.wall.Add(time.Duration(float64(e.cfg.StallDuration) * e.slow()))
	e.scheduleStall()
}

func (e *Engine) scheduleStall() {
	if e.cfg.StallEvery == 0 {
		return
	}
	e.stalls++
	e.stallAt = e.now + max(1, e.cfg.stallGap(e.stalls))
}

func adapters(seqs []*Sequence) []string {
	var names []string
	for _, s := range seqs {
		if s.Adapter != "" && !slices.Contains(names, s.Adapter) {
			names = append(names, s.Adapter)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

func blocksFor(tokens, blockSize int) int { return (tokens + blockSize - 1) / blockSize }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
