package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

var began = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// healthy and harmful are gates at the end of a step.
func healthy() rollout.GateResult {
	return rollout.GateResult{Gate: "errors < 1%", Value: "0%", Requests: 200, Allowed: 0.01, Phi: 1, EValue: 0.3, Needed: 400, Missed: 0.2}
}

func harmful() rollout.GateResult {
	return rollout.GateResult{
		Gate: "ttft p95 < 800ms", Value: "≤ 1.2s", Requests: 100, Bad: 60, Edge: 0.8, Allowed: 0.05, Phi: 1, EValue: 512, Needed: 400,
	}
}

// ended is a run that passed at 10 % and then ended as outcome says.
func ended(outcome rollout.Outcome, why string, last rollout.StepResult) rollout.Result {
	passed := rollout.StepResult{Asked: 10, Seen: 9.5, CanaryStarted: 200, StableStarted: 1900, Requests: 200, Gates: []rollout.GateResult{healthy()}, Verdict: "Pass", Took: 5 * time.Minute}
	return rollout.Result{Outcome: outcome, Why: why, Row: &last, Record: rollout.Record{
		Run: "b7e5", Phase: rollout.RolledBack, Ceiling: 50, Steps: []rollout.StepResult{passed}, Started: began, Updated: began.Add(6 * time.Minute),
		Plan:    rollout.Plan{Namespace: "default", Target: "httproute/chat", Stable: "qwen-v1", Canary: "qwen-v2"},
		Decided: began.Add(6*time.Minute - time.Second), Restored: began.Add(6 * time.Minute),
	}}
}

func failing() rollout.Result {
	return ended(rollout.FailedGate, "ttft p95 < 800ms is broken", rollout.StepResult{
		Asked: 50, Seen: 51, CanaryStarted: 100, StableStarted: 100, Requests: 100, Verdict: "Fail",
		Gates: []rollout.GateResult{healthy(), harmful()}, Warnings: []string{"longer | prompts"}, Took: time.Minute,
	})
}

func held() rollout.Result {
	return ended(rollout.Held, "metrics could not be read", rollout.StepResult{Asked: 50, Verdict: "Blind", Gates: []rollout.GateResult{healthy()}, Took: time.Minute})
}

func refused() report.Result {
	err := exit.With(exit.PreflightRefused, errors.New("pool qwen-v2 is <not> there"))
	return report.Refused(failing().Record.Plan, err, began)
}

// schema is a published one.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled, err := compiler.Compile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func conforms(t *testing.T, shape *jsonschema.Schema, raw []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return shape.Validate(value)
}

