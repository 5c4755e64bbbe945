package mirror

import (
	"cmp"
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Bounds on waiting, and on what may not be seen.
const (
	acceptLimit  = time.Minute            // for the gateway to take the filter, or the API server a write
	acceptPoll   = 200 * time.Millisecond // between two reads while waiting
	arriveLimit  = 30 * time.Second       // for the first copy, after Settle
	arriveCopies = 10                     // that should have come by then
	blindLimit   = 30 * time.Second       // without the counters of what the shadow spends
	journalEvery = 30 * time.Second       // between two writes of the counts
	firstRetry   = 250 * time.Millisecond
	longestRetry = time.Second // taking away must not wait long
	wrongReads   = 3           // reads in a row that must agree on drift
)

// Outcome is how the loop ended.
type Outcome string

// The outcomes. Only a judged mirror has a verdict of its own.
const (
	Judged     Outcome = "Judged"
	TakenOver  Outcome = "TakenOver"  // another process has it, or ended it
	Incomplete Outcome = "Incomplete" // something of ours could not be taken away
)

// Verb is what the loop must do next.
type Verb string

// The verbs.
const (
	Save    Verb = "save"    // write the record to the journal
	Seize   Verb = "seize"   // stamp the route
	Make    Verb = "make"    // make the shadow's Service
	Read    Verb = "read"    // read the route
	Move    Verb = "move"    // put the filter on, or take it off
	Watch   Verb = "watch"   // wait for the next scrape, then look and read
	Unmake  Verb = "unmake"  // delete the shadow's Service
	Release Verb = "release" // remove the stamp
	Consult Verb = "consult" // read the journal to learn who took over
	Stop    Verb = "stop"    // the run is over, see Outcome
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

// WatchState dies with the process.
type WatchState struct {
	Saved, Seized, Made, Unmade, Released bool
	Moved                                 bool      // the filter was seen
	Accepted                              time.Time // and the gateway took it
	Gone                                  bool      // the route is not there any more, or is another
	Back                                  bool      // the route was seen without the filter
	Since                                 time.Time // the phase was entered
	LastSave, LastLook                    time.Time
	Retry                                 time.Duration
	WrongReads                            int
	Lacking                               string // what the primary has yet to show
	BlindSince                            time.Time
	Meter                                 meter
	Found                                 rollout.Finding
	Judge                                 rollout.Judge
}

// Observation is what the loop saw after carrying out an action.
type Observation struct {
	Now         time.Time
	Standing    *rollout.Standing
	Sample      *rollout.Sample
	Journal     *Record // after Consult
	Requests    []rollout.Request
	Interrupted bool
	// RemoveLimit bounds how long errors may delay the end.
	RemoveLimit time.Duration
	Err         error
}

// Begin is the state of a mirror whose record was just made, or taken over.
func Begin(record Record, judge rollout.Judge) State {
	return State{Record: record, Watch: WatchState{Judge: judge}}
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
	if o.Err != nil {
		return failed(s, o)
	}
	if o.Standing == nil || o.Standing.AtGoal {
		s.Watch.Retry = 0 // a read that works is no sign that a write will
	}
	if at := o.Standing; at != nil && (at.Fenced || at.Unstamped) && s.Watch.Seized && s.Phase != Done {
		return s, Action{Verb: Consult}
	}
	open := s.Phase == Ready || s.Phase == Mirroring
	switch {
	case !s.Watch.Saved:
		return s, Action{Verb: Save}
	case o.Interrupted && open:
		return end(s, o.Now, gate.Inconclusive, "interrupted")
	case !s.Watch.Seized && s.Phase != Done:
		return s, Action{Verb: Seize}
	}
	if q, asked := s.Mark().Pending(o.Requests); asked && open {
		s.Obeyed = q.Seq
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("stop requested by %s", q.User))
	}
	switch s.Phase {
	case Ready:
		return ready(s, o)
	case Mirroring:
		return mirroring(s, o)
	case Removing:
		return removing(s, o)
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
	s.Watch.Saved, s.Watch.Since, s.Watch.WrongReads, s.Watch.Retry = false, now, 0, 0
	return s, Action{Verb: Save, Why: why}
}

// end records the verdict; the filter goes after it is saved.
func end(s State, now time.Time, verdict gate.Verdict, why string) (State, Action) {
	if s.Watch.Judge != nil && !s.Watch.Accepted.IsZero() {
		s.Result.Gates = s.Watch.Judge.Results()
	}
	s.Verdict, s.Reason = verdict, why
	return s.enter(Removing, now, why)
}

// ready watches the primary, which is all that is looked at yet.
func ready(s State, o Observation) (State, Action) {
	if o.Sample != nil {
		s.Watch.Judge, s.Watch.Lacking = s.Watch.Judge.Survey(*o.Sample)
		s.Watch.Meter = s.Watch.Meter.add(o.Now, o.Sample.Stable)
	}
	switch {
	case o.Standing != nil && !o.Standing.AtGoal:
		return end(s, o.Now, gate.Inconclusive, "the route was changed between preflight and the first write")
	case o.Sample == nil && s.Watch.Lacking == "" && s.Watch.LastLook.IsZero():
		s.Watch.LastLook = o.Now
		return s, Action{Verb: Watch}
	case s.Watch.Lacking != "" && o.Now.Sub(s.Watch.Since) >= s.Plan.Calibrate+s.Plan.Duration:
		return end(s, o.Now, gate.Inconclusive, "the primary could not be measured: "+s.Watch.Lacking)
	case s.Watch.Lacking != "":
		return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	case o.Standing == nil:
		return s, Action{Verb: Read}
	}
	rate, limit := s.Watch.Meter.mean(), float64(s.Plan.MaxTokensPerSecond)
	if copies := rate * float64(s.Plan.Percent) / 100; copies > limit {
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("%d%% of the primary's %.0f tokens a second are more than %d: nothing was copied; %s",
			s.Plan.Percent, rate, s.Plan.MaxTokensPerSecond, fits(rate, limit)))
	}
	s.Watch.Meter = meter{}
	return s.enter(Mirroring, o.Now, "the primary is measured")
}

// fits says which percentage of rate the budget allows.
func fits(rate, limit float64) string {
	if p := int(100 * limit / rate); p > 0 {
		return fmt.Sprintf("--percent %d would fit", p)
	}
	return "no percentage would fit"
}

func mirroring(s State, o Observation) (State, Action) {
	if s.Record.Made != "" && !s.Watch.Made {
		return s, Action{Verb: Make}
	}
	if !s.Watch.Accepted.IsZero() {
		return comparing(s, o)
	}
	switch {
	case o.Standing == nil:
		return s, Action{Verb: Read}
	case !o.Standing.AtGoal && s.Watch.Moved:
		return drifting(s, o)
	case !o.Standing.AtGoal:
		return s, Action{Verb: Move}
	case !o.Standing.Accepted && o.Now.Sub(s.Watch.Since) > acceptLimit:
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("the gateway did not accept the filter within %v: %s", acceptLimit, o.Standing.Waiting))
	}
	s.Watch.Moved = true
	if !o.Standing.Accepted {
		return s, Action{Verb: Read, Wait: acceptPoll}
	}
	s.Watch.Judge = s.Watch.Judge.Enter(0)
	s.Watch.Accepted, s.Mirrored, s.Watch.LastSave, s.Watch.LastLook = o.Now, o.Now, o.Now, o.Now
	s.Write++
	s.Record = s.decide(o.Now, fmt.Sprintf("%d%% of the requests are copied", s.Plan.Percent))
	s.Watch.Saved = false
	return s, Action{Verb: Save, Why: fmt.Sprintf("%d%% of the requests are copied", s.Plan.Percent)}
}

