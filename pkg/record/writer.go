package record

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Writer records a run. Its Trace goes into rollout.Deps. It keeps the first
// error and writes nothing after it: see Err.
type Writer struct {
	out   io.Writer
	begun time.Time // with a monotonic reading, when the run has one
	did   rollout.Verb
	err   error
}

// NewWriter writes the header. Times are kept relative to header.Started, by the
// monotonic clock if it has a reading, so that a replay sees the same intervals.
func NewWriter(out io.Writer, header Header) *Writer {
	w := &Writer{out: out, begun: header.Started}
	header.Version = Version
	header.Started = header.Started.Round(0)
	w.line(header)
	return w
}

// Err is the first thing that went wrong.
func (w *Writer) Err() error {
	if w.err != nil {
		return fmt.Errorf("write record: %w", w.err)
	}
	return nil
}

func (w *Writer) line(v any) {
	if w.err != nil {
		return
	}
	raw, err := json.Marshal(v)
	if err == nil {
		_, err = w.out.Write(append(raw, '\n'))
	}
	w.err = err
}

func (w *Writer) at(t time.Time) time.Time { return w.begun.Round(0).Add(t.Sub(w.begun)) }

// Trace writes what a decision was made of, and the decision if there was one.
func (w *Writer) Trace(o rollout.Observation, s rollout.State, a rollout.Action) {
	act := string(w.did)
	if act == "" {
		act = begin
	}
	w.did = a.Verb
	line := Line{
		At: w.at(o.Now), Act: act, Requests: o.Requests, Journal: o.Journal, Error: troubleOf(o.Err),
		Interrupted: o.Interrupted, RollBack: o.RollBack, NoWait: o.NoWait, Reassert: o.Reassert, RollbackLimit: o.RollbackLimit,
	}
	if o.Standing != nil {
		standing := Standing(*o.Standing)
		line.Standing = &standing
	}
	if o.Sample != nil {
		line.Answers, line.Warnings = o.Sample.Answers, o.Sample.Warnings
		line.Window = &Window{Stable: armOf(o.Sample.Stable), Canary: armOf(o.Sample.Canary)}
	}
	w.line(line)
	if d := decisionOf(s, a); d != nil {
		w.line(Line{At: w.at(o.Now), Decision: d})
	}
}

// begin is the act before the first observation.
const begin = "begin"

// decisionOf is what an action decided; nil for one that only carries on.
func decisionOf(s rollout.State, a rollout.Action) *Decision {
	if a.Why == "" && a.Verb != rollout.Stop {
		return nil
	}
	d := &Decision{Phase: s.Phase, Goal: s.Goal, Why: a.Why, Outcome: a.Outcome}
	if s.Watch.Judge != nil {
		d.Gates = s.Watch.Judge.Results()
	}
	return d
}

func armOf(a rollout.Arm) Arm {
	return Arm{
		Started: a.Started, Finished: a.Finished, Progress: a.Progress, Running: a.Running,
		Ready: a.Ready, Restarts: a.Restarts, Rows: a.Values, Blind: a.Blind, Servers: a.Servers,
	}
}

func (a Arm) arm() rollout.Arm {
	return rollout.Arm{
		Started: a.Started, Finished: a.Finished, Progress: a.Progress, Running: a.Running,
		Ready: a.Ready, Restarts: a.Restarts, Values: a.Rows, Blind: a.Blind, Servers: a.Servers,
	}
}