func TestResultsHaveThePublishedShape(t *testing.T) {
	t.Parallel()
	shape := schema(t, "canary-result.schema.json")
	for rule, result := range map[string]report.Result{
		"a failed gate":               report.Of(failing()),
		"a run that was held":         report.Of(held()),
		"refused before the start":    refused(),
		"nothing but an empty record": report.Of(rollout.Result{Outcome: rollout.Interrupted, Record: rollout.Record{Phase: rollout.Ready}}),
	} {
		raw, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms(t, shape, raw); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
	if conforms(t, shape, []byte(`{"apiVersion":"kubectl-infer.github.io/v1alpha1","kind":"CanaryResult","surprise":1}`)) == nil {
		t.Error("the schema takes anything")
	}
}

func TestEventsHaveThePublishedShapeAndEndWithTheResult(t *testing.T) {
	t.Parallel()
	shape := schema(t, "canary-event.schema.json")
	var out bytes.Buffer
	now := began
	events := report.NewEvents(&out, func() time.Time { return now }, 5*time.Second)
	record := failing().Record
	record.Phase, record.Goal = rollout.Raising, 50
	events.Transition(record, "10% passed")
	state := rollout.State{Record: record, Watch: rollout.WatchState{Judge: judge{}}}
	state.Phase = rollout.Baking
	events.Looked(state, rollout.Sample{}) // too soon
	now = now.Add(6 * time.Second)
	events.Looked(state, rollout.Sample{Canary: rollout.Arm{Blind: "connection refused"}})
	events.Trouble(record, errors.New("the server is busy"))
	events.Ended(report.Of(failing()))
	if events.Err() != nil {
		t.Fatal(events.Err())
	}
	var types []string
	for line := range bytes.Lines(out.Bytes()) {
		if err := conforms(t, shape, line); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
		var event report.Event
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		types = append(types, event.Type)
	}
	if got, want := strings.Join(types, " "), "Transition Looked Trouble Ended"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEveryFieldIsPublished finds a field that was added and not written down,
// also where no example above sets it.
func TestEveryFieldIsPublished(t *testing.T) {
	t.Parallel()
	type shape struct {
		Properties map[string]any   `json:"properties"`
		Defs       map[string]shape `json:"$defs"`
	}
	var result, event shape
	for name, into := range map[string]*shape{"canary-result": &result, "canary-event": &event} {
		raw, err := os.ReadFile("../../docs/" + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		of   any
		here shape
	}{{report.Result{}, result}, {report.Event{}, event}, {rollout.StepResult{}, result.Defs["step"]}, {rollout.GateResult{}, result.Defs["gate"]}} {
		for field := range reflect.TypeOf(tc.of).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if tc.here.Properties[name] == nil {
				t.Errorf("%T: the schema lacks %q", tc.of, name)
			}
		}
	}
}

// judge has seen one gate.
type judge struct{ rollout.Judge }

func (judge) Results() []rollout.GateResult { return []rollout.GateResult{healthy()} }

func TestAWriterThatFailsIsToldOnceAndStopsNothing(t *testing.T) {
	t.Parallel()
	events := report.NewEvents(full{}, func() time.Time { return began }, time.Second)
	events.Trouble(rollout.Record{}, errors.New("x"))
	events.Ended(report.Of(held()))
	if !errors.Is(events.Err(), errFull) {
		t.Errorf("got %v", events.Err())
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWhatAJUnitFileCounts(t *testing.T) {
	t.Parallel()
	type counts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	for rule, tc := range map[string]struct {
		result    report.Result
		undecided report.Undecided
		want      counts
	}{
		"the gate that crossed and the rollout failed, the other gate was not judged": {report.Of(failing()), report.UndecidedSkipped, counts{4, 2, 0, 1}},
		"what was held is skipped":        {report.Of(held()), report.UndecidedSkipped, counts{3, 0, 0, 2}},
		"or an error, when asked for":     {report.Of(held()), report.UndecidedError, counts{3, 0, 2, 0}},
		"a refusal is one case, an error": {refused(), report.UndecidedSkipped, counts{1, 0, 1, 0}},
	} {
		var out bytes.Buffer
		if err := report.WriteJUnit(&out, tc.result, tc.undecided); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Suite counts `xml:"testsuite"`
		}
		if err := xml.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Suite != tc.want {
			t.Errorf("%s: got %+v, want %+v\n%s", rule, got.Suite, tc.want, out.String())
		}
	}
}

func TestWhatASummarySays(t *testing.T) {
	t.Parallel()
	page := report.Markdown(report.Of(failing()))
	for _, want := range []string{
		"### ROLLEDBACK `default/httproute/chat`: qwen-v1 → qwen-v2\n", "Exit code 10; the highest share a gate approved is 50%.\n",
		"1000 ms after the deciding scrape", "| 50% | 51.0% | `errors < 1%` |", "| **Fail** |", `warning: longer \| prompts`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	if page := report.Markdown(refused()); !strings.Contains(page, "### REFUSED") || !strings.Contains(page, "is &lt;not> there") {
		t.Errorf("a refusal:\n%s", page)
	}
	long := report.Of(failing())
	for range 10_000 {
		long.Steps = append(long.Steps, long.Steps[1])
	}
	if n := len(report.Markdown(long)); n > report.MaxMarkdown+1000 {
		t.Errorf("a long run makes a page of %d bytes", n)
	}
}
