package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Event is one line of --events. Kind is CanaryEvent.
type Event struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	At         time.Time `json:"at"`
	// Type is Transition (the record changed, and is acted on next), Looked (a
	// progress line's worth of evidence), Trouble (an act did not work and is
	// repeated), or Ended, which is the last and carries Result.
	Type   string               `json:"type"`
	Run    string               `json:"run,omitempty"`
	Target string               `json:"target,omitempty"`
	Phase  rollout.Phase        `json:"phase,omitempty"`
	Goal   string               `json:"goal,omitempty"` // share in percent as "25%", or "baseline"
	Why    string               `json:"why,omitempty"`
	Blind  string               `json:"blind,omitempty"`
	Step   *Step                `json:"step,omitempty"`
	Gates  []rollout.GateResult `json:"gates,omitempty"`
	Result *Result              `json:"result,omitempty"`
}

// The types of events.
const (
	EventTransition = "Transition"
	EventLooked     = "Looked"
	EventTrouble    = "Trouble"
	EventEnded      = "Ended"
)

// Events writes a run as JSON lines. It implements rollout.Reporter. A write
// that fails stops the writing, not the run: Err tells.
type Events struct {
	out   *json.Encoder
	now   func() time.Time
	every time.Duration
	last  time.Time
	err   error
}

// NewEvents writes to out; of looks at the arms one in every period is written.
func NewEvents(out io.Writer, now func() time.Time, every time.Duration) *Events {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &Events{out: encoder, now: now, every: every}
}

// Err is the first error of a write.
func (e *Events) Err() error { return e.err }

func (e *Events) write(event Event) {
	if e.err != nil {
		return
	}
	event.APIVersion, event.Kind, event.At = APIVersion, "CanaryEvent", e.now().UTC()
	e.err = e.out.Encode(event)
}

func of(kind string, record rollout.Record) Event {
	return Event{Type: kind, Run: record.Run, Target: record.Plan.Target, Phase: record.Phase, Goal: record.Goal.String()}
}

// Transition implements rollout.Reporter.
func (e *Events) Transition(record rollout.Record, why string) {
	event := of(EventTransition, record)
	event.Why = why
	if n := len(record.Steps); n > 0 {
		event.Step = &Steps(record.Steps[n-1:])[0]
	}
	e.last = e.now()
	e.write(event)
}

// Looked implements rollout.Reporter.
func (e *Events) Looked(state rollout.State, sample rollout.Sample) {
	now := e.now()
	if now.Sub(e.last) < e.every {
		return
	}
	e.last = now
	event := of(EventLooked, state.Record)
	for _, blind := range []string{sample.Canary.Blind, sample.Stable.Blind, state.Watch.Found.Blind} {
		if event.Blind == "" {
			event.Blind = blind
		}
	}
	if state.Phase == rollout.Baking || state.Phase == rollout.Waiting {
		event.Step = &Steps([]rollout.StepResult{state.Watch.Step})[0]
		event.Gates = state.Watch.Judge.Results()
	}
	e.write(event)
}

// Trouble implements rollout.Reporter.
func (e *Events) Trouble(record rollout.Record, err error) {
	event := of(EventTrouble, record)
	event.Why = err.Error()
	e.write(event)
}

// Ended writes the last line.
func (e *Events) Ended(r Result) {
	e.write(Event{Type: EventEnded, Run: r.Run, Target: r.Target, Phase: r.Phase, Why: r.Reason, Result: &r})
}
