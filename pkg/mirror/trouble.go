package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// What Next decides when something did not go as planned: foreign writes,
// another process, and errors.

// drifting ends a mirror whose filter somebody else changed. One read may be
// older than our own write on a lagging server, so several must agree.
func drifting(s State, o Observation) (State, Action) {
	s.Watch.WrongReads++
	if s.Watch.WrongReads < wrongReads {
		return s, Action{Verb: Read, Wait: acceptPoll}
	}
	at := *o.Standing
	return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("the mirror was changed to %.4g%% by %s; it should be %s", at.Share, cmp.Or(at.By, "somebody else"), s.Goal()))
}

// consulted has read journal and route, since we may not be the owner any more.
// If the journal is ours and only the stamp is gone, somebody replaced the
// route: it is stamped anew, so that what it may still have of ours goes.
func consulted(s State, o Observation) (State, Action) {
	now, at := *o.Journal, o.Standing
	switch {
	case (now.Run != s.Run || now.Epoch != s.Epoch) && now.Run == s.Run && now.Phase != Mirroring:
		return s, Action{Verb: Stop, Outcome: TakenOver, Why: "ended by " + now.Holder + ": " + now.Reason}
	case now.Run != s.Run || now.Epoch != s.Epoch:
		return s, Action{Verb: Stop, Outcome: TakenOver, Why: "taken over by " + now.Holder}
	case at == nil || at.Fenced || !at.Unstamped:
		return s, Action{Verb: Stop, Outcome: TakenOver, Why: "another process holds the lease"}
	}
	s.Watch.Seized = false
	if s.Phase == Ready || s.Phase == Mirroring {
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("the route was replaced by %s: our stamp is gone", cmp.Or(at.By, "somebody else")))
	}
	return s, Action{Verb: Seize}
}

// failed decides about an action that did not work. Before and while copies run
// it ends the mirror if it lasts; taking away is repeated until RemoveLimit.
func failed(s State, o Observation) (State, Action) {
	open := s.Phase == Ready || s.Phase == Mirroring
	inPhase := o.Now.Sub(s.Watch.Since)
	switch {
	case errors.Is(o.Err, rollout.ErrSuperseded):
		return s, Action{Verb: Consult}
	case errors.Is(o.Err, rollout.ErrDrift) && open:
		return end(s, o.Now, gate.Inconclusive, o.Err.Error())
	case errors.Is(o.Err, rollout.ErrDrift):
		s.Watch.Gone, s.Watch.Seized = true, true // another route by now, or none: nothing of ours is on it
		o.Err, o.Standing = nil, nil
		return Next(s, o)
	case o.Interrupted && open:
		return end(s, o.Now, gate.Inconclusive, "interrupted while the cluster could not be reached: "+o.Err.Error())
	case s.Phase == Done && inPhase >= o.RemoveLimit:
		return s, Action{Verb: Stop, Outcome: Judged, Why: s.Reason} // the stamp of a mirror that is over stops nobody
	case !open && inPhase >= o.RemoveLimit:
		return s, Action{Verb: Stop, Outcome: Incomplete, Why: o.Err.Error()}
	case !s.Watch.Accepted.IsZero() && open && !s.Watch.Saved:
		// The counts are saved again later; what the shadow spends is watched on.
		s.Watch.Saved = true
		return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	case s.Watch.Accepted.IsZero() && open && inPhase >= acceptLimit:
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("the cluster could not be written for %v: %v", acceptLimit, o.Err))
	}
	s.Watch.Retry = min(max(2*s.Watch.Retry, firstRetry), longestRetry)
	return s, retry(s, s.Watch.Retry)
}

// retry repeats what the state calls for.
func retry(s State, wait time.Duration) Action {
	switch {
	case !s.Watch.Saved:
		return Action{Verb: Save, Wait: wait}
	case s.Phase == Done:
		return Action{Verb: Release, Wait: wait}
	case !s.Watch.Seized:
		return Action{Verb: Seize, Wait: wait}
	case s.Phase == Removing && s.Watch.Back:
		return Action{Verb: Unmake, Wait: wait}
	case s.Phase == Removing:
		return Action{Verb: Move, Wait: wait}
	case s.Phase == Mirroring && s.Record.Made != "" && !s.Watch.Made:
		return Action{Verb: Make, Wait: wait}
	case s.Phase == Ready || !s.Watch.Accepted.IsZero():
		return Action{Verb: Watch, Wait: max(wait, s.Plan.ScrapeInterval)}
	default:
		return Action{Verb: Read, Wait: wait}
	}
}
