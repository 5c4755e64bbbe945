package rollout_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// The explorer walks Next itself through the orders of events, any open one
// next, so that it sees the ends of runs as well as their beginnings: two processes that work on one journal and two targets without any lease
// between them (so every pause and every wrong takeover is in it), crashes and
// lost answers at every call, a person's request, signals, a foreign writer, a
// clock that jumps. What each budget allows is bounded, and so is the number
// of states; the promise is checked in every one.
const (
	exploreStates  = 120_000
	exploreTargets = 2
)

// call is one call of a process to the cluster; target is an index.
type call struct {
	verb   rollout.Verb
	target int
}

type mark struct {
	run   string
	epoch int64
}

// proc is one process: its state, what it saw last, and the calls left of the
// action it carries out.
type proc struct {
	alive, interrupted bool
	stale              bool // another process wrote the journal since this one last did
	state              rollout.State
	seen               rollout.Observation
	todo               []call
	found              [exploreTargets]mark // the stamps when it began
}

// scene is one state of the world.
type scene struct {
	journal                                           rollout.Record
	asked                                             rollout.Wish
	share                                             [exploreTargets]rollout.Goal
	stamp                                             [exploreTargets]mark
	foreign                                           [exploreTargets]bool // somebody else wrote it last
	procs                                             [2]proc
	now                                               int
	faults, strangers, starts, signals, wishes, jumps int
}

// oracle is a judge that finds what the sample tells it to.
type oracle struct{}

const (
	seeNothing = iota
	seePass
	seeHarm
)

func (oracle) Survey(rollout.Sample) (rollout.Judge, string) { return oracle{}, "" }
func (oracle) Enter(int) rollout.Judge                       { return oracle{} }
func (oracle) Weigh(_ time.Time, s rollout.Sample, gated bool) (rollout.Judge, rollout.Finding) {
	switch {
	case s.Canary.Restarts == seeHarm:
		return oracle{}, rollout.Finding{Harm: "harm"}
	case s.Canary.Restarts == seePass && gated:
		return oracle{}, rollout.Finding{Pass: true}
	}
	return oracle{}, rollout.Finding{Missing: "more"}
}
func (oracle) Results() []rollout.GateResult { return nil }
func (oracle) State() []byte                 { return nil }

func (n *scene) time() time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(n.now) * time.Hour)
}

// print is a scene as bytes: everything that Next and the cluster look at.
type print []byte

func (k *print) number(list ...int64) {
	for _, v := range list {
		*k = binary.AppendVarint(*k, v)
	}
}

func (k *print) text(list ...string) {
	for _, v := range list {
		*k = append(append(*k, v...), 0)
	}
}

func (k *print) flags(list ...bool) {
	for _, v := range list {
		*k = append(*k, map[bool]byte{true: 1}[v])
	}
}

func (k *print) record(r *rollout.Record) {
	k.text(r.Run, r.Holder, string(r.Phase), string(r.Cause))
	k.number(r.Epoch, int64(r.Step), int64(r.Ceiling), int64(r.Goal), int64(r.From), int64(r.Approved), r.Obeyed)
	k.flags(r.Paused)
}

func (k *print) process(p *proc) {
	k.flags(p.alive)
	if !p.alive {
		return
	}
	w := &p.state.Watch
	k.record(&p.state.Record)
	k.flags(p.interrupted, p.stale, w.Saved, w.Seized, w.Released, w.Moved, w.Ending != nil, p.seen.Err != nil, errors.Is(p.seen.Err, rollout.ErrSuperseded),
		errors.Is(p.seen.Err, rollout.ErrDrift), p.seen.Journal != nil, len(p.seen.Requests) > 0)
	k.number(w.Since.Unix(), w.Due.Unix(), int64(w.Retry), int64(w.WrongReads), int64(w.Stuck), w.StuckSince.Unix(), int64(len(p.todo)))
	for i := range p.found {
		k.text(p.found[i].run)
		k.number(p.found[i].epoch)
	}
	if len(p.todo) > 0 {
		k.text(string(p.todo[0].verb))
	}
	if at := p.seen.Standing; at != nil {
		k.flags(at.AtGoal, at.Fenced, at.Unstamped)
	}
	if look := p.seen.Sample; look != nil {
		k.number(int64(look.Canary.Restarts))
	}
}

// key tells scenes apart, by a hash of 64 bits: of 10⁵ scenes two collide once
// in 10⁹ runs.
func (n *scene) key(seed maphash.Seed) uint64 {
	k := make(print, 0, 512)
	k.record(&n.journal)
	k.text(string(n.asked))
	for i := range n.share {
		k.text(n.stamp[i].run)
		k.number(int64(n.share[i]), n.stamp[i].epoch)
		k.flags(n.foreign[i])
	}
	k.number(int64(n.now), int64(n.faults), int64(n.strangers), int64(n.starts), int64(n.signals), int64(n.wishes), int64(n.jumps))
	for i := range n.procs {
		k.process(&n.procs[i])
	}
	return maphash.Bytes(seed, k)
}

