package rollout

import (
	"cmp"
	"fmt"
	"time"
)

// Bounds on waiting. They are not part of a plan: they say how patient the
// engine is with the cluster, not what the user wants of the canary.
const (
	acceptLimit  = time.Minute            // for the gateway to accept a move
	acceptPoll   = 200 * time.Millisecond // between two reads while waiting
	journalEvery = 30 * time.Second       // longest time gate state is only in memory
	firstRetry   = 250 * time.Millisecond
	longestRetry = 30 * time.Second
	wrongReads   = 3 // reads in a row that must agree on drift
	maxReasserts = 3 // foreign writes overwritten in one run, where the user asked for that
)

// Outcome is how a run ended.
type Outcome string

// The outcomes. The command line turns each into an exit code.
const (
	Done               Outcome = "Promoted"
	FailedGate         Outcome = "RolledBack"
	Held               Outcome = "Held"
	Interrupted        Outcome = "Interrupted"
	Drifted            Outcome = "Drift"
	TakenOver          Outcome = "TakenOver"
	RollbackIncomplete Outcome = "RollbackIncomplete"
	Returned           Outcome = "Returned"
	Unapproved         Outcome = "Waiting"
)

// Verb is what the loop must do next.
type Verb string

// The verbs.
const (
	Save    Verb = "save"    // write the record to the journal
	Seize   Verb = "seize"   // stamp the target
	Read    Verb = "read"    // read the target
	Move    Verb = "move"    // write the goal's weights
	Watch   Verb = "watch"   // wait for the next scrape, then look and read
	Release Verb = "release" // remove the stamp
	Consult Verb = "consult" // read the journal to learn who took over
	// Withdraw takes targets that moved back to where they were, since another
	// cannot move.
	Withdraw Verb = "withdraw"
	Stop     Verb = "stop" // the run is over, see Outcome
)

// Action is what Next decided. Why is set when the record changed.
type Action struct {
	Verb    Verb
	Wait    time.Duration // before acting
	Why     string
	Outcome Outcome
}

// State is a record and what the process watching it remembers beside.
type State struct {
	Record
	Watch WatchState
}

// WatchState is the part of the state that dies with the process: every clock
// starts anew on resume.
type WatchState struct {
	Saved, Seized, Released bool
	Surveyed                bool      // stable showed enough for the first step
	Lacking                 string    // what it has yet to show
	Moved                   bool      // the target was seen at the goal
	Since                   time.Time // the phase was entered
	StepSince               time.Time // the step's move was accepted
	Due                     time.Time // the step's deadline counts from here
	LastLook                time.Time // last look with both arms readable, while baking
	Baked                   time.Duration
	Retry                   time.Duration
	WrongReads, Reasserted  int
	Stuck                   Goal      // a raise to this could not be written …
	StuckSince              time.Time // … since then; zero when all could
	Ending                  *Action   // how the run stops once its targets are withdrawn
	BlindSince              time.Time // since when nothing could be seen
	Found                   Finding   // of the last look while baking
	Warned                  int       // the most warnings of this step that were saved
	Step                    StepResult
	Judge                   Judge
}

// Judge weighs samples. Implementations are values: each method returns what
// comes after, and leaves the receiver as it was.
type Judge interface {
	// Survey adds what stable showed before anything moved; the text says what
	// still lacks before the first step can be judged.
	Survey(sample Sample) (Judge, string)
	// Enter begins step (an index into the plan's steps) with fresh tests, or
	// goes on with those of an earlier visit.
	Enter(step int) Judge
	// Weigh adds a sample. Only a gated one counts for the gates; the canary's
	// health is judged by every sample.
	Weigh(now time.Time, sample Sample, gated bool) (Judge, Finding)
	// Results is what each gate saw in the present step.
	Results() []GateResult
	// State is what the journal keeps.
	State() []byte
}

// Finding is what a Judge made of a sample.
type Finding struct {
	// Harm is why the canary must go; "" while there is no such reason.
	Harm string
	// Blind is why nothing can be said; "" when something can.
	Blind string
	// Pass says that no gate crossed and each has its floor of samples.
	Pass bool
	// Missing says what a pass still lacks.
	Missing string
}

