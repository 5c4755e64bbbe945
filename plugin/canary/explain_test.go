package canary

import (
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestAGateIsExplainedInWords(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		gate    rollout.GateResult
		verdict string
		margin  float64
		says    []string
	}{
		"a limit between two edges says which edge judged, and what a pass could have missed": {
			rollout.GateResult{Gate: "ttft p95 < 780ms", Value: "≤ 168ms", Requests: 200, Bad: 4, Edge: 0.8, Allowed: 0.05, Phi: 1, EValue: 0.2, Needed: 400, Missed: 0.1},
			"Pass", 0.03,
			[]string{"p95 is ≤ 168ms, the limit 780ms, judged at the bucket edge above it, 800ms", "4 of 200 canary requests (2%) were slower than 800ms; allowed are 5%", "nothing speaks against it", "a regression to 10% bad requests (2 times what is allowed)"},
		},
		"a gate that was crossed is called harmful, and nothing is said of what it missed": {
			rollout.GateResult{Gate: "errors < 1%", Requests: 100, Bad: 20, Allowed: 0.01, Phi: 1, EValue: 500, Needed: 400, Missed: 0.1},
			"Fail", -0.19,
			[]string{"20 of 100 canary requests (20%) failed; allowed are 1%", "e-value 500, rolled back at 400: shown to be harmful", "!missed"},
		},
		"errors beside stable are held against stable's rate": {
			rollout.GateResult{Gate: "errors < 2x stable or < 0.5%", Requests: 100, Bad: 3, StableRequests: 1000, StableBad: 10, Phi: 5, EValue: 1.3, Needed: 400, Missed: 1},
			"Pass", -0.01,
			[]string{"allowed are 2%; on stable it was 10 of 1000", "chance can do that", "count as 1/5", "means little"},
		},
		"a query's gate is marked as having no error bound": {
			rollout.GateResult{Gate: `promql "queue" < 5`, Value: "4.2", Requests: 9, Bad: 2, Over: 1, Unbounded: true},
			"Pass", 0,
			[]string{"the latest answer is 4.2; 2 of 9 answers in this step were not below the limit, and 1 of the latest 5", "no error bound", "passes no step alone"},
		},
		"a gate that saw nothing says so": {
			rollout.GateResult{Gate: "errors < 1%"}, "Inconclusive", 0, []string{"no canary request was counted"},
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			got := explainGate(tc.gate, tc.verdict)
			text := strings.Join(got.Said, "\n")
			for _, part := range tc.says {
				part, not := strings.CutPrefix(part, "!")
				if strings.Contains(text, part) == not {
					t.Errorf("says %q: %v in\n%s", part, !not, text)
				}
			}
			if d := got.Margin - tc.margin; d > 1e-9 || d < -1e-9 {
				t.Errorf("margin %v, want %v", got.Margin, tc.margin)
			}
		})
	}
}

func TestAWarningWhoseFiguresChangeIsSaidOnce(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := &reporter{out: &out, now: time.Now}
	for _, w := range []string{"each runs 26 requests, stable's 4.5", "each runs 27 requests, stable's 4", "prompts have 2 tokens"} {
		r.Looked(rollout.State{Watch: rollout.WatchState{Judge: rollout.Gates{}}}, rollout.Sample{Warnings: []string{w}})
	}
	if n := strings.Count(out.String(), "warning"); n != 2 {
		t.Errorf("%d warnings, want 2:\n%s", n, out.String())
	}
}

func TestErrorsOfALimitAreToldFromAModels(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	row := rollout.StepResult{Asked: 25, CanaryOverflows: 7, StableOverflows: 2}
	printSteps(&out, []rollout.StepResult{row, {Asked: 50}})
	const want = "breaker: at 25%: 7 requests of the canary and 2 of stable met the gateway's circuit breaker"
	if text := out.String(); !strings.Contains(text, want) || strings.Contains(text, "breaker: at 50%") {
		t.Errorf("the table says\n%s", text)
	}
	out.Reset()
	printExplanation(&out, rollout.Record{}, explanationOf(rollout.Record{Steps: []rollout.StepResult{row}}))
	if !strings.Contains(out.String(), "breaker: 7 requests of the canary") {
		t.Errorf("explain says\n%s", out.String())
	}
}
