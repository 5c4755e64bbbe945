package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Version is the format this build writes and reads.
const Version = 1

// maxLine bounds one line: 50 gates of 60 buckets are below 100 kB.
const maxLine = 1 << 20

// Header is the first line: the plan, and what the gates are read from.
type Header struct {
	// Version is the format's, under a name that says what the file is.
	Version int          `json:"canaryRecord"`
	Started time.Time    `json:"started"`
	Plan    rollout.Plan `json:"plan"`
	// Edges are by gate with an error bound the upper bucket edges in seconds,
	// ascending; null for errors.
	Edges [][]float64 `json:"edges"`
	// Source says where the counts come from, for people.
	Source string `json:"source,omitempty"`
	// Journal is the record the run began with; absent for a run that begins at
	// its first step.
	Journal *rollout.Record `json:"journal,omitempty"`
}

// Line is any later line: an act of the engine with what it saw then, or a
// decision. A line with a Window needs nothing else.
type Line struct {
	At time.Time `json:"at"`
	// Act is what was done before looking: "watch" for a scrape window, which is
	// understood when there is a Window.
	Act    string  `json:"act,omitempty"`
	Window *Window `json:"window,omitempty"`
	// Answers are what the queries of promql gates said, in the gates' order.
	Answers     []gate.Answer     `json:"answers,omitempty"`
	Warnings    []string          `json:"warnings,omitempty"`
	Standing    *Standing         `json:"standing,omitempty"`
	Requests    []rollout.Request `json:"requests,omitempty"`
	Journal     *rollout.Record   `json:"journal,omitempty"`
	Interrupted bool              `json:"interrupted,omitempty"`
	RollBack    bool              `json:"rollBack,omitempty"`
	NoWait      bool              `json:"noWait,omitempty"`
	Reassert    bool              `json:"reassert,omitempty"`
	// RollbackLimit is in nanoseconds, as all durations are.
	RollbackLimit time.Duration `json:"rollbackLimit,omitempty"`
	Error         *Trouble      `json:"error,omitempty"`
	Decision      *Decision     `json:"decision,omitempty"`

	number int // of the line in the file
}

// Window is what both arms did since the window before.
type Window struct {
	Stable Arm `json:"stable"`
	Canary Arm `json:"canary"`
}

// Arm is one arm in one window: started, finished, progress and rows are
// counts of the window, the rest levels at its end.
type Arm struct {
	Started  uint64 `json:"started"`
	Finished uint64 `json:"finished"`
	Progress uint64 `json:"progress"`
	Running  int64  `json:"running"`
	Ready    int    `json:"ready"`
	Restarts int    `json:"restarts"`
	// Rows has by gate with an error bound the requests in each bucket and above them all, or
	// [good, bad] for errors.
	Rows [][]uint64 `json:"rows,omitempty"`
	// Blind says why the arm could not be read; then all counts are 0.
	Blind string `json:"blind,omitempty"`
	// Servers is what the arm's model servers told of themselves, when they were
	// asked beside the pickers.
	Servers *rollout.Servers `json:"servers,omitempty"`
}

// Standing is where the target was found.
type Standing struct {
	Share     float64 `json:"share"`
	AtGoal    bool    `json:"atGoal"`
	Accepted  bool    `json:"accepted"`
	Waiting   string  `json:"waiting,omitempty"`
	Fenced    bool    `json:"fenced,omitempty"`
	Unstamped bool    `json:"unstamped,omitempty"`
	By        string  `json:"by,omitempty"`
}

// Trouble is an error as the engine tells errors apart.
type Trouble struct {
	Text string `json:"text"`
	Kind string `json:"kind,omitempty"` // superseded, drift, unlocked
}

// Decision is what the engine made of the line before.
type Decision struct {
	Phase   rollout.Phase        `json:"phase"`
	Goal    rollout.Goal         `json:"goal"`
	Why     string               `json:"why"`
	Outcome rollout.Outcome      `json:"outcome,omitempty"` // of the last one
	Gates   []rollout.GateResult `json:"gates,omitempty"`
}

func kinds() map[string]error {
	return map[string]error{"superseded": rollout.ErrSuperseded, "drift": rollout.ErrDrift, "unlocked": rollout.ErrUnlocked}
}

func troubleOf(err error) *Trouble {
	if err == nil {
		return nil
	}
	t := &Trouble{Text: err.Error()}
	for kind, known := range kinds() {
		if errors.Is(err, known) {
			t.Kind = kind
		}
	}
	return t
}

// recorded is an error read from a file.
type recorded struct {
	text string
	kind error
}

