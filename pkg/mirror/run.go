package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// DefaultRemoveLimit is how long taking the filter away is tried.
const DefaultRemoveLimit = time.Minute

// Journal keeps the record; see rollout.Journal.
type Journal interface {
	Load(ctx context.Context) (Record, error)
	Save(ctx context.Context, record Record) error
	Requests(ctx context.Context) ([]rollout.Request, error)
}

// Shadow makes and deletes the Service of a shadow that has none. Both may be
// repeated.
type Shadow interface {
	Make(ctx context.Context) error
	Remove(ctx context.Context) error
}

// Reporter tells people what happens.
type Reporter interface {
	// Transition is called when the record changed and before it is acted on.
	Transition(record Record, why string)
	// Looked is called after every look at both sides.
	Looked(state State, sample rollout.Sample)
	// Trouble is called when an action did not work and will be repeated.
	Trouble(record Record, err error)
}

// Deps is what the loop works with.
type Deps struct {
	// Target is the route, whose goals are percentages; ErrDrift also says that
	// it is not there any more.
	Target   rollout.Target
	Shadow   Shadow
	Journal  Journal
	Evidence rollout.Evidence // nil when there is nothing left to look at
	Clock    rollout.Clock
	Reporter Reporter
	// Lock is asked before every write; nil allows all.
	Lock rollout.Lock
	// RemoveLimit is how long an end that meets errors is tried;
	// DefaultRemoveLimit if zero.
	RemoveLimit time.Duration
}

// End is how a mirror ended.
type End struct {
	Outcome Outcome
	Why     string
	Record  Record
}

// Run carries out what Next decides until it says stop. When ctx ends the
// filter is taken away first.
func Run(ctx context.Context, s State, d Deps) End {
	if d.RemoveLimit == 0 {
		d.RemoveLimit = DefaultRemoveLimit
	}
	o := d.observation(ctx)
	for {
		var a Action
		s, a = Next(s, o)
		if a.Verb == Stop {
			if a.Why == "" {
				a.Why = s.Reason
			}
			return End{Outcome: a.Outcome, Why: a.Why, Record: s.Record}
		}
		if a.Why != "" {
			d.Reporter.Transition(s.Record, a.Why)
		}
		if a.Wait > 0 {
			d.wait(ctx, s, a.Wait)
		}
		s, o = d.act(ctx, s, a)
		if o.Err != nil {
			d.Reporter.Trouble(s.Record, o.Err)
		}
		if o.Sample != nil {
			d.Reporter.Looked(s, *o.Sample)
		}
	}
}

// wait is cut short by a signal only while there is still something to
// interrupt: what is being taken away is retried in time, not at once.
func (d Deps) wait(ctx context.Context, s State, length time.Duration) {
	if s.Phase == Removing || s.Phase == Done {
		ctx = context.WithoutCancel(ctx)
	}
	d.Clock.Wait(ctx, length)
}

func (d Deps) observation(ctx context.Context) Observation {
	return Observation{Now: d.Clock.Now(), Interrupted: ctx.Err() != nil, RemoveLimit: d.RemoveLimit}
}

// act carries out one action and observes.
func (d Deps) act(parent context.Context, s State, a Action) (State, Observation) {
	if s.Phase == Removing || s.Phase == Done {
		parent = context.WithoutCancel(parent) // a signal is no reason to leave something behind
	}
	ctx, cancel := rollout.Bounded(parent)
	defer cancel()
	var seen Observation
	err := d.permit(s, a.Verb)
	if err == nil {
		seen, err = d.do(ctx, s, a)
	}
	if err == nil {
		s = s.carried(a.Verb)
	}
	o := d.observation(parent)
	o.Standing, o.Sample, o.Journal, o.Requests, o.Err = seen.Standing, seen.Sample, seen.Journal, seen.Requests, err
	return s, o
}

func (d Deps) do(ctx context.Context, s State, a Action) (o Observation, err error) {
	switch a.Verb {
	case Save:
		err = d.Journal.Save(ctx, s.Record)
	case Seize:
		err = d.Target.Seize(ctx, s.Stamp())
	case Make:
		err = d.Shadow.Make(ctx)
	case Read:
		o.Standing, err = d.read(ctx, s)
	case Move:
		if err = d.Target.Move(ctx, rollout.Baseline, s.Goal()); err == nil {
			if s.Phase == Mirroring {
				d.Evidence.Moved()
			}
			o.Standing, err = d.read(ctx, s)
		}
	case Watch:
		look := d.Evidence.Look(ctx)
		o.Sample = &look
		if o.Standing, err = d.read(ctx, s); err != nil && !errors.Is(err, rollout.ErrDrift) {
			d.Reporter.Trouble(s.Record, err) // costs no look: the budget is watched on
			o.Standing, err = nil, nil
		}
		o.Requests = d.requests(ctx, s)
	case Unmake:
		err = d.Shadow.Remove(ctx)
	case Release:
		err = d.Target.Release(ctx)
	case Consult:
		var record Record
		if record, err = d.Journal.Load(ctx); err == nil {
			o.Journal = &record
			o.Standing, _ = d.read(ctx, s) // only to tell a takeover from a replaced route
		}
	default:
		err = fmt.Errorf("unknown action %q", a.Verb)
	}
	return o, err
}

// carried is the state once an action worked.
func (s State) carried(verb Verb) State {
	switch verb {
	case Save:
		s.Watch.Saved = true
	case Seize:
		s.Watch.Seized = true
	case Make:
		s.Watch.Made = true
	case Unmake:
		s.Watch.Unmade = true
	case Release:
		s.Watch.Released = true
	}
	return s
}

// permit asks the lock before a write. Taking away needs only the stamp: a
// lease that cannot be renewed must not starve it, one lost to another does
// stop it.
func (d Deps) permit(s State, verb Verb) error {
	if d.Lock == nil || verb == Read || verb == Watch || verb == Consult {
		return nil
	}
	err := d.Lock.Check()
	if (s.Phase == Removing || s.Phase == Done) && errors.Is(err, rollout.ErrUnlocked) {
		return nil
	}
	return err
}

// requests reads what people asked for. That it could not be read is told, and
// costs nothing else.
func (d Deps) requests(ctx context.Context, s State) []rollout.Request {
	list, err := d.Journal.Requests(ctx)
	if err != nil {
		d.Reporter.Trouble(s.Record, err)
	}
	return list
}

func (d Deps) read(ctx context.Context, s State) (*rollout.Standing, error) {
	standing, err := d.Target.Read(ctx, s.Goal())
	if err != nil {
		return nil, err
	}
	return &standing, nil
}
