package gate

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Board holds the harm evidence of a whole run: one fresh e-process for every
// gate in every step. The run's e-value is their equally weighted mean, where
// planned steps not yet entered count as 1, and the run is rolled back when it
// reaches 1/alpha. So a healthy canary is rolled back with probability at most
// alpha, however many gates, steps and looks there are.
//
// A Board marshals to JSON and back without losing a bit. It is not safe for
// concurrent use; Clone makes one that changes on its own.
type Board struct{ s boardState }

type boardState struct {
	Alpha    float64   `json:"alpha"`
	Bounds   []Bound   `json:"bounds"` // what a new step starts with
	Step     int       `json:"step"`   // -1 before the first
	Seen     []uint64  `json:"seen"`   // canary requests by gate since the step was (re-)entered
	Cells    [][]cell  `json:"cells"`  // by planned step, then by gate; null: not entered
	Crossing *Crossing `json:"crossing,omitempty"`
}

// Crossing names the gate that decided a rollback.
type Crossing struct {
	Gate  int     `json:"gate"`  // index into the bounds
	Step  int     `json:"step"`  // where its evidence was collected
	Value float64 `json:"value"` // its own e-value at the time
}

// NewBoard plans a run of the given number of steps with one bound for each
// gate. A latency relative to stable may be given as Bound{Expr: e}; it is
// bound when a step is entered.
func NewBoard(bounds []Bound, steps int, alpha float64) (*Board, error) {
	b := &Board{boardState{
		Alpha: alpha, Bounds: slices.Clone(bounds), Step: -1,
		Seen: make([]uint64, len(bounds)), Cells: make([][]cell, max(steps, 0)),
	}}
	return b, b.check()
}

// Clone returns a copy that shares nothing with b.
func (b *Board) Clone() *Board {
	s := b.s
	s.Bounds, s.Seen, s.Cells = slices.Clone(s.Bounds), slices.Clone(s.Seen), slices.Clone(s.Cells)
	for i := range s.Cells {
		s.Cells[i] = slices.Clone(s.Cells[i])
	}
	if s.Crossing != nil {
		c := *s.Crossing
		s.Crossing = &c
	}
	return &Board{s}
}

func (b *Board) check() error {
	s := &b.s
	switch {
	case !(s.Alpha > 0 && s.Alpha < 1):
		return fmt.Errorf("gates: an error bound of %g is not between 0 and 1", s.Alpha)
	case len(s.Bounds) == 0:
		return fmt.Errorf("gates: none given")
	case len(s.Cells) == 0:
		return fmt.Errorf("gates: a run has at least one step")
	case s.Step < -1 || s.Step >= len(s.Cells) || s.Step >= 0 && s.Cells[s.Step] == nil || len(s.Seen) != len(s.Bounds):
		return fmt.Errorf("gates: the recorded step %d does not fit its %d steps and %d gates", s.Step, len(s.Cells), len(s.Bounds))
	}
	for i, step := range s.Cells {
		if step != nil && len(step) != len(s.Bounds) {
			return fmt.Errorf("gates: step %d has %d of %d gates", i, len(step), len(s.Bounds))
		}
		for g := range step {
			if err := step[g].check(); err != nil {
				return fmt.Errorf("gates: step %d: %w", i, err)
			}
		}
	}
	if c := s.Crossing; c != nil && (c.Step < 0 || c.Step >= len(s.Cells) ||
		c.Gate < 0 || c.Gate >= len(s.Cells[c.Step])) {
		return fmt.Errorf("gates: the recorded crossing of gate %d in step %d does not exist", c.Gate, c.Step)
	}
	return nil
}

// EnterStep starts step i (from 0) with fresh e-processes, or goes on with
// those it had when it was entered before: a second visit is not a new step in
// the mean. Either way the sample floor starts anew. With rebound, one for each
// gate, a step entered for the first time and those after it use these bounds;
// a step entered before keeps its own (see Bounds).
func (b *Board) EnterStep(i int, rebound ...Bound) error {
	if i < 0 || i >= len(b.s.Cells) {
		return fmt.Errorf("gates: enter step %d: the run has %d", i, len(b.s.Cells))
	}
	if len(rebound) > 0 && len(rebound) != len(b.s.Bounds) {
		return fmt.Errorf("gates: enter step %d: %d bounds for %d gates", i, len(rebound), len(b.s.Bounds))
	}
	if b.s.Cells[i] == nil {
		bounds := b.s.Bounds
		if len(rebound) > 0 {
			bounds = slices.Clone(rebound)
		}
		cells := make([]cell, len(bounds))
		for g := range bounds {
			c, err := newCell(bounds[g])
			if err != nil {
				return fmt.Errorf("gates: enter step %d: %w", i, err)
			}
			cells[g] = c
		}
		b.s.Bounds, b.s.Cells[i] = bounds, cells
	}
	b.s.Step = i
	b.s.Seen = make([]uint64, len(b.s.Bounds))
	return nil
}

