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

// drifting holds: a foreign write is never overwritten. One read may be older
// than our own write on a lagging server, so several must agree.
func drifting(s State, at Standing) (State, Action) {
	s.Watch.WrongReads++
	if s.Watch.WrongReads < wrongReads {
		return s, Action{Verb: Read, Wait: acceptPoll}
	}
	what := fmt.Sprintf("the canary share was changed to %.4g%%", at.Share)
	return s, Action{
		Verb: Stop, Outcome: Drifted,
		Why: fmt.Sprintf("%s by %s; it should be %s", cmp.Or(at.Problem, what), cmp.Or(at.By, "somebody else"), s.Goal),
	}
}

// superseded explains a stop by what the new owner wrote.
func superseded(ours, now Record) Action {
	if now.Run == ours.Run && now.Epoch == ours.Epoch {
		return Action{Verb: Stop, Outcome: TakenOver, Why: "another process holds the lease"}
	}
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
	if s.Phase == Raising && inPhase >= patience {
		return stop(s, o.Now, Action{Verb: Stop, Outcome: Held, Why: fmt.Sprintf("%s could not be written for %v: %v", s.Goal, patience, o.Err)})
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
