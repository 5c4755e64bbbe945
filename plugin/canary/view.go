package canary

import (
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

// What -o json prints is the record with its durations as people and plan files
// write them. The journal itself keeps nanoseconds.

type recordView struct {
	rollout.Record
	Plan  planView      `json:"plan"`
	Steps []report.Step `json:"steps,omitempty"`
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

func viewOf(r rollout.Record) recordView {
	p := r.Plan
	return recordView{
		Record: r, Steps: report.Steps(r.Steps),
		Plan: planView{
			Plan: p, Bake: p.Bake.String(), Settle: p.Settle.String(), StepDeadline: p.StepDeadline.String(),
			Calibrate: p.Calibrate.String(), BlindLimit: p.BlindLimit.String(), ScrapeInterval: p.ScrapeInterval.String(),
		},
	}
}
