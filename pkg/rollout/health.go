package rollout

import (
	"fmt"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// health follows both arms through one step for the gates that need no
// statistics. The zero value begins a step.
type health struct {
	stable, canary gate.Life
	restarts       int // the canary's count when the step began
	begun          bool
	patience       time.Duration // stable's p99 time to first token; 0 when not known
}

// examine adds a look and applies the health gates.
func (h health) examine(p Plan, now time.Time, sample Sample) (health, Finding) {
	if !h.begun {
		h.begun, h.restarts = true, sample.Canary.Restarts
	}
	h.stable = follow(h.stable, now, sample.Stable)
	h.canary = follow(h.canary, now, sample.Canary)
	h.canary.Restarts = max(0, sample.Canary.Restarts-h.restarts)
	verdict, why := gate.CheckHealth(
		gate.HealthLimits{ScrapeInterval: p.ScrapeInterval, MaxRestarts: p.MaxRestarts},
		gate.HealthObservation{Now: now, Canary: h.canary, Stable: h.stable, StableTTFT: h.patience},
	)
	switch verdict {
	case gate.Fail:
		return h, Finding{Harm: why}
	case gate.Blind:
		return h, Finding{Blind: why}
	}
	for _, arm := range []Arm{sample.Canary, sample.Stable} {
		if arm.Blind != "" {
			return h, Finding{Blind: arm.Blind}
		}
	}
	return h, Finding{}
}

func follow(l gate.Life, now time.Time, arm Arm) gate.Life {
	l.Ready = arm.Ready
	return l.Look(gate.Glance{
		At: now, Scraped: arm.Blind == "",
		Running: int(arm.Running), Progress: arm.Finished+arm.Progress > 0,
	})
}

// standstill says that the canary may be hanging, for too short a time yet to be
// blamed: no step passes meanwhile.
func (h health) standstill(p Plan) string {
	if stall := h.canary.Stalled(); stall > 3*p.ScrapeInterval {
		return fmt.Sprintf("the canary has requests running and made no progress for %v", stall.Round(time.Second))
	}
	return ""
}
