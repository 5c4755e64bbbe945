package record

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Replayed is what a record's lines lead to.
type Replayed struct {
	Plan      rollout.Plan `json:"plan"`
	Decisions []Made       `json:"decisions"`
	// Ended is the outcome; empty when the lines ended before the run did.
	Ended rollout.Outcome `json:"outcome,omitempty"`
	// Open says why nothing more can be said, when the run did not end.
	Open string `json:"open,omitempty"`
	// Steps are the steps that were decided.
	Steps []rollout.StepResult `json:"steps,omitempty"`
	// Exact says that the acts of the recorded run were followed, and that every
	// decision came out as it stands in the record.
	Exact   bool `json:"exact"`
	Windows int  `json:"windows"`
}

// Made is a decision and when it was made.
type Made struct {
	At time.Time `json:"at"`
	Decision
}

// Replay decides again. Without gates the recorded plan is used, and a record
// with acts must lead to its own decisions: the first that differs is an error.
// With gates, or when the file has windows only, the target is taken to obey at
// once.
func Replay(run Run, gates []string) (Replayed, error) {
	whatIf := len(gates) > 0
	run, err := run.with(gates)
	if err != nil {
		return Replayed{}, err
	}
	start := run.journal()
	judge, err := rollout.NewGates(run.Plan, run.Edges, start.Gates)
	if err != nil {
		return Replayed{}, err
	}
	p := player{
		lines: run.Lines, now: run.Started, state: rollout.Begin(start, judge), out: Replayed{Plan: run.Plan},
		exact: !whatIf && slices.ContainsFunc(run.Lines, func(l Line) bool { return l.Window == nil && l.Act != "" }),
	}
	if err := p.play(); err != nil {
		return Replayed{}, err
	}
	p.out.Exact, p.out.Steps = p.exact, p.state.Steps
	return p.out, nil
}

// journal is the record the run began with.
func (r Run) journal() rollout.Record {
	if r.Journal != nil {
		start := *r.Journal
		start.Plan = r.Plan
		return start
	}
	return rollout.Record{
		Format: rollout.RecordFormat, Run: "replay", Epoch: 1, Write: 1, Plan: r.Plan, Phase: rollout.Ready,
		Goal: rollout.Baseline, From: rollout.Baseline, Started: r.Started, Updated: r.Started,
	}
}

// with exchanges the gates: each takes the row of a recorded gate on the same
// metric, a promql gate the answers to the same query.
func (r Run) with(gates []string) (Run, error) {
	if len(gates) == 0 {
		return r, nil
	}
	had, asked, err := r.split()
	if err != nil {
		return Run{}, err
	}
	plan := r.Plan
	plan.Gates = slices.Clone(gates)
	exprs, err := plan.Expressions()
	if err != nil {
		return Run{}, err
	}
	for i, e := range exprs {
		plan.Gates[i] = e.String()
	}
	if err := plan.Validate(); err != nil {
		return Run{}, err
	}
	want, queries := gate.Split(exprs)
	rows, err := r.places(want, had, func(a, b gate.Expr) bool { return a.Metric == b.Metric })
	if err != nil {
		return Run{}, err
	}
	answers, err := r.places(queries, asked, func(a, b gate.Expr) bool { return a.Query == b.Query })
	if err != nil {
		return Run{}, err
	}
	edges := pick(r.Edges, rows)
	lines := slices.Clone(r.Lines)
	for i, line := range lines {
		if line.Window != nil {
			lines[i].Window = &Window{Stable: line.Window.Stable.rows(rows), Canary: line.Window.Canary.rows(rows)}
			lines[i].Answers = pick(line.Answers, answers)
		}
	}
	r.Plan, r.Edges, r.Lines = plan, edges, lines
	if r.Journal != nil {
		start := *r.Journal
		start.Gates = nil // other tests: their evidence starts here
		r.Journal = &start
	}
	return r, nil
}

// places says by gate wanted which recorded one it takes its numbers from.
func (r Run) places(want, had []gate.Expr, same func(a, b gate.Expr) bool) ([]int, error) {
	from := make([]int, len(want))
	for i, e := range want {
		from[i] = slices.IndexFunc(had, func(h gate.Expr) bool { return same(h, e) })
		if from[i] < 0 {
			what := string(e.Metric)
			if !e.Bounded() {
				what = "this query"
			}
			return nil, hint.Errorf(fmt.Sprintf("the record has numbers for: %s", strings.Join(r.Plan.Gates, ", ")), "gate %s: nothing of %s was recorded", e, what)
		}
	}
	return from, nil
}

// pick takes the elements of list at the places named.
func pick[T any](list []T, from []int) []T {
	out := make([]T, len(from))
	for i, k := range from {
		out[i] = list[k]
	}
	return out
}

func (a Arm) rows(from []int) Arm {
	if a.Rows != nil {
		a.Rows = pick(a.Rows, from)
	}
	return a
}

// player carries out what Next decides, on lines instead of a cluster.
type player struct {
	lines []Line
	now   time.Time
	state rollout.State
	exact bool
	last  int      // line of the file
	base  *float64 // the share of the first line
	out   Replayed
}

// mostActs is more than the engine does between two looks, waits for a gateway
// included.
const mostActs = 10_000

// errEnd says that the lines are used up.
var errEnd = errors.New("the record ends here")

