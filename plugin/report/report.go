// Package report is how a canary rollout tells machines what happened: the
// result as one document (-o json), the run as JSON lines while it goes on
// (events.go, --events), and the same result as a JUnit file (junit.go) and as
// Markdown for the summary page of a pipeline (markdown.go). Start at Result;
// docs/canary-result.schema.json and docs/canary-event.schema.json are the
// shapes, and tests hold what is written to them.
package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// APIVersion is the version of every document of this package. Fields may be
// added to it; none changes its meaning.
const APIVersion = "kubectl-infer.github.io/v1alpha1"

// Result is how a run of canary ended. Kind is CanaryResult.
type Result struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Outcome is empty where the run ended before it began to watch: ExitCode
	// and Reason say why.
	Outcome   rollout.Outcome `json:"outcome,omitempty"`
	ExitCode  int             `json:"exitCode"`
	Reason    string          `json:"reason,omitempty"`
	Namespace string          `json:"namespace"`
	Target    string          `json:"target"`
	Stable    string          `json:"stable"`
	Canary    string          `json:"canary"`
	Run       string          `json:"run,omitempty"`
	Phase     rollout.Phase   `json:"phase,omitempty"`
	Ceiling   int             `json:"ceiling"` // highest share in percent that a gate approved
	Steps     []Step          `json:"steps"`
	// RollbackSeconds is the time from the deciding scrape to the baseline read
	// back.
	RollbackSeconds float64   `json:"rollbackSeconds,omitempty"`
	Started         time.Time `json:"started"`
	Finished        time.Time `json:"finished"`
}

// Step is a step with its duration as people write it.
type Step struct {
	rollout.StepResult
	Took string `json:"took"`
}

// Steps are the steps of a record.
func Steps(list []rollout.StepResult) []Step {
	views := make([]Step, 0, len(list))
	for _, s := range list {
		views = append(views, Step{StepResult: s, Took: s.Took.Round(time.Millisecond).String()})
	}
	return views
}

// Of is the document of a run that ended with result.
func Of(result rollout.Result) Result {
	rec := result.Record
	rows := rec.Steps
	if result.Row != nil {
		rows = append(append([]rollout.StepResult(nil), rows...), *result.Row)
	}
	r := Result{
		APIVersion: APIVersion, Kind: "CanaryResult", Outcome: result.Outcome, ExitCode: int(exit.For(result.Outcome)),
		Reason: result.Why, Namespace: rec.Plan.Namespace, Target: rec.Plan.Target, Stable: rec.Plan.Stable, Canary: rec.Plan.Canary,
		Run: rec.Run, Phase: rec.Phase, Ceiling: rec.Ceiling, Steps: Steps(rows), Started: rec.Started, Finished: rec.Updated,
	}
	if !rec.Restored.IsZero() {
		r.RollbackSeconds = rec.Restored.Sub(rec.Decided).Seconds()
	}
	return r
}

// Refused is the document of a run that ended with err before it watched
// anything.
func Refused(plan rollout.Plan, err error, at time.Time) Result {
	return Result{
		APIVersion: APIVersion, Kind: "CanaryResult", ExitCode: int(exit.CodeOf(err)), Reason: err.Error(),
		Namespace: plan.Namespace, Target: plan.Target, Stable: plan.Stable, Canary: plan.Canary,
		Steps: []Step{}, Started: at, Finished: at,
	}
}

// Word is the outcome in one word, as tables and pages head it.
func (r Result) Word() string {
	if r.Outcome == "" {
		return "REFUSED"
	}
	return strings.ToUpper(string(r.Outcome))
}

// crossed says that the evidence of a step's gate reached what takes the run
// back, or that enough answers of a gate without an error bound did.
func crossed(g rollout.GateResult) bool {
	if g.Unbounded {
		return g.Over >= gate.StreakBad
	}
	return g.Needed > 0 && g.EValue >= g.Needed
}

// observed is a gate's row in words.
func observed(g rollout.GateResult) string {
	if g.Unbounded {
		return fmt.Sprintf("observed %s; %d of the latest answers beyond the limit (no error bound)", g.Value, g.Over)
	}
	text := fmt.Sprintf("observed %s; %d of %d canary requests bad", g.Value, g.Bad, g.Requests)
	if g.Allowed > 0 {
		text += fmt.Sprintf(", allowed %.3g%%", 100*g.Allowed)
	}
	if g.Edge > 0 {
		text += fmt.Sprintf("; bad is above %v", time.Duration(g.Edge*float64(time.Second)).Round(100*time.Microsecond))
	}
	return text + fmt.Sprintf("; e-value %.3g of %.3g", g.EValue, g.Needed)
}