func TestTheExplorerFindsNoWayOverTheCeiling(t *testing.T) {
	t.Parallel()
	plan := rollout.Plan{Target: "a", Also: []string{"b"}, Steps: []int{25, 100}, Approve: []int{25}, StepDeadline: 30 * time.Minute}
	first := scene{
		journal: rollout.Record{}, share: [exploreTargets]rollout.Goal{rollout.Baseline, rollout.Baseline},
		faults: 2, strangers: 1, starts: 3, signals: 1, wishes: 1, jumps: 1,
	}
	e := explorer{t: t, plan: plan}
	seed, order := maphash.MakeSeed(), rand.New(rand.NewPCG(1, 2))
	seen := map[uint64]bool{first.key(seed): true}
	open, list := []*scene{&first}, []scene(nil)
	for len(open) > 0 && len(seen) < exploreStates && !t.Failed() {
		last := len(open) - 1
		i := last // mostly one run to its end, and now and then another
		if order.IntN(4) == 0 {
			i = order.IntN(len(open))
		}
		n := open[i]
		open[i], open = open[last], open[:last]
		list = e.successors(list[:0], *n)
		for i := range list {
			next := &list[i]
			if k := next.key(seed); !seen[k] {
				seen[k] = true
				kept := *next
				open = append(open, &kept)
				if len(seen)%500 == 0 {
					e.recoverable(kept)
				}
			}
		}
	}
	t.Logf("%d states, %d writes of weights, %d recoveries", len(seen), e.moves, e.recoveries)
	if len(seen) < 100_000 || e.moves == 0 || e.recoveries == 0 {
		t.Error("too little was explored")
	}
}

type explorer struct {
	t                 *testing.T
	plan              rollout.Plan
	moves, recoveries int
}

// successors appends the scenes one event away.
func (e *explorer) successors(out []scene, n scene) []scene {
	for i := range n.procs {
		if n.procs[i].alive {
			out = e.step(out, n, i)
		} else if n.starts > 0 {
			out = append(out, e.starts(n, i)...)
		}
		if n.procs[i].alive && n.signals > 0 && !n.procs[i].interrupted {
			m := n
			m.signals--
			m.procs[i].interrupted = true
			out = append(out, m)
		}
	}
	if n.strangers > 0 {
		for i := range n.share {
			written, replaced := n, n
			written.strangers--
			written.share[i], written.foreign[i] = 60, true
			replaced.strangers--
			replaced.share[i], replaced.foreign[i], replaced.stamp[i] = rollout.Baseline, true, mark{}
			out = append(out, written, replaced)
		}
	}
	if n.wishes > 0 && n.journal.Run != "" {
		for _, wish := range []rollout.Wish{rollout.WishAbort, rollout.WishPromote, rollout.WishFull} {
			m := n
			m.wishes, m.asked = 0, wish
			out = append(out, m)
		}
	}
	if n.jumps > 0 {
		m := n
		m.jumps, m.now = 0, n.now+1
		out = append(out, m)
	}
	return out
}

// starts are what a person may do where no process is: run, or abort.
func (e *explorer) starts(n scene, i int) []scene {
	n.starts--
	r := n.journal
	if r.Run == "" {
		r = rollout.Record{Run: fmt.Sprint("r", n.starts), Plan: e.plan, Phase: rollout.Ready, Goal: rollout.Baseline, From: rollout.Baseline, Step: 0}
	} else if r.Phase.Finished() {
		return nil
	}
	r.Epoch++
	r.Write++
	r.Holder = fmt.Sprint("p", n.starts)
	begin := func(r rollout.Record) scene {
		m := n
		m.procs[i] = proc{alive: true, state: rollout.Begin(r, oracle{}), seen: rollout.Observation{Now: n.time(), RollbackLimit: time.Minute}, found: n.stamp}
		return m
	}
	out := []scene{begin(r)}
	if n.journal.Run != "" {
		r.Phase, r.Goal, r.Cause = rollout.RollingBack, rollout.Baseline, rollout.ByRequest
		out = append(out, begin(r))
	}
	return out
}

// step lets process i do one call, with every fault there is left to spend.
func (e *explorer) step(out []scene, n scene, i int) []scene {
	p := &n.procs[i]
	if len(p.todo) == 0 {
		seen := p.seen
		seen.Now, seen.Interrupted = n.time(), p.interrupted
		s, a := rollout.Next(p.state, seen)
		p.state, p.seen = s, rollout.Observation{Now: n.time(), RollbackLimit: time.Minute}
		if a.Verb == rollout.Stop {
			p.alive = false
			return append(out, n)
		}
		p.todo = calls(a.Verb)
	}
	todo := p.todo
	for _, m := range e.do(n, i, todo[0]) {
		q := &m.procs[i]
		if q.todo = todo[1:]; q.seen.Err != nil {
			q.todo = nil // the action ends with its first error
		}
		out = append(out, m)
		if n.faults > 0 && todo[0].verb != rollout.Watch {
			dead, lost := m, m
			dead.faults--
			dead.procs[i].alive = false // killed after the call
			lost.faults--
			lost.procs[i] = n.procs[i] // carried out, and the answer lost
			lost.procs[i].seen.Err, lost.procs[i].todo = errDown, nil
			out = append(out, dead, lost)
		}
	}
	if n.faults > 0 && todo[0].verb != rollout.Watch {
		n.faults--
		n.procs[i].seen.Err, n.procs[i].todo = errDown, nil // never carried out
		out = append(out, n)
	}
	return out
}

// calls are what a verb asks of the cluster.
func calls(verb rollout.Verb) []call {
	var list []call
	switch verb {
	case rollout.Seize, rollout.Move, rollout.Withdraw, rollout.Release:
		for i := range exploreTargets {
			list = append(list, call{verb, i})
		}
		if verb == rollout.Move {
			list = append(list, call{rollout.Read, 0})
		}
	default:
		list = append(list, call{verb, 0})
	}
	return list
}
