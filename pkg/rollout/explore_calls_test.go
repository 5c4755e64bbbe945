package rollout_test

import (
	"fmt"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// do carries out one call of process i as the cluster does. Only a look has
// more than one result.
func (e *explorer) do(n scene, i int, c call) []scene {
	p := &n.procs[i]
	s, at := &p.state, c.target
	ours := mark{s.Run, s.Epoch}
	switch c.verb {
	case rollout.Save:
		e.save(&n, i)
	case rollout.Seize:
		now := n.stamp[at]
		if now != (mark{}) && now != p.found[at] && (now.run != ours.run || now.epoch > ours.epoch) {
			p.seen.Err = rollout.ErrSuperseded
			break
		}
		n.stamp[at] = ours
		s.Watch.Seized = s.Watch.Seized || at == exploreTargets-1
	case rollout.Move:
		p.seen.Err = e.move(&n, at, ours, s.From, s.Goal)
	case rollout.Withdraw:
		if n.share[at] == s.Goal {
			p.seen.Err = e.move(&n, at, ours, s.Goal, s.From)
		}
	case rollout.Release:
		if n.stamp[at] == ours {
			n.stamp[at] = mark{}
		}
		s.Watch.Released = s.Watch.Released || at == exploreTargets-1
	case rollout.Read:
		p.seen.Standing = n.standing(s)
	case rollout.Consult:
		journal := n.journal
		p.seen.Journal, p.seen.Standing = &journal, n.standing(s)
	case rollout.Watch:
		var out []scene
		for found := range seeHarm + 1 {
			m := n
			q := &m.procs[i]
			q.seen.Sample = &rollout.Sample{Canary: rollout.Arm{Restarts: found, Ready: 1}}
			q.seen.Standing = n.standing(s)
			if n.asked != "" {
				q.seen.Requests = []rollout.Request{{Seq: 1, Run: n.journal.Run, Wish: n.asked}}
			}
			out = append(out, m)
		}
		return out
	}
	return []scene{n}
}

// save is the journal's compare-and-swap, and what must hold of every record.
func (e *explorer) save(n *scene, i int) {
	p := &n.procs[i]
	old, r := n.journal, p.state.Record
	if p.stale {
		p.seen.Err = rollout.ErrSuperseded
		return
	}
	n.journal = r
	p.state.Watch.Saved = true
	n.procs[1-i].stale = true
	switch {
	case r.Ceiling < old.Ceiling:
		e.t.Errorf("the ceiling fell from %d%% to %d%%", old.Ceiling, r.Ceiling)
	case int(r.Goal) > r.Ceiling:
		e.t.Errorf("goal %s over the ceiling of %d%%", r.Goal, r.Ceiling)
	case old.Phase == rollout.RollingBack && r.Phase != rollout.RollingBack && r.Phase != rollout.RolledBack:
		e.t.Errorf("phase %s after RollingBack", r.Phase)
	}
	for i, share := range n.share {
		if r.Phase == rollout.RolledBack && share != rollout.Baseline && !n.foreign[i] {
			e.t.Errorf("RolledBack is recorded while target %d is at %v", i, share)
		}
	}
}

// move is a patch guarded by the stamp; a raise also by where it begins.
func (e *explorer) move(n *scene, at int, ours mark, from, goal rollout.Goal) error {
	was := n.share[at]
	if n.stamp[at] != ours {
		return rollout.ErrSuperseded
	}
	if goal != rollout.Baseline && from != rollout.Anywhere && was != from && was != goal {
		return rollout.ErrDrift
	}
	e.moves++
	n.share[at], n.foreign[at] = goal, false
	if int(goal) > n.journal.Ceiling {
		e.t.Errorf("target %d raised to %v over the ceiling of %d%%", at, goal, n.journal.Ceiling)
	}
	down := n.journal.Phase == rollout.RollingBack || n.journal.Phase == rollout.RolledBack
	if down && goal > was && ours.epoch >= n.journal.Epoch {
		e.t.Errorf("target %d rose from %v to %v while rolling back", at, was, goal)
	}
	return nil
}

// standing is what a read of every target says.
func (n *scene) standing(s *rollout.State) *rollout.Standing {
	all := rollout.Standing{AtGoal: true, Accepted: true}
	for i := range n.share {
		all.Share = max(all.Share, float64(n.share[i]))
		all.AtGoal = all.AtGoal && n.share[i] == s.Goal
		if s.Watch.Seized && n.stamp[i] != (mark{s.Run, s.Epoch}) {
			all.Fenced = all.Fenced || n.stamp[i] != mark{}
			all.Unstamped = all.Unstamped || n.stamp[i] == mark{}
		}
	}
	if all.Unstamped {
		all.AtGoal = false
	}
	return &all
}

// recoverable lets an abort work on a scene whose processes are all gone: it
// must bring every target to the baseline, unless the run was over.
func (e *explorer) recoverable(n scene) {
	for i := range n.procs {
		n.procs[i].alive = false
	}
	n.faults, n.strangers, n.starts, n.asked = 0, 0, 1, ""
	if n.journal.Run == "" || n.journal.Phase.Finished() {
		return
	}
	before := fmt.Sprint(n.journal.Phase, n.share, n.stamp)
	list := e.starts(n, 0)
	n = list[len(list)-1]
	for calls := 0; n.procs[0].alive; calls++ {
		if calls > 100 {
			e.t.Fatalf("an abort of %s does not end", before)
		}
		n = e.step(nil, n, 0)[0]
	}
	e.recoveries++
	if n.journal.Phase != rollout.RolledBack || n.share[0] != rollout.Baseline || n.share[1] != rollout.Baseline {
		e.t.Errorf("an abort of %s left %s %v", before, n.journal.Phase, n.share)
	}
}