// comparing weighs both sides while copies run.
func comparing(s State, o Observation) (State, Action) {
	if o.Sample == nil {
		return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
	}
	if o.Standing != nil && !o.Standing.AtGoal {
		return drifting(s, o)
	}
	s.Watch.WrongReads = 0
	settled := o.Now.Sub(s.Watch.Accepted) - s.Plan.Settle
	var f rollout.Finding
	s.Watch.Judge, f = s.Watch.Judge.Weigh(o.Now, *o.Sample, settled >= 0)
	s.Watch.Found = f
	s = count(s, o, settled >= 0)
	switch {
	case f.Harm != "":
		return end(s, o.Now, gate.Fail, f.Harm)
	case s.Watch.Meter.rate(o.Now) > float64(s.Plan.MaxTokensPerSecond):
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("the shadow spent %.0f tokens a second over the last %v, more than %d; a smaller --percent costs less",
			s.Watch.Meter.rate(o.Now), meterSpan, s.Plan.MaxTokensPerSecond))
	case !s.Watch.BlindSince.IsZero() && o.Now.Sub(s.Watch.BlindSince) >= blindLimit:
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("what the shadow spends could not be read for %v: %s", blindLimit, o.Sample.Canary.Blind))
	case settled >= arriveLimit && s.Result.Shadow.Started+s.Result.Shadow.Finished == 0 && s.expected() >= arriveCopies:
		return end(s, o.Now, gate.Inconclusive, fmt.Sprintf("no copy arrived, though %d requests reached the primary: this gateway does not copy them, or another route serves them", s.Result.Primary.Started))
	case settled >= s.Plan.Duration && f.Pass:
		return end(s, o.Now, gate.Pass, fmt.Sprintf("no gate shows harm after %d copies", s.Result.Shadow.Finished))
	case settled >= s.Plan.Duration:
		return end(s, o.Now, gate.Inconclusive, "undecided at the end: "+cmp.Or(f.Blind, f.Missing))
	case o.Now.Sub(s.Watch.LastSave) >= journalEvery:
		s.Write++
		s.Result.Gates = s.Watch.Judge.Results()
		s.Updated, s.Watch.LastSave, s.Watch.Saved = o.Now, o.Now, false
		return s, Action{Verb: Save}
	}
	return s, Action{Verb: Watch, Wait: s.Plan.ScrapeInterval}
}