// Observation is what the loop saw after carrying out an action.
type Observation struct {
	Now         time.Time
	Standing    *Standing
	Sample      *Sample
	Journal     *Record // after Consult
	Requests    []Request
	NoWait      bool // stop rather than wait for an approval
	Reassert    bool // write over a foreign write rather than hold
	Interrupted bool
	// RollBack says that an interrupt should go back rather than hold.
	RollBack bool
	// RollbackLimit bounds how long failures may delay a rollback.
	RollbackLimit time.Duration
	Err           error
}

// Next decides. It is a pure function: everything it knows is in its
// arguments, everything it wants is in the action.
func Next(s State, o Observation) (State, Action) {
	if s.Watch.Since.IsZero() {
		s.Watch.Since = o.Now
	}
	if o.Journal != nil {
		return consulted(s, o)
	}
	if s.Watch.Ending != nil {
		return ending(s, o)
	}
	if o.Err != nil {
		return failed(s, o)
	}
	if o.Standing == nil || o.Standing.AtGoal {
		s.Watch.Retry = 0 // a read that works is no sign that a write will
	}
	if o.Standing != nil && o.Standing.AtGoal {
		s.Watch.WrongReads = 0
	}
	if o.Standing != nil && (o.Standing.Fenced || o.Standing.Unstamped) && s.Watch.Seized && !s.Phase.Finished() {
		return s, Action{Verb: Consult}
	}
	if !s.Watch.Saved {
		return unsaved(s, o)
	}
	if o.Interrupted && !s.Phase.Finished() && s.Phase != RollingBack {
		return interrupted(s, o)
	}
	if !s.Watch.Seized && !s.Phase.Finished() {
		return s, Action{Verb: Seize}
	}
	if !s.Phase.Finished() && s.Phase != RollingBack {
		if q, ok := s.Mark().Pending(o.Requests); ok {
			if next, a, ok := obey(s, o.Now, q); ok {
				return next, a
			}
		}
	}
	switch s.Phase {
	case Ready:
		return ready(s, o)
	case Raising:
		return raising(s, o)
	case Settling:
		return settling(s, o)
	case Baking, Waiting:
		return baking(s, o)
	case RollingBack:
		return rollingBack(s, o)
	default:
		return finishing(s)
	}
}

// enter changes the phase; the record must be saved before anything is done
// about it.
func (s State) enter(phase Phase, now time.Time, why string) (State, Action) {
	s.Phase = phase
	s.Write++
	s.Record = s.decide(now, why)
	s.Watch.Saved, s.Watch.Moved, s.Watch.Since, s.Watch.WrongReads = false, false, now, 0
	return s, Action{Verb: Save, Why: why}
}

// ready has a stamped target and has moved nothing. The baseline it recorded
// must still be what is there.
func ready(s State, o Observation) (State, Action) {
	if o.Sample != nil {
		s.Watch.Judge, s.Watch.Lacking = s.Watch.Judge.Survey(*o.Sample)
		s.Watch.Surveyed = s.Watch.Lacking == ""
	}
	switch {
	case o.Standing != nil && !o.Standing.AtGoal:
		return s, Action{Verb: Stop, Outcome: Drifted, Why: "the weights changed between preflight and the first write"}
	case !s.Watch.Surveyed && o.Now.Sub(s.Watch.Since) >= s.Plan.StepDeadline:
		return s, Action{Verb: Stop, Outcome: Held, Why: "stable could not be measured before the step's deadline: " + s.Watch.Lacking}
	case !s.Watch.Surveyed && o.Sample == nil:
		return s, Action{Verb: Watch}
	case !s.Watch.Surveyed:
		return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	case o.Standing == nil:
		return s, Action{Verb: Read}
	}
	s.Gates = s.Watch.Judge.State()
	s.Step = 0
	if s.Plan.AddBackend {
		s.Step = -1
	}
	return raise(s, o.Now, "preflight passed")
}

// raise records the goal of s.Step, and with it the ceiling.
func raise(s State, now time.Time, why string) (State, Action) {
	share := 0
	if s.Step >= 0 {
		share = s.Plan.Steps[s.Step]
	}
	s.From, s.Goal, s.Ceiling = s.Goal, Goal(share), max(s.Ceiling, share)
	return s.enter(Raising, now, why)
}

