package modelsim

import (
	"sync"
	"time"
)

// observer is told what the engine did, in order, under the loop's lock.
type observer interface {
	token(ev Event)
	finished(s *Sequence)
	aborted()
}

// loop drives an Engine in real time with one timer, which is armed only while
// an event is due; an idle server has nothing running.
type loop struct {
	mu     sync.Mutex
	engine *Engine
	timer  *time.Timer
	wake   map[*Sequence]chan struct{}
	seen   observer
	faults Faults
	closed bool
}

func newLoop(cfg EngineConfig, seen observer) *loop {
	l := &loop{engine: NewEngine(cfg, time.Now()), wake: make(map[*Sequence]chan struct{}), seen: seen}
	l.timer = time.AfterFunc(time.Hour, l.tick)
	l.timer.Stop()
	return l
}

// close stops the clock; what runs then never finishes.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.timer.Stop()
}

func (l *loop) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	l.arm()
}

// advance brings the engine to the present and wakes whoever waits for a token.
func (l *loop) advance() time.Time {
	now := time.Now()
	for _, ev := range l.engine.Advance(now) {
		switch ev.Kind {
		case EventToken:
			l.seen.token(ev)
		case EventFinished:
			l.seen.finished(ev.Seq)
		}
		select {
		case l.wake[ev.Seq] <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
	return now
}

func (l *loop) arm() {
	at, ok := l.engine.Next()
	if !ok || l.closed {
		l.timer.Stop()
		return
	}
	l.timer.Reset(max(0, time.Until(at)))
}

// submit hands the jobs of one request to the engine, all or none. The channel
// gets a value whenever one of them has made progress since it was last read.
func (l *loop) submit(jobs []Job) ([]*Sequence, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.advance()
	seqs, wake := make([]*Sequence, 0, len(jobs)), make(chan struct{}, 1)
	for _, j := range jobs {
		seq, err := l.engine.Submit(now, j)
		if err != nil {
			for _, s := range seqs {
				delete(l.wake, s)
				l.engine.Abort(s)
			}
			l.arm()
			return nil, nil, err
		}
		l.wake[seq] = wake
		seqs = append(seqs, seq)
	}
	l.arm()
	return seqs, wake, nil
}

// leave ends the caller's interest in seqs; unfinished ones are aborted.
func (l *loop) leave(seqs []*Sequence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	for _, seq := range seqs {
		delete(l.wake, seq)
		if l.engine.Abort(seq) {
			l.seen.aborted()
		}
	}
	l.arm()
}

// progress is the number of tokens each of seqs has so far.
func (l *loop) progress(seqs []*Sequence) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	emitted := make([]int, len(seqs))
	for i, seq := range seqs {
		emitted[i] = seq.Emitted
	}
	return emitted
}

func (l *loop) load() Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.Load()
}

func (l *loop) setFaults(f Faults) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance()
	l.faults = f
	l.engine.SetFaults(f)
	l.arm()
}

func (l *loop) currentFaults() Faults {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults
}
