package canary

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
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
