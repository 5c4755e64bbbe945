package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// Wish is what a person may ask of a rollout that runs elsewhere.
type Wish string

// The wishes, each a verb of the command line.
const (
	WishPause   Wish = "pause"   // watch on, raise no more
	WishResume  Wish = "resume"  // undo a pause
	WishPromote Wish = "promote" // approve the step that waits
	WishFull    Wish = "promote --full"
	WishAbort   Wish = "abort"
)

// Request is a wish as the journal carries it from one process to another.
// Seq rises with every request; a record says which was obeyed last.
type Request struct {
	Seq  int64     `json:"seq"`
	Run  string    `json:"run"`
	Wish Wish      `json:"wish"`
	User string    `json:"user"`
	At   time.Time `json:"at"`
}

// Pending is the first request to this run that was not obeyed yet. An abort
// goes before all others.
func (m Mark) Pending(list []Request) (Request, bool) {
	open := slices.DeleteFunc(slices.Clone(list), func(q Request) bool { return q.Run != m.Run || q.Seq <= m.Obeyed })
	if i := slices.IndexFunc(open, func(q Request) bool { return q.Wish == WishAbort }); i >= 0 {
		return open[i], true
	}
	if len(open) == 0 {
		return Request{}, false
	}
	return open[0], true
}

// obey carries a request into the record. ok is false for one whose time has
// not come: it stays in the journal.
func obey(s State, now time.Time, q Request) (next State, a Action, ok bool) {
	why := fmt.Sprintf("%s requested by %s", q.Wish, q.User)
	seq := q.Seq
	switch q.Wish {
	case WishAbort:
		s.Obeyed = seq
		s, a = goBack(s, now, ByRequest, why)
		return s, a, true
	case WishPause:
		s.Paused = true
	case WishResume:
		s.Paused, s.Watch.Due = false, now
	case WishPromote:
		s.Approved = max(s.Approved, s.Step+1)
	case WishFull:
		if s.Phase == Ready || s.Phase == Raising {
			return s, Action{}, false
		}
		if last := len(s.Plan.Steps) - 1; s.Step < last {
			s = closeStep(s, now, "Promoted")
			s.Obeyed, s.Step, s.Approved, s.Paused = seq, last, last+1, false
			s, a = raise(s, now, why)
			return s, a, true
		}
	default:
		why = fmt.Sprintf("request %q of %s is not known to this build", q.Wish, q.User)
	}
	s.Obeyed = seq
	s.Write++
	s.Record = s.decide(now, why)
	s.Watch.Saved = false
	return s, Action{Verb: Save, Why: why}, true
}

// waits says that a person must approve the present step before the next.
func (s State) waits() bool {
	return slices.Contains(s.Plan.Approve, s.Plan.Steps[s.Step]) && s.Approved <= s.Step
}

// short says why the canary may not get its next share yet: fewer ready
// endpoints than that share of stable's count at the start, times the plan's
// capacity (design §8, after `field/reliability.md` C9). "" when it may.
func (s State) short(sample Sample) string {
	if s.StableReady == 0 || s.Step+1 >= len(s.Plan.Steps) {
		return ""
	}
	share := s.Plan.Steps[s.Step+1]
	if need := Needed(share, s.StableReady, s.Plan.Capacity); sample.Canary.Ready < need {
		return fmt.Sprintf("canary has %d ready endpoints and needs %d for %d%%", sample.Canary.Ready, need, share)
	}
	if sample.Stable.Ready < s.StableReady {
		return fmt.Sprintf("stable has %d ready endpoints, fewer than the %d it began with", sample.Stable.Ready, s.StableReady)
	}
	return ""
}

// What the share test needs before it lets a step pass (design §8): as many
// requests started since the step was settled, and one on every arm that was
// asked for a share of so many percent.
const (
	shareRequests = 50
	shareSeen     = 5
)

// misdirected says why the split cannot be taken for what the step asks: too
// few requests, an arm that got none, or shares the asked one does not explain.
// "" when it can.
func (s State) misdirected() string {
	row := s.Watch.Step
	canary, stable := row.CanaryStarted, row.StableStarted
	all := canary + stable
	switch {
	case s.Plan.IgnoreShare:
		return ""
	case all < shareRequests:
		return fmt.Sprintf("the share of %s is verified by %d requests so far, of the %d that takes", s.Goal, all, shareRequests)
	case canary == 0 && row.Asked >= shareSeen, stable == 0 && 100-row.Asked >= shareSeen:
		return fmt.Sprintf("of %d requests the canary got %d, and %s was asked for; does the gateway ask the wrong picker?", all, canary, s.Goal)
	}
	test, err := gate.NewShare(float64(row.Asked)/100, 1)
	if err != nil {
		return err.Error()
	}
	if test.Update(canary, stable); test.Value() >= 1/s.Plan.Alpha {
		return fmt.Sprintf("the canary got %.1f%% of %d requests, and %s was asked for (e-value %.3g); does other traffic reach the pools, or does the gateway ask the wrong picker?", row.Seen, all, s.Goal, test.Value())
	}
	return ""
}