func (e recorded) Error() string { return e.text }
func (e recorded) Unwrap() error { return e.kind }

func (t *Trouble) err() error {
	if t == nil {
		return nil
	}
	return recorded{t.Text, kinds()[t.Kind]}
}

// Run is a whole record.
type Run struct {
	Header
	Lines []Line
}

// split parts the gates of a plan that was validated.
func (h Header) split() (bounded, queries []gate.Expr, err error) {
	all, err := h.Plan.Expressions()
	if err != nil {
		return nil, nil, err
	}
	bounded, queries = gate.Split(all)
	return bounded, queries, nil
}

const formatHint = "see docs/record.md for what a line holds"

// Read reads a record. An error names the line.
func Read(r io.Reader) (Run, error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	var run Run
	number := 0
	for scanner.Scan() {
		number++
		text := bytes.TrimSpace(scanner.Bytes())
		var err error
		switch {
		case number == 1:
			run.Header, err = readHeader(text)
		case len(text) == 0:
			continue
		default:
			var line Line
			if line, err = readLine(text, run.Header); err == nil {
				line.number = number
				run.Lines = append(run.Lines, line)
			}
		}
		if err != nil {
			return Run{}, hint.Wrap(fmt.Errorf("record line %d: %w", number, err), formatHint)
		}
	}
	if err := scanner.Err(); err != nil {
		return Run{}, hint.Wrap(fmt.Errorf("record line %d: %w", number+1, err), formatHint)
	}
	if number == 0 {
		return Run{}, hint.Errorf(formatHint, "record line 1: the file is empty")
	}
	for i := 1; i < len(run.Lines); i++ {
		if run.Lines[i].At.Before(run.Lines[i-1].At) {
			return Run{}, hint.Errorf(formatHint, "record line %d: its time is before the line above", run.Lines[i].number)
		}
	}
	return run, nil
}

// strict decodes one JSON value and refuses fields that have no meaning.
func strict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}

func readHeader(text []byte) (Header, error) {
	var version struct {
		Version *int `json:"canaryRecord"`
	}
	if err := json.Unmarshal(text, &version); err != nil || version.Version == nil {
		return Header{}, errors.New(`no header: it begins with {"canaryRecord":1,…}`)
	}
	if *version.Version != Version {
		return Header{}, fmt.Errorf("format %d; this build reads %d", *version.Version, Version)
	}
	var h Header
	if err := strict(text, &h); err != nil {
		return Header{}, err
	}
	h.Plan = h.Plan.Complete()
	if err := h.Plan.Validate(); err != nil {
		return Header{}, err
	}
	if j := h.Journal; j != nil && (j.Step < -1 || j.Step >= len(h.Plan.Steps)) {
		return Header{}, fmt.Errorf("journal: the plan has no step %d", j.Step)
	}
	bounded, _, err := h.split()
	if err == nil && len(h.Edges) != len(bounded) {
		err = fmt.Errorf("edges for %d gates, and the plan has %d", len(h.Edges), len(bounded))
	}
	return h, err
}

func readLine(text []byte, h Header) (Line, error) {
	var line Line
	if err := strict(text, &line); err != nil {
		return Line{}, err
	}
	if line.At.IsZero() {
		return Line{}, errors.New(`no time: "at"`)
	}
	if line.Window == nil && line.Act == "" && line.Decision == nil {
		return Line{}, errors.New("neither a window, an act nor a decision")
	}
	if line.Window == nil {
		return line, nil
	}
	bounded, queries, err := h.split()
	if err != nil {
		return Line{}, err
	}
	if len(line.Answers) != len(queries) {
		return Line{}, fmt.Errorf("%d answers for %d promql gates", len(line.Answers), len(queries))
	}
	for name, arm := range map[string]Arm{"stable": line.Window.Stable, "canary": line.Window.Canary} {
		if err := arm.check(h.Edges, bounded); err != nil {
			return Line{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return line, nil
}

func (a Arm) check(edges [][]float64, gates []gate.Expr) error {
	if a.Blind != "" {
		if len(a.Rows) > 0 || a.Started+a.Finished+a.Progress > 0 {
			return errors.New("blind, and counts all the same")
		}
		return nil
	}
	if len(a.Rows) != len(edges) {
		return fmt.Errorf("%d rows for %d gates", len(a.Rows), len(edges))
	}
	for i, row := range a.Rows {
		if want := max(len(edges[i])+1, 2); len(row) != want {
			return fmt.Errorf("the row of gate %q has %d numbers, its edges ask for %d", gates[i], len(row), want)
		}
	}
	return nil
}