// expected is how many copies the primary's requests should have made.
func (s State) expected() int {
	return int(s.Result.Primary.Started) * s.Plan.Percent / 100
}

// count adds a look to the result. Tokens are counted from the first copy on,
// also while the gates do not look yet.
func count(s State, o Observation, settled bool) State {
	primary, shadow := o.Sample.Stable, o.Sample.Canary
	switch {
	case shadow.Blind == "":
		s.Watch.BlindSince = time.Time{}
	case s.Watch.BlindSince.IsZero():
		s.Watch.BlindSince = o.Now
	}
	s.Watch.Meter = s.Watch.Meter.add(o.Now, shadow)
	s.Result.TokensPerSecond = max(s.Result.TokensPerSecond, s.Watch.Meter.rate(o.Now))
	s.Result.Warnings = o.Sample.Warnings
	if !settled {
		s.Watch.LastLook = o.Now
		return s
	}
	if primary.Blind == "" && shadow.Blind == "" {
		s.Result.Watched += o.Now.Sub(s.Watch.LastLook)
	}
	s.Watch.LastLook = o.Now
	s.Result.Primary, s.Result.Shadow = s.Result.Primary.add(primary), s.Result.Shadow.add(shadow)
	return s
}

// removing takes the filter off, then the Service away.
func removing(s State, o Observation) (State, Action) {
	switch {
	case s.Watch.Gone || s.Watch.Back:
	case o.Standing == nil:
		return s, Action{Verb: Read}
	case !o.Standing.AtGoal:
		return s, Action{Verb: Move}
	default:
		s.Watch.Back, s.Removed = true, o.Now
	}
	if s.Record.Made != "" && !s.Watch.Unmade {
		return s, Action{Verb: Unmake}
	}
	return s.enter(Done, o.Now, "the route is as it was")
}

// finishing has only the stamp to take away.
func finishing(s State) (State, Action) {
	if !s.Watch.Released && !s.Watch.Gone {
		return s, Action{Verb: Release}
	}
	return s, Action{Verb: Stop, Outcome: Judged}
}
