package canary

import (
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// What -o json prints is the record with its durations as people and plan files
// write them. The journal itself keeps nanoseconds.

type recordView struct {
	rollout.Record
	Plan  planView   `json:"plan"`
	Steps []stepView `json:"steps,omitempty"`
}

type planView struct {
	rollout.Plan
	Bake           string `json:"bake"`
	Settle         string `json:"settle"`
	StepDeadline   string `json:"stepDeadline"`
	Calibrate      string `json:"calibrate,omitempty"`
	BlindLimit     string `json:"blindLimit,omitempty"`
	ScrapeInterval string `json:"scrapeInterval"`
}

type stepView struct {
	rollout.StepResult
	Took string `json:"took"`
}

func viewOf(r rollout.Record) recordView {
	p := r.Plan
	return recordView{
		Record: r, Steps: stepViews(r.Steps),
		Plan: planView{
			Plan: p, Bake: p.Bake.String(), Settle: p.Settle.String(), StepDeadline: p.StepDeadline.String(),
			Calibrate: p.Calibrate.String(), BlindLimit: p.BlindLimit.String(), ScrapeInterval: p.ScrapeInterval.String(),
		},
	}
}

func stepViews(steps []rollout.StepResult) []stepView {
	views := make([]stepView, 0, len(steps))
	for _, s := range steps {
		views = append(views, stepView{StepResult: s, Took: s.Took.Round(time.Millisecond).String()})
	}
	return views
}
