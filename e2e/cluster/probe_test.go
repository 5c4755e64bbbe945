package cluster_test

import (
	"strings"
	"testing"
)

// TestTheCanaryIsProbedThroughTheGateway has a route of its own that leads to the
// canary alone, as a preview does.
func TestTheCanaryIsProbedThroughTheGateway(t *testing.T) {
	t.Parallel()
	newRoute(t, "preview", 0, 100)
	newRoute(t, "probed", 100, 0)
	probe := func(model string) output {
		return shared.s.command(t.Context(), quick("probed", "50,100", "--probe=gateway", "--probe-url", "http://"+shared.s.gateway,
			"--probe-header", "x-route=preview", "--probe-model", model)...)
	}
	if out := probe("never-loaded"); out.code != 16 || !strings.Contains(out.stderr, `does not answer for model "never-loaded": 404`) || canaryWeight(getRoute(t, "probed")) != 0 {
		t.Errorf("a model the canary does not have: %v", out)
	}
	if out := probe("qwen"); out.code != 0 || !strings.Contains(out.stderr, "the canary answers through the gateway for every model asked") {
		t.Errorf("a canary that answers: %v", out)
	}
}
