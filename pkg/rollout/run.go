package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// actTimeout bounds one action on the cluster, and signalGrace what is left of
// it once a signal came, so that the process ends within seconds even while the
// cluster hangs.
const (
	actTimeout  = 10 * time.Second
	signalGrace = 2 * time.Second
)

// Deps is what the loop works with.
type Deps struct {
	// Targets in the order of Plan.Targets.
	Targets  Group
	Journal  Journal
	Evidence Evidence
	Clock    Clock
	Reporter Reporter
	// RollBackOnInterrupt goes back to the baseline when ctx ends, instead of
	// holding.
	RollBackOnInterrupt bool
	// RollbackLimit is how long a rollback that meets errors is tried before
	// the run ends as RollbackIncomplete; DefaultRollbackLimit if zero.
	RollbackLimit time.Duration
	// ReassertDrift writes our weights over a foreign write, a few times in a
	// step, instead of holding.
	ReassertDrift bool
	// NoWait stops at a step that waits for approval.
	NoWait bool
	// Lock is asked before every write; nil allows all.
	Lock Lock
	// Trace, if not nil, is told what each decision was made of and what came of
	// it: all that Next knew, so that it can be made again (see pkg/record).
	Trace func(o Observation, s State, a Action)
}

// Result is how a run ended.
type Result struct {
	Outcome Outcome
	Why     string
	Record  Record
	// Row is the step that was being watched when the run stopped, if any.
	Row *StepResult
}

// Begin is the state of a run whose record was just made or loaded.
func Begin(record Record, judge Judge) State {
	s := State{Record: record, Watch: WatchState{Judge: judge}}
	if s.Phase.Watched() {
		// Nobody watched meanwhile: the step is settled and baked again.
		s.Phase = Raising
	}
	return s
}

// Carried is the state once an action worked.
func (s State) Carried(verb Verb) State {
	switch verb {
	case Save:
		s.Watch.Saved = true
	case Seize:
		s.Watch.Seized = true
	case Release:
		s.Watch.Released = true
	}
	return s
}

// Run carries out what Next decides until it says stop. When ctx ends the run
// stops at a safe point: actions already begun are finished under a context of
// their own.
func Run(ctx context.Context, s State, d Deps) Result {
	if d.RollbackLimit == 0 {
		d.RollbackLimit = DefaultRollbackLimit
	}
	o := d.observation(ctx)
	for {
		before := s.Phase
		var a Action
		s, a = Next(s, o)
		if d.Trace != nil {
			d.Trace(o, s, a)
		}
		if a.Verb == Stop {
			return finish(s, a)
		}
		if a.Why != "" || s.Phase != before {
			d.Reporter.Transition(s.Record, a.Why)
		}
		if a.Wait > 0 {
			d.Clock.Wait(ctx, a.Wait)
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

func finish(s State, a Action) Result {
	r := Result{Outcome: a.Outcome, Why: a.Why, Record: s.Record}
	if r.Why == "" {
		r.Why = s.Reason
	}
	if s.Phase.Watched() {
		row := s.Watch.Step
		row.Gates = s.Watch.Judge.Results()
		row.Verdict, row.Took = string(a.Outcome), 0
		r.Row = &row
	}
	return r
}

func (d Deps) observation(ctx context.Context) Observation {
	return Observation{
		Now: d.Clock.Now(), Interrupted: ctx.Err() != nil,
		RollBack: d.RollBackOnInterrupt, RollbackLimit: d.RollbackLimit, NoWait: d.NoWait, Reassert: d.ReassertDrift,
	}
}

// Bounded is the context of one action on the cluster. It is finished even when
// parent ends, but soon then.
func Bounded(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), actTimeout)
	stop := context.AfterFunc(parent, func() {
		timer := time.NewTimer(signalGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// act carries out one action and observes.
func (d Deps) act(parent context.Context, s State, a Action) (State, Observation) {
	ctx, cancel := Bounded(parent)
	defer cancel()
	var standing *Standing
	var sample *Sample
	var journal *Record
	var requests []Request
	err := d.permit(s, a.Verb)
	if err != nil {
		o := d.observation(parent)
		o.Err = err
		return s, o
	}
	switch a.Verb {
	case Save:
		err = d.Journal.Save(ctx, s.Record)
	case Seize:
		err = d.Targets.Seize(ctx, s.Stamp())
	case Read:
		if standing, err = d.read(ctx, s); a.Wait > 0 {
			requests = d.requests(ctx, s)
		}
	case Move:
		if err = d.Targets.Move(ctx, s.From, s.Goal); err == nil {
			if s.Phase == Raising {
				d.Evidence.Moved() // going back, nobody looks any more
			}
			standing, err = d.read(ctx, s)
		}
	case Withdraw:
		err = d.Targets.Withdraw(ctx, s.Goal, s.From)
	case Watch:
		look := d.Evidence.Look(ctx)
		sample = &look
		standing, err = d.readBeside(ctx, s)
		requests = d.requests(ctx, s)
	case Release:
		err = d.Targets.Release(ctx)
	case Consult:
		var record Record
		if record, err = d.Journal.Load(ctx); err == nil {
			journal = &record
			standing, _ = d.read(ctx, s) // only to tell a takeover from a replaced target
		}
	default:
		err = fmt.Errorf("unknown action %q", a.Verb)
	}
	if err == nil {
		s = s.Carried(a.Verb)
	}
	o := d.observation(parent)
	o.Standing, o.Sample, o.Journal, o.Requests, o.Err = standing, sample, journal, requests, err
	return s, o
}

// permit asks the lock before a write. A rollback needs only the stamp: a lease
// that cannot be renewed must not starve it, one lost to another does stop it.
func (d Deps) permit(s State, verb Verb) error {
	write := verb == Save || verb == Seize || verb == Move || verb == Withdraw || verb == Release
	if d.Lock == nil || !write {
		return nil
	}
	err := d.Lock.Check()
	if s.Phase == RollingBack && errors.Is(err, ErrUnlocked) {
		return nil
	}
	return err
}

// requests reads what people asked for. That it could not be read is told, and
// costs nothing else.
func (d Deps) requests(ctx context.Context, s State) []Request {
	if s.Phase.Finished() || s.Phase == RollingBack {
		return nil
	}
	list, err := d.Journal.Requests(ctx)
	if err != nil {
		d.Reporter.Trouble(s.Record, err)
		return nil
	}
	return list
}

// readBeside reads the target beside a look. A cluster that cannot be reached
// must not cost the sample: the gates go on, and nothing can advance anyway
// before the journal is written.
func (d Deps) readBeside(ctx context.Context, s State) (*Standing, error) {
	standing, err := d.read(ctx, s)
	if err != nil && !errors.Is(err, ErrDrift) {
		d.Reporter.Trouble(s.Record, err)
		return nil, nil
	}
	return standing, err
}

func (d Deps) read(ctx context.Context, s State) (*Standing, error) {
	standing, err := d.Targets.Read(ctx, s.Goal)
	if err != nil {
		return nil, err
	}
	return &standing, nil
}