func raising(s State, o Observation) (State, Action) {
	switch {
	case o.Standing == nil:
		return s, Action{Verb: Read}
	case !o.Standing.AtGoal && s.Watch.Moved:
		return drifting(s, o)
	case !o.Standing.AtGoal && s.Step > 0 && o.Now.Sub(s.Watch.Since) > longestGap(s.Plan):
		// What the gates said is old: the step before is watched again.
		s.Step--
		return raise(s, o.Now, "the cluster could not be written for too long to trust the last look")
	case !o.Standing.AtGoal:
		return s, Action{Verb: Move}
	}
	s.Watch.Moved = true
	if s.Goal >= s.Watch.Stuck {
		s.Watch.StuckSince = time.Time{}
	}
	if !o.Standing.Accepted {
		if o.Now.Sub(s.Watch.Since) > acceptLimit {
			return goBack(s, o.Now, ByGate, fmt.Sprintf("the gateway did not accept %s within %v: %s", s.Goal, acceptLimit, o.Standing.Waiting))
		}
		return s, Action{Verb: Read, Wait: acceptPoll}
	}
	if s.Step < 0 {
		s.Step = 0
		return raise(s, o.Now, "canary listed at weight 0 and resolved")
	}
	s.Watch.Step, s.Watch.Warned = StepResult{Asked: int(s.Goal)}, 0
	s.Watch.StepSince, s.Watch.Due, s.Watch.LastLook, s.Watch.Baked = o.Now, o.Now, time.Time{}, 0
	s.Watch.Judge = s.Watch.Judge.Enter(s.Step)
	return s.enter(Settling, o.Now, fmt.Sprintf("%s written and accepted", s.Goal))
}

// settling discards what was begun before or during the move, but a dead
// canary is seen here too.
func settling(s State, o Observation) (State, Action) {
	if o.Standing != nil && !o.Standing.AtGoal {
		return drifting(s, o)
	}
	if o.Sample == nil {
		return s, Action{Verb: Watch}
	}
	var f Finding
	s.Watch.Judge, f = s.Watch.Judge.Weigh(o.Now, *o.Sample, false)
	if s, f.Harm = s.harmed(o.Now, f); f.Harm != "" {
		return goBack(s, o.Now, ByGate, f.Harm)
	}
	if o.Now.Sub(s.Watch.Since) < s.Plan.Settle {
		return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	}
	return s.enter(Baking, o.Now, fmt.Sprintf("%v settled", s.Plan.Settle))
}

func baking(s State, o Observation) (State, Action) {
	if s.Phase == Waiting && s.waits() && o.NoWait {
		return s, Action{Verb: Stop, Outcome: Unapproved, Why: fmt.Sprintf("%s passed and waits for approval", s.Goal)}
	}
	if o.Standing != nil && !o.Standing.AtGoal {
		return drifting(s, o)
	}
	if o.Sample == nil {
		return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	}
	var f Finding
	s.Watch.Judge, f = s.Watch.Judge.Weigh(o.Now, *o.Sample, true)
	s = count(s, o, f)
	if s, f.Harm = s.harmed(o.Now, f); f.Harm != "" {
		return goBack(s, o.Now, ByGate, f.Harm)
	}
	if f.Pass {
		f.Missing = cmp.Or(s.short(*o.Sample), s.misdirected())
	}
	s.Watch.Found = f
	if f.Pass && f.Missing == "" && s.Watch.Baked >= s.Plan.Bake && !s.Paused {
		if !s.waits() {
			return passed(s, o.Now)
		}
		if s.Phase == Baking {
			s.Gates = s.Watch.Judge.State()
			return s.enter(Waiting, o.Now, fmt.Sprintf("%s passed after %d canary requests and waits for approval", s.Goal, s.Watch.Step.Requests))
		}
	}
	if s.Phase == Baking && !s.Paused && o.Now.Sub(s.Watch.Due) >= s.Plan.StepDeadline {
		return due(s, o, f)
	}
	if news := len(s.Warnings) > s.Watch.Warned; news || o.Now.Sub(s.Updated) >= journalEvery {
		s.Watch.Warned = max(s.Watch.Warned, len(s.Warnings)) // a new one is worth a write, once a step
		s.Gates = s.Watch.Judge.State()
		s.Write++
		s.Updated, s.Watch.Saved = o.Now, false
		return s, Action{Verb: Save}
	}
	return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
}