// Prepare sets what the next step starts with, so that a journalled state tells
// a process that takes over between two steps.
func (b *Board) Prepare(bounds []Bound) { b.s.Bounds = slices.Clone(bounds) }

// Prepared is what the next step starts with.
func (b *Board) Prepared() []Bound { return slices.Clone(b.s.Bounds) }

// Step is the current step; -1 before the first.
func (b *Board) Step() int { return b.s.Step }

// Bounds are those of the current step, to count by; before the first step,
// those of the plan.
func (b *Board) Bounds() []Bound {
	bounds := slices.Clone(b.s.Bounds)
	if b.s.Step >= 0 {
		for g, c := range b.s.Cells[b.s.Step] {
			bounds[g] = c.Bound
		}
	}
	return bounds
}

// Update adds one scrape window of one gate in the current step. The counts of
// stable are used by gates relative to stable, and reported for all.
func (b *Board) Update(gate int, canary, stable Counts) error {
	if b.s.Step < 0 || gate < 0 || gate >= len(b.s.Bounds) {
		return fmt.Errorf("gates: update gate %d of %d in step %d: there is none", gate, len(b.s.Bounds), b.s.Step)
	}
	b.s.Cells[b.s.Step][gate].update(canary, stable)
	b.s.Seen[gate] += canary.Requests
	if b.s.Crossing == nil && b.Log() >= -math.Log(b.s.Alpha) {
		worst := b.Worst()
		b.s.Crossing = &worst
	}
	return nil
}

// Log is the natural logarithm of the run's e-value.
func (b *Board) Log() float64 {
	var logs []float64
	top := 0.0 // a step not entered
	b.each(func(_, _ int, l float64) {
		logs = append(logs, l)
		top = math.Max(top, l)
	})
	all := len(b.s.Cells) * len(b.s.Bounds)
	sum := float64(float64(all-len(logs)) * math.Exp(-top))
	for _, l := range logs {
		sum += math.Exp(l - top)
	}
	return top + math.Log(sum/float64(all))
}

// Value is the run's e-value, rolled back at Limit.
func (b *Board) Value() float64 { return fromLog(b.Log()) }

// Limit is 1/alpha.
func (b *Board) Limit() float64 { return 1 / b.s.Alpha }

// Worst is the gate and step with the largest e-value so far.
func (b *Board) Worst() Crossing {
	worst, top := Crossing{Step: max(b.s.Step, 0), Value: 1}, math.Inf(-1)
	b.each(func(step, gate int, l float64) {
		if l > top {
			worst, top = Crossing{Gate: gate, Step: step, Value: fromLog(l)}, l
		}
	})
	return worst
}

// Crossed reports whether the run's e-value ever reached Limit, and which gate
// was the largest then. It stays so: the decision was due at that moment.
func (b *Board) Crossed() (Crossing, bool) {
	if b.s.Crossing == nil {
		return Crossing{}, false
	}
	return *b.s.Crossing, true
}

func (b *Board) each(visit func(step, gate int, log float64)) {
	for i, step := range b.s.Cells {
		for g := range step {
			visit(i, g, step[g].log())
		}
	}
}

// MarshalJSON writes the whole state.
func (b *Board) MarshalJSON() ([]byte, error) { return json.Marshal(b.s) }

// UnmarshalJSON restores a state, and refuses one that is not sound.
func (b *Board) UnmarshalJSON(data []byte) error {
	restored := Board{}
	if err := json.Unmarshal(data, &restored.s); err != nil {
		return fmt.Errorf("gates: recorded state: %w", err)
	}
	if err := restored.check(); err != nil {
		return err
	}
	*b = restored
	return nil
}
