package canary

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestWhatAForecastSays(t *testing.T) {
	t.Parallel()
	plan := rollout.Plan{MinRequests: 200, StepDeadline: 50 * time.Minute}
	ttft, err := gate.Parse("ttft p95 < 1.5x stable")
	if err != nil {
		t.Fatal(err)
	}
	bound := gate.Bound{Expr: ttft, HarmEdge: 0.25, Stable: 0.15, P0: 0.05}
	tests := map[string]struct {
		rate     float64
		requests []float64
		lacking  string
		want     []string
	}{
		"edge, multiple, floor and times": {
			2,
			[]float64{1872, 464, 142},
			"",
			[]string{"above 250ms, 1.67x stable's p95", "5%", "2m", "1872 (16m)", "464 (4m)", "142 (2m)"},
		},
		"what takes longer than the step's deadline is never seen": {
			0.1, []float64{math.Inf(1), 464, 142}, "", []string{"never  never  142 (24m)"},
		},
		"a step that cannot see three times what is allowed is noted": {
			0.08, []float64{1872, 464, 400}, "", []string{"note: 5%: gate", "even three times what it allows before the step's deadline of 50m"},
		},
		"a step that cannot get its requests is noted": {
			0.01, []float64{1872, 464, 142}, "", []string{"note: 5% cannot be judged: 200 canary requests for gate", "take 5.6h, the step's deadline is 50m"},
		},
		"a step of which nothing is known is noted": {
			0, nil, "has seen 3 of 100 stable requests", []string{"not known", "has seen 3 of 100 stable requests in 20s: watch it longer with --watch"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			f := rollout.GateForecast{Share: 5, Bound: bound, Lacking: tt.lacking, Rate: tt.rate, Allowed: 0.05, Requests: tt.requests}
			printForecast(&out, plan, []rollout.GateForecast{f}, 20*time.Second)
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
