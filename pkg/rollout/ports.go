package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// ErrSuperseded says that another process has taken the rollout over: the
// journal's epoch or the target's stamp is not ours any more.
var ErrSuperseded = errors.New("another process has taken this rollout over")

// ErrDrift says that somebody else changed what the rollout moves. Adapters
// wrap it.
var ErrDrift = errors.New("the target was changed by somebody else")

// Standing is where a target was found.
type Standing struct {
	// Share is the canary's share by the weights, in percent.
	Share float64
	// AtGoal says that the weights are exactly those of the goal asked about.
	AtGoal bool
	// Accepted says that every parent reported the present generation good;
	// Waiting says which did not, and why.
	Accepted bool
	Waiting  string
	// Fenced says that the stamp is not this run's, Unstamped that there is none
	// where this run put one.
	Fenced, Unstamped bool
	// By names who wrote the weights last, when somebody else did.
	By string
}

// Target is what weights are written to.
type Target interface {
	// Seize stamps the target, so that only this run and epoch may write it.
	Seize(ctx context.Context, stamp string) error
	// Read says where the target stands relative to goal.
	Read(ctx context.Context, goal Goal) (Standing, error)
	// Move writes goal's weights if the target stands at from. Repeating it is
	// safe.
	Move(ctx context.Context, from, goal Goal) error
	// Release removes the stamp.
	Release(ctx context.Context) error
}

// Journal keeps the record.
type Journal interface {
	Load(ctx context.Context) (Record, error)
	// Save replaces the record unless somebody else did: ErrSuperseded.
	Save(ctx context.Context, record Record) error
	// Requests are what people asked of this rollout, oldest first.
	Requests(ctx context.Context) ([]Request, error)
}

// Evidence looks at both arms.
type Evidence interface {
	// Look returns what happened since the previous look. Trouble with an arm
	// is told in the arm, not as an error.
	Look(ctx context.Context) Sample
	// Moved is called after weights were written, so that nothing counted before
	// is taken for what happened after.
	Moved()
}

// Clock is time as the loop sees it.
type Clock interface {
	Now() time.Time
	// Wait returns after d, or earlier when ctx ends.
	Wait(ctx context.Context, d time.Duration)
}

// Reporter tells people what happens.
type Reporter interface {
	// Transition is called when the record changed and before it is acted on.
	Transition(record Record, why string)
	// Looked is called after every look at the arms.
	Looked(state State, sample Sample)
	// Trouble is called when an action did not work and will be repeated.
	Trouble(record Record, err error)
}

// Sample is one look at both arms.
type Sample struct {
	Stable, Canary Arm
	// Answers are what the queries of the plan's promql gates said, in their order.
	Answers []gate.Answer
	// Warnings say why the arms may not be comparable. They decide nothing.
	Warnings []string
	// Took is how long the look took.
	Took time.Duration
}

// Arm is what one arm did since the previous look. Counts are increments;
// Ready, Running and Restarts are levels.
type Arm struct {
	// Blind says why the arm's counters could not be read; "" when they were.
	Blind    string
	Started  uint64
	Finished uint64
	Progress uint64 // pieces of answers seen
	// Overflows are requests that a circuit breaker of the gateway kept back. They
	// are errors, but no model's.
	Overflows uint64
	// PromptTokens and AnswerTokens are those of Answered requests that ended.
	PromptTokens, AnswerTokens uint64
	Answered                   uint64
	Running                    int64
	// Ready counts ready endpoints; Restarts counts container restarts of the
	// arm's pods since the first look.
	Ready    int
	Restarts int
	// Values has one row for each gate with an error bound: the requests in each bucket of its
	// histogram and above them all, or [good, bad] for errors. What of it is
	// bad is the judge's to say: a gate's edge may change from step to step.
	// It is nil when the counters could not be read.
	Values [][]uint64
	// Servers is what a second source saw: the arm's model servers themselves,
	// where the counts above are their pickers'. nil when there is none.
	Servers *Servers
}

// Servers is what an arm's model servers tell of themselves: requests running
// now, and pieces of answers since the previous look.
type Servers struct {
	Running  int64  `json:"running"`
	Progress uint64 `json:"progress"`
}