func (p *player) play() error {
	o, err := p.observe(begin)
	for acts := 0; err == nil; acts++ {
		if o.Sample != nil {
			acts = 0
		}
		if acts > mostActs {
			return hint.Errorf(otherBuild, "after line %d the engine acts for ever and never looks", p.last)
		}
		var a rollout.Action
		p.state, a = rollout.Next(p.state, o)
		if d := decisionOf(p.state, a); d != nil {
			p.out.Decisions = append(p.out.Decisions, Made{o.Now, *d})
			if err := p.compare(d); err != nil {
				return err
			}
		}
		if a.Verb == rollout.Stop {
			p.out.Ended = a.Outcome
			return nil
		}
		if o, err = p.observe(string(a.Verb)); err == nil && o.Err == nil {
			p.state = p.state.Carried(a.Verb)
		}
	}
	if errors.Is(err, errEnd) {
		p.out.Open = err.Error()
		return nil
	}
	return err
}

// observe is what an act sees: the recorded line, or what a target sees that
// obeys at once.
func (p *player) observe(act string) (rollout.Observation, error) {
	if !p.exact && act != string(rollout.Watch) {
		o := rollout.Observation{Now: p.now}
		if act == string(rollout.Read) || act == string(rollout.Move) {
			o.Standing = &rollout.Standing{Share: float64(max(p.state.Goal, 0)), AtGoal: act == string(rollout.Move) || p.obeys(), Accepted: true}
		}
		return o, nil
	}
	for len(p.lines) > 0 && (p.lines[0].Decision != nil || !p.exact && p.lines[0].Window == nil) {
		p.lines = p.lines[1:]
	}
	if len(p.lines) == 0 {
		return rollout.Observation{}, errEnd
	}
	line := p.lines[0]
	if line.Act == "" && line.Window != nil {
		line.Act = string(rollout.Watch)
	}
	if line.Act != act {
		return rollout.Observation{}, hint.Errorf(otherBuild, "record line %d: the run did %q here, the replay comes to %q", line.number, line.Act, act)
	}
	if ahead := p.ahead(line); ahead < 0 {
		p.lines = p.lines[1:]
		return p.observe(act) // the run was not there yet
	} else if ahead > 0 {
		return rollout.Observation{}, fmt.Errorf("from line %d on the run was at a canary share of %.4g%%, and these gates are still at %s: %w",
			line.number, line.Standing.Share, p.state.Goal, errEnd)
	}
	p.lines, p.now, p.last = p.lines[1:], line.At, line.number
	return p.observation(line), nil
}

// ahead compares the share a line was recorded at with where other gates are
// by now. Before the first raise both stand where the first line does.
func (p *player) ahead(line Line) int {
	if p.exact || line.Standing == nil {
		return 0
	}
	if p.base == nil {
		p.base = &line.Standing.Share
	}
	share := *p.base
	if p.state.Goal != rollout.Baseline {
		share = float64(p.state.Goal)
	}
	switch {
	case line.Standing.Share < share-1:
		return -1
	case line.Standing.Share > share+1:
		return 1
	default:
		return 0
	}
}

// obeys says that an obedient target stands at the goal: it does once it was
// moved there, and before the first move at the baseline.
func (p *player) obeys() bool {
	return p.state.Phase == rollout.Ready || p.state.Phase.Watched() || p.state.Watch.Moved || p.state.Phase == rollout.RolledBack
}

func (p *player) observation(line Line) rollout.Observation {
	o := rollout.Observation{
		Now: line.At, Requests: line.Requests, Journal: line.Journal, Interrupted: line.Interrupted, RollBack: line.RollBack,
		NoWait: line.NoWait, Reassert: line.Reassert, RollbackLimit: line.RollbackLimit, Err: line.Error.err(),
	}
	if line.Standing != nil {
		standing := rollout.Standing(*line.Standing)
		o.Standing = &standing
	}
	if line.Window != nil {
		p.out.Windows++
		o.Sample = &rollout.Sample{Stable: line.Window.Stable.arm(), Canary: line.Window.Canary.arm(), Answers: line.Answers, Warnings: line.Warnings}
	}
	if !p.exact {
		o = rollout.Observation{
			Now: o.Now, Sample: o.Sample,
			Standing: &rollout.Standing{Share: float64(max(p.state.Goal, 0)), AtGoal: true, Accepted: true},
		}
	}
	return o
}

const otherBuild = "the record was changed, or written by a build that decides otherwise; --gate asks what these gates make of it"

// compare holds a decision against the recorded one.
func (p *player) compare(made *Decision) error {
	if !p.exact {
		return nil
	}
	if len(p.lines) == 0 || p.lines[0].Decision == nil {
		return hint.Errorf(otherBuild, "the replay decides %q at %s, where the record decides nothing", made.Why, p.now.Format(time.RFC3339Nano))
	}
	line := p.lines[0]
	p.lines = p.lines[1:]
	if !reflect.DeepEqual(*line.Decision, *made) {
		return hint.Errorf(otherBuild, "record line %d: the run decided %q (%s, %s), the replay %q (%s, %s)", line.number,
			line.Decision.Why, line.Decision.Phase, line.Decision.Goal, made.Why, made.Phase, made.Goal)
	}
	return nil
}
