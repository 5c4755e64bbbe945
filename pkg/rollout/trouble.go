package rollout

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// What Next decides when something did not go as planned: signals, foreign
// writes, another process, and errors.

func interrupted(s State, o Observation) (State, Action) {
	if o.RollBack && s.Watch.Seized {
		return goBack(s, o.Now, ByInterrupt, "interrupted")
	}
	return s, Action{Verb: Stop, Outcome: Interrupted, Why: fmt.Sprintf("interrupted, traffic stays at a canary share of %d%% or lower", s.Ceiling)}
}

// drifting holds: a foreign write is never overwritten, unless the user chose
// to, and then a few times only. One read may be older than our own write on a
// lagging server, so several must agree.
func drifting(s State, o Observation) (State, Action) {
	at := *o.Standing
	s.Watch.WrongReads++
	if s.Watch.WrongReads < wrongReads {
		return s, Action{Verb: Read, Wait: acceptPoll}
	}
	why := fmt.Sprintf("the canary share was changed to %.4g%% by %s; it should be %s", at.Share, cmp.Or(at.By, "somebody else"), s.Goal)
	if !o.Reassert || s.Watch.Reasserted >= maxReasserts {
		return s, Action{Verb: Stop, Outcome: Drifted, Why: why}
	}
	s.Watch.Reasserted++
	s.From = Anywhere
	return s.enter(Raising, o.Now, why+", and is written again")
}

// unsaved has a record that is not in the journal yet: it is written before
// anything else. While that does not work the gates look on; what they see may
// take the canary back, and raises nothing.
func unsaved(s State, o Observation) (State, Action) {
	if o.Sample == nil || !s.Phase.Watched() {
		return s, Action{Verb: Save}
	}
	var f Finding
	s.Watch.Judge, f = s.Watch.Judge.Weigh(o.Now, *o.Sample, s.Phase != Settling)
	if s.Phase != Settling {
		s = count(s, o, f)
	}
	if s, f.Harm = s.harmed(o.Now, f); f.Harm != "" {
		return goBack(s, o.Now, ByGate, f.Harm)
	}
	return s, Action{Verb: Save}
}

// consulted has read journal and target, since we may not be the owner any
// more, and explains a stop by what the new one wrote. If the journal is ours
// and only the stamp is gone, somebody replaced the target: that is drift; a
// rollback stamps it anew and goes on.
func consulted(s State, o Observation) (State, Action) {
	ours, now := s.Record, *o.Journal
	if now.Run == ours.Run && now.Epoch == ours.Epoch {
		at := o.Standing
		switch {
		case at == nil || at.Fenced || !at.Unstamped:
			return s, Action{Verb: Stop, Outcome: TakenOver, Why: "another process holds the lease"}
		case s.Phase == RollingBack:
			s.Watch.Seized = false
			return s, Action{Verb: Seize}
		}
		return s, Action{
			Verb: Stop, Outcome: Drifted,
			Why: fmt.Sprintf("the target was replaced by %s: our stamp is gone, and the canary share is %.4g%%", cmp.Or(at.By, "somebody else"), at.Share),
		}
	}
	return s, superseded(now)
}

func superseded(now Record) Action {
	if now.Goal == Baseline && (now.Phase == RollingBack || now.Phase == RolledBack) {
		return Action{Verb: Stop, Outcome: Returned, Why: "returned to baseline by " + now.Holder + ": " + now.Reason}
	}
	return Action{Verb: Stop, Outcome: TakenOver, Why: "taken over by " + now.Holder}
}

// failed decides about an action that did not work: some errors end the run,
// the rest are repeated with growing pauses, holding where we are.
func failed(s State, o Observation) (State, Action) {
	if errors.Is(o.Err, ErrSuperseded) {
		return s, Action{Verb: Consult}
	}
	if errors.Is(o.Err, ErrDrift) && s.Phase != RollingBack {
		return stop(s, o.Now, Action{Verb: Stop, Outcome: Drifted, Why: o.Err.Error()})
	}
	inPhase := o.Now.Sub(s.Watch.Since)
	if s.Phase == RollingBack && inPhase >= o.RollbackLimit {
		return s, Action{Verb: Stop, Outcome: RollbackIncomplete, Why: o.Err.Error()}
	}
	patience := s.Plan.StepDeadline
	if len(s.Plan.Also) > 0 {
		patience = acceptLimit // some have moved, some have not
	}
	if s.Phase == Raising && s.Watch.StuckSince.IsZero() {
		s.Watch.Stuck, s.Watch.StuckSince = s.Goal, o.Now
	}
	if s.Phase == Raising && o.Now.Sub(s.Watch.StuckSince) >= patience {
		return stop(s, o.Now, Action{Verb: Stop, Outcome: Held, Why: fmt.Sprintf("%s could not be written for %v: %v", s.Goal, patience, o.Err)})
	}
	if o.Interrupted && o.RollBack && s.Watch.Seized && s.Phase != RollingBack && !s.Phase.Finished() {
		return interrupted(s, o) // a call that failed just then does not change what was asked for
	}
	if o.Interrupted && s.Phase != RollingBack {
		return s, Action{Verb: Stop, Outcome: Interrupted, Why: "interrupted while the cluster could not be reached: " + o.Err.Error()}
	}
	s.Watch.Retry = min(max(2*s.Watch.Retry, firstRetry), longestRetry)
	limit := longestRetry
	if s.Phase == RollingBack {
		limit = time.Second
	}
	return s, retry(s, min(s.Watch.Retry, limit))
}

// stop ends a run. Where one of several targets could not make a raise, those
// that could go back first.
func stop(s State, now time.Time, a Action) (State, Action) {
	if s.Phase != Raising || len(s.Plan.Also) == 0 || s.Watch.Moved {
		return s, a
	}
	s.Watch.Ending, s.Watch.Since, s.Watch.Retry = &a, now, 0
	return s, Action{Verb: Withdraw}
}

// ending stops once the withdrawal worked, or was tried for long enough.
func ending(s State, o Observation) (State, Action) {
	a := *s.Watch.Ending
	switch {
	case o.Err == nil, errors.Is(o.Err, ErrSuperseded):
		return s, a
	case o.Now.Sub(s.Watch.Since) >= o.RollbackLimit:
		a.Why += "; and what had moved could not be taken back: " + o.Err.Error()
		return s, a
	}
	s.Watch.Retry = min(max(2*s.Watch.Retry, firstRetry), time.Second)
	return s, Action{Verb: Withdraw, Wait: s.Watch.Retry}
}

// retry repeats what the state calls for.
func retry(s State, wait time.Duration) Action {
	switch {
	case !s.Watch.Saved && s.Phase.Watched():
		return Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	case !s.Watch.Saved:
		return Action{Verb: Save, Wait: wait}
	case s.Phase.Finished():
		return Action{Verb: Release, Wait: wait}
	case !s.Watch.Seized:
		return Action{Verb: Seize, Wait: wait}
	case s.Phase == RollingBack:
		return Action{Verb: Move, Wait: wait} // one target that cannot be read keeps no other up
	case s.Phase.Watched():
		return Action{Verb: Watch, Wait: max(wait, s.Plan.ScrapeInterval)}
	default:
		return Action{Verb: Read, Wait: wait}
	}
}
