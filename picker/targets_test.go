package picker

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// split puts one rule in force: chat goes to stable and canary by these weights.
func (g *gateway) split(stable, canary uint64) {
	table := rewrite.NewTable([]rewrite.Object{{Rules: []rewrite.Rule{{
		Model: "chat", Targets: []rewrite.Target{{Model: "stable", Weight: stable}, {Model: "canary", Weight: canary}},
	}}}})
	g.handler.Rewrites = func() *rewrite.Table { return table }
	g.handler.Random = rand.New(rand.NewPCG(5, 6)).Uint64N
}

// ask sends one request for chat and returns the model it was sent on with, or the
// reason of the refusal.
func (g *gateway) ask() string {
	g.conv = extproc.NewConversation(g.handler.NewProcessor(), 1<<20, extproc.NewBudget(1<<30))
	defer g.conv.Close(extproc.Finished)
	g.mode(procv3.ProcessingMode_BUFFERED, procv3.ProcessingMode_STREAMED)
	const body = `{"model":"chat"}`
	answers := append(g.request(nil, false), g.requestBody(body)...)
	if r := answers[len(answers)-1].GetImmediateResponse(); r != nil {
		return r.GetDetails()
	}
	text, _ := sent(answers, body)
	return strings.Split(text, `"`)[3]
}

func TestAnUnloadedTargetKeepsItsShareAsAnError(t *testing.T) {
	t.Parallel()
	const n = 1000
	silent := endpoint(1)
	silent.Live.Report(Load{At: time.Unix(1000, 0)})
	doubted := serving(1, "stable")
	doubted.Live.Doubt()
	stale := serving(1, "stable")
	stale.Live.Report(Load{At: time.Unix(990, 0)})
	leaving := serving(1, "canary")
	leaving.Terminating = true
	for rule, tc := range map[string]struct {
		endpoints []Endpoint
		canary    string // what becomes of its share
	}{
		"loaded on one of two":                                {[]Endpoint{serving(0, "stable"), serving(1, "stable", "canary")}, "canary"},
		"loaded on none":                                      {[]Endpoint{serving(0, "stable"), serving(1, "stable")}, "target_not_loaded"},
		"loaded only on a pod that leaves":                    {[]Endpoint{serving(0, "stable"), leaving}, "target_not_loaded"},
		"one pod has never told its models":                   {[]Endpoint{serving(0, "stable"), silent}, "canary"},
		"one pod did not tell them when it was last asked":    {[]Endpoint{serving(0, "stable"), doubted}, "canary"},
		"one pod told them, and has not been heard of lately": {[]Endpoint{serving(0, "stable"), stale}, "canary"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, tc.endpoints...)
			g.split(90, 10)
			got := map[string]int{}
			for range n {
				got[g.ask()]++
			}
			// Four standard deviations of 1000 draws at 10 %: 38.
			if share := got[tc.canary]; share < 62 || share > 138 || got["stable"] != n-share {
				t.Errorf("of %d requests at 90 to 10: %v", n, got)
			}
		})
	}
}

func TestAnUnloadedTargetShows(t *testing.T) {
	t.Parallel()
	e := serving(0, "stable")
	g := newGateway(t, e)
	g.split(0, 1)
	g.handler.Metrics.CountUnloaded(g.registry, "ns", "pool", g.handler)
	var log strings.Builder
	g.handler.Log = slog.New(slog.NewTextHandler(&log, nil))

	if got := g.ask(); got != "target_not_loaded" {
		t.Fatalf("got %s", got)
	}
	g.expect("infer_picker_target_unloaded", `
		infer_picker_target_unloaded{namespace="ns",pool="pool",target_model="canary"} 1
		infer_picker_target_unloaded{namespace="ns",pool="pool",target_model="stable"} 0`)
	g.expect("infer_picker_requests_finished_total", `
		infer_picker_requests_finished_total{code="503",model="chat",namespace="ns",pool="pool",target_model="canary"} 1`)
	if got := g.counter("infer_picker_picks_total", "reason", "target_not_loaded"); got != 1 {
		t.Errorf("%v picks by that reason", got)
	}
	states := g.handler.logTargets(nil)
	states = g.handler.logTargets(states)
	e.Live.Serve(Models{"stable": false, "canary": true})
	g.handler.logTargets(g.handler.logTargets(states))
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 ||
		!strings.Contains(lines[0], "WARN") || !strings.Contains(lines[0], "target=canary") || !strings.Contains(lines[1], "loaded again") {
		t.Errorf("two changes, and in the log:\n%s", log.String())
	}
	if got := g.ask(); got != "canary" {
		t.Errorf("got %s", got)
	}
}

func TestEndpointsAreCountedByTheModelsTheyAnswerTo(t *testing.T) {
	t.Parallel()
	leaving := serving(2, "stable")
	leaving.Terminating = true
	g := newGateway(t, serving(0, "stable"), serving(1, "stable", "canary"), leaving)
	g.handler.Metrics.CountServed(g.registry, "ns", "pool", g.picker)
	g.expect("infer_picker_model_endpoints", `
		infer_picker_model_endpoints{model="canary",namespace="ns",pool="pool"} 1
		infer_picker_model_endpoints{model="stable",namespace="ns",pool="pool"} 2`)
}

func TestAPoolWithoutReadyPodsIsRefusedForThatReason(t *testing.T) {
	t.Parallel()
	e := serving(0, "stable")
	e.Ready = false
	g := newGateway(t, e)
	g.split(1, 1)
	if got := g.ask(); got != "none_ready" {
		t.Errorf("got %s", got)
	}
	if g.picker.Unloaded("canary") {
		t.Error("what no ready pod was asked for is not known to be unloaded")
	}
}
