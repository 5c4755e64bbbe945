package canary

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

// query is a promql gate with a long query, in a step that passed.
func query() rollout.GateResult {
	return rollout.GateResult{
		Gate:  `promql "sum(rate(queue_seconds_total{pod=~\"qwen-v2.*\",namespace=\"default\"}[1m]))" < 5`,
		Value: "4.2", Requests: 9, Bad: 2, Over: 1, Unbounded: true,
	}
}

func TestAQueryIsMarkedInTableAndLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printSteps(&out, []rollout.StepResult{{Asked: 50, Verdict: "Pass", Gates: []rollout.GateResult{query()}}})
	for _, want := range []string{`promql "sum(rate(queue_seconds … `, `}[1m]))" < 5`, "4.2", "2/9", "no bound", "3 of 5", "not known"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	if got := gateText(query()); !strings.Contains(got, "is 4.2 (1 of the latest 5 over, no error bound)") {
		t.Errorf("the line is %q", got)
	}
	if got := judgedBy(query()); !strings.Contains(got, "no error bound") {
		t.Errorf("the step's line is %q", got)
	}
}

// TestAWarningIsInEverySurface follows one warning through the lines of a run,
// its table, its JSON, and what status and explain print.
func TestAWarningIsInEverySurface(t *testing.T) {
	t.Parallel()
	const warning = "one pod: all of the harm is pod canary-1's"
	step := rollout.StepResult{Asked: 50, Verdict: "Fail", Warnings: []string{warning}, Gates: []rollout.GateResult{query()}}
	record := rollout.Record{Phase: rollout.Baking, Warnings: []string{warning}, Plan: rollout.Plan{Target: "httproute/chat", Steps: []int{50}}}
	closed := record
	closed.Warnings, closed.Steps = nil, []rollout.StepResult{step}
	for surface, write := range map[string]func(*bytes.Buffer) error{
		"the lines of a run": func(out *bytes.Buffer) error {
			streams := genericiooptions.IOStreams{ErrOut: out}
			newReporter(streams, time.Now).Looked(rollout.State{Record: rollout.Record{Phase: rollout.Settling}}, rollout.Sample{Warnings: []string{warning}})
			return nil
		},
		"the table": func(out *bytes.Buffer) error { printSteps(out, closed.Steps); return nil },
		"run -o json": func(out *bytes.Buffer) error {
			return json.NewEncoder(out).Encode(report.Result{Steps: report.Steps(closed.Steps)})
		},
		"status":                  func(out *bytes.Buffer) error { printStatus(out, record, nil, time.Now()); return nil },
		"status, of a past step":  func(out *bytes.Buffer) error { printStatus(out, closed, nil, time.Now()); return nil },
		"status -o json":          func(out *bytes.Buffer) error { return json.NewEncoder(out).Encode(viewOf(record)) },
		"explain":                 func(out *bytes.Buffer) error { printExplanation(out, record, explanationOf(record)); return nil },
		"explain, of a past step": func(out *bytes.Buffer) error { printExplanation(out, closed, explanationOf(closed)); return nil },
		"explain -o json":         func(out *bytes.Buffer) error { return json.NewEncoder(out).Encode(explanationOf(record)) },
	} {
		t.Run(surface, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), warning) {
				t.Errorf("it does not say %q:\n%s", warning, out.String())
			}
		})
	}
}
