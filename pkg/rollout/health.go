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
	servers        gate.Life // the canary's, by a second source
	restarts       int       // the canary's count when the step began
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
	limits := gate.HealthLimits{ScrapeInterval: p.ScrapeInterval, MaxRestarts: p.MaxRestarts}
	h.servers = h.servers.Look(second(now, sample.Canary.Servers))
	h.canary.Unanswered = h.servers.Stalled() >= limits.Hang(h.patience)
	verdict, why := gate.CheckHealth(
		limits,
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

// second is a look at the model servers themselves; nil is one that saw nothing.
func second(now time.Time, s *Servers) gate.Glance {
	if s == nil {
		return gate.Glance{At: now}
	}
	return gate.Glance{At: now, Scraped: true, Running: int(s.Running), Progress: s.Progress > 0}
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