func held(s State, f Finding) string {
	switch {
	case f.Blind != "":
		return "blind at the step's deadline: " + f.Blind
	case f.Missing != "":
		return "inconclusive at the step's deadline: " + f.Missing
	default:
		return fmt.Sprintf("only %v of %v could be watched before the step's deadline", s.Watch.Baked.Round(time.Second), s.Plan.Bake)
	}
}

// longestGap is how far apart two looks may lie for the time between them to
// count as watched. A process that was stopped, or a machine that slept, has
// not watched.
func longestGap(p Plan) time.Duration { return 3*p.ScrapeInterval + actTimeout }

// count adds a sample to the step's row. Bake time is only what lies between
// two looks that both could see.
func count(s State, o Observation, f Finding) State {
	if f.Blind != "" || o.Sample.Canary.Blind != "" || o.Sample.Stable.Blind != "" {
		s.Watch.LastLook = time.Time{}
		return s
	}
	gap := o.Now.Sub(s.Watch.LastLook)
	if !s.Watch.LastLook.IsZero() && gap <= longestGap(s.Plan) {
		s.Watch.Baked += gap
	}
	s.Watch.LastLook = o.Now
	row := &s.Watch.Step
	row.CanaryStarted += o.Sample.Canary.Started
	row.StableStarted += o.Sample.Stable.Started
	row.Requests += o.Sample.Canary.Finished
	row.CanaryOverflows += o.Sample.Canary.Overflows
	row.StableOverflows += o.Sample.Stable.Overflows
	row.Warnings, s.Warnings = o.Sample.Warnings, o.Sample.Warnings
	if all := row.CanaryStarted + row.StableStarted; all > 0 {
		row.Seen = 100 * float64(row.CanaryStarted) / float64(all)
	}
	return s
}

// passed closes a step that no gate objected to: the next one, or the end.
func passed(s State, now time.Time) (State, Action) {
	s = closeStep(s, now, "Pass")
	why := fmt.Sprintf("%s passed after %d canary requests", s.Goal, s.Steps[len(s.Steps)-1].Requests)
	if s.Step == len(s.Plan.Steps)-1 {
		s.Decided = now
		return s.enter(Promoted, now, why)
	}
	s.Step++
	return raise(s, now, why)
}

func closeStep(s State, now time.Time, verdict string) State {
	row := s.Watch.Step
	row.Gates = s.Watch.Judge.Results()
	row.Verdict, row.Took = verdict, now.Sub(s.Watch.StepSince)
	s.Steps, s.Warnings = append(append([]StepResult(nil), s.Steps...), row), nil
	s.Gates = s.Watch.Judge.State()
	return s
}

// goBack records the decision; the weights fall after it is saved.
func goBack(s State, now time.Time, cause Cause, why string) (State, Action) {
	if s.Watch.Judge != nil && s.Phase.Watched() {
		verdict := "Fail"
		if cause != ByGate {
			verdict = "Inconclusive"
		}
		s = closeStep(s, now, verdict)
	}
	s.Cause, s.Reason, s.Goal, s.Decided = cause, why, Baseline, now
	return s.enter(RollingBack, now, why)
}

func rollingBack(s State, o Observation) (State, Action) {
	switch {
	case o.Standing == nil:
		return s, Action{Verb: Read}
	case !o.Standing.AtGoal:
		return s, Action{Verb: Move}
	}
	s.Restored = o.Now
	return s.enter(RolledBack, o.Now, "the baseline was read back")
}

// finishing has only the stamp to take away.
func finishing(s State) (State, Action) {
	if !s.Watch.Released {
		return s, Action{Verb: Release}
	}
	return s, Action{Verb: Stop, Outcome: s.Outcome()}
}

// Outcome is how a finished run ended.
func (r Record) Outcome() Outcome {
	switch {
	case r.Phase == Promoted:
		return Done
	case r.Cause == ByGate:
		return FailedGate
	default:
		return Returned
	}
}
