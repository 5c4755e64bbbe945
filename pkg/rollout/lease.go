package rollout

import (
	"errors"
	"time"
)

// ErrUnlocked says that the lease was not renewed lately enough to write. It
// is waited out: the holder goes on as soon as a renewal succeeds.
var ErrUnlocked = errors.New("the lease was not renewed lately")

// Lock says whether this process may write now: nil, ErrUnlocked, or
// ErrSuperseded once another process holds the lease.
type Lock interface{ Check() error }

// LeaseView is a lease as one read found it. Version changes with each write
// of the object (metadata.resourceVersion).
type LeaseView struct {
	Holder  string
	Version string
	Period  time.Duration
}

// LeaseVerdict is what is known of a lease.
type LeaseVerdict string

// The verdicts. Only Free may be taken.
const (
	LeaseFree    LeaseVerdict = "free"    // nobody's, ours, or not renewed for a period
	LeaseHeld    LeaseVerdict = "held"    // a renewal was seen
	LeaseUnknown LeaseVerdict = "unknown" // no renewal seen yet, and the period is not over
)

// LeaseJudge tells a living holder from a dead one by watching the object
// change, never by comparing two machines' clocks (design §8; the lease's own
// renewTime is for people). The zero value has seen nothing.
type LeaseJudge struct {
	first LeaseView
	since time.Time
}

// See weighs one read of the lease, made at now by the local monotonic clock.
func (j LeaseJudge) See(now time.Time, me string, view LeaseView) (LeaseJudge, LeaseVerdict) {
	switch {
	case view.Holder == "" || view.Holder == me:
		return LeaseJudge{}, LeaseFree
	case j.since.IsZero():
		return LeaseJudge{first: view, since: now}, LeaseUnknown
	case view.Version != j.first.Version:
		return LeaseJudge{first: view, since: now}, LeaseHeld
	case now.Sub(j.since) >= view.Period:
		return j, LeaseFree
	default:
		return j, LeaseUnknown
	}
}

// A lease of 15 s is renewed every 3 s, and a write needs a renewal within 5 s:
// of any period a fifth and a third.
const (
	renewsPerPeriod = 5
	freshPerPeriod  = 3
)

// RenewEvery is the time between two renewals of a lease of period.
func RenewEvery(period time.Duration) time.Duration { return period / renewsPerPeriod }

// Fresh says whether a lease of period, last renewed at renewed (the time the
// renewal was sent), still allows a write at now. Both clocks of the machine
// must agree: the monotonic one stops while a machine sleeps, and the wall
// clock may be set.
func Fresh(now, renewed time.Time, period time.Duration) bool {
	age := max(now.Sub(renewed), now.Round(0).Sub(renewed.Round(0)))
	return !renewed.IsZero() && age <= period/freshPerPeriod
}
