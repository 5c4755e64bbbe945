package gate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func TestCheckHealth(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(seconds int) time.Time { return now.Add(-time.Duration(seconds) * time.Second) }
	well := gate.Life{Ready: 2, Running: 3, Scraped: now, Progress: now, Busy: ago(300)}
	change := func(l gate.Life, f func(*gate.Life)) gate.Life { f(&l); return l }
	dead := change(well, func(l *gate.Life) { l.Ready = 0 })
	silent := func(seconds int) gate.Life {
		return change(well, func(l *gate.Life) { l.Scraped, l.Progress = ago(seconds), ago(seconds) })
	}
	stalled := func(seconds int) gate.Life { return change(well, func(l *gate.Life) { l.Progress = ago(seconds) }) }
	idle := gate.Life{Ready: 2, Scraped: now, Progress: ago(900)}
	restarted := func(l gate.Life, n int) gate.Life { l.Restarts = n; return l }
	unanswered := func(l gate.Life) gate.Life { l.Unanswered = true; return l }

	tests := map[string]struct {
		canary, stable gate.Life
		interval, ttft time.Duration
		restarts       int
		want           gate.Verdict
		why            string
	}{
		"two arms at work":                                    {canary: well, stable: well, want: gate.Pass},
		"no ready canary endpoint fails at once":              {canary: dead, stable: well, want: gate.Fail, why: "no ready endpoint"},
		"a dead canary fails although its metrics are silent": {canary: change(silent(60), func(l *gate.Life) { l.Ready = 0 }), stable: well, want: gate.Fail},
		"both arms dead is not the canary's fault":            {canary: dead, stable: dead, want: gate.Blind, why: "neither arm"},
		"a restart in the step fails":                         {canary: restarted(well, 1), stable: well, want: gate.Fail, why: "restarted 1 times"},
		"restarts within the plan's limit pass":               {canary: restarted(well, 2), stable: well, restarts: 2, want: gate.Pass},
		"restarts of stable are not the canary's":             {canary: well, stable: restarted(well, 5), want: gate.Pass},

		"a missed scrape says nothing":                       {canary: silent(4), stable: well, want: gate.Pass},
		"silence under ten seconds says nothing":             {canary: silent(9), stable: well, want: gate.Pass},
		"silence under three scrapes says nothing":           {canary: silent(29), stable: well, interval: 10 * time.Second, want: gate.Pass},
		"a silent canary alone is blind":                     {canary: silent(10), stable: well, want: gate.Blind, why: "could not be read for 10s"},
		"a silent canary that restarted fails":               {canary: restarted(silent(10), 1), stable: well, restarts: 3, want: gate.Fail, why: "containers restarted"},
		"a silent canary that answers nothing fails":         {canary: unanswered(silent(10)), stable: well, want: gate.Fail, why: "answers no request"},
		"a canary that is scraped is not judged by answers":  {canary: unanswered(well), stable: well, want: gate.Pass},
		"both arms silent is blind":                          {canary: silent(15), stable: silent(600), want: gate.Blind, why: "both arms could not be read for 15s"},
		"both arms silent is blind although one answers not": {canary: unanswered(silent(15)), stable: silent(15), want: gate.Blind},
		"a silent stable does not stop a canary in sight":    {canary: well, stable: silent(600), want: gate.Pass},

		"a canary without progress for 30 s fails":             {canary: stalled(30), stable: well, want: gate.Fail, why: "3 requests running and made no progress for 30s"},
		"a canary without progress for less does not":          {canary: stalled(29), stable: well, want: gate.Pass},
		"patience is three scrapes when that is longer":        {canary: stalled(50), stable: well, interval: 20 * time.Second, want: gate.Pass},
		"patience is three times stable's TTFT when longer":    {canary: stalled(50), stable: well, ttft: 20 * time.Second, want: gate.Pass},
		"a stall fails beyond three times stable's TTFT":       {canary: stalled(60), stable: well, ttft: 20 * time.Second, want: gate.Fail},
		"time without scrapes is no stall":                     {canary: change(stalled(35), func(l *gate.Life) { l.Scraped = ago(8) }), stable: well, want: gate.Pass},
		"both arms without progress is not the canary's fault": {canary: stalled(60), stable: stalled(60), want: gate.Pass},
		"a stable that stopped before the canary is no proof":  {canary: stalled(60), stable: stalled(61), want: gate.Pass},
		"an idle canary makes no progress and is well":         {canary: idle, stable: well, want: gate.Pass},
		"a canary is not blamed for requests that just came":   {canary: change(stalled(900), func(l *gate.Life) { l.Busy = ago(5) }), stable: well, want: gate.Pass},
		"a slow answer of 20 s is not a stall":                 {canary: change(stalled(120), func(l *gate.Life) { l.Busy, l.Running = ago(20), 1 }), stable: well, want: gate.Pass},
		"with all traffic on the canary its stall fails":       {canary: stalled(60), stable: idle, ttft: time.Second, want: gate.Fail},
		"without a known TTFT an idle stable is no measure":    {canary: stalled(60), stable: idle, want: gate.Pass},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interval := tt.interval
			if interval == 0 {
				interval = 2 * time.Second
			}
			got, why := gate.CheckHealth(gate.HealthLimits{ScrapeInterval: interval, MaxRestarts: tt.restarts},
				gate.HealthObservation{Now: now, Canary: tt.canary, Stable: tt.stable, StableTTFT: tt.ttft})
			if got != tt.want || !strings.Contains(why, tt.why) || (got == gate.Pass) != (why == "") {
				t.Errorf("%s, %q; want %s, %q", got, why, tt.want, tt.why)
			}
		})
	}
}

func TestLifeFollowsGlances(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	life := gate.Life{Ready: 1}
	steps := []struct {
		rule    string
		glance  gate.Glance
		scraped int
		busy    int // -1: not busy
		moved   int // -1: never
	}{
		{"a first failed look starts the clock", gate.Glance{At: at(0)}, 0, -1, -1},
		{"a failed look does not move it", gate.Glance{At: at(2), Running: 9, Progress: true}, 0, -1, -1},
		{"an idle arm is not busy", gate.Glance{At: at(4), Scraped: true}, 4, -1, -1},
		{"requests make it busy", gate.Glance{At: at(6), Scraped: true, Running: 2}, 6, 6, -1},
		{"it stays busy since then", gate.Glance{At: at(8), Scraped: true, Running: 3, Progress: true}, 8, 6, 8},
		{"a missed scrape changes nothing", gate.Glance{At: at(10)}, 8, 6, 8},
		{"without requests it is not busy", gate.Glance{At: at(12), Scraped: true, Progress: true}, 12, -1, 12},
	}
	for _, s := range steps {
		life = life.Look(s.glance)
		want := gate.Life{Ready: 1, Running: life.Running, Scraped: at(s.scraped)}
		if s.busy >= 0 {
			want.Busy = at(s.busy)
		}
		if s.moved >= 0 {
			want.Progress = at(s.moved)
		}
		if life != want {
			t.Errorf("%s: %+v, want %+v", s.rule, life, want)
		}
	}
}
