package picker

import (
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func TestARequestWithoutAnAnswerBeyondEveryEdgeShows(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		then func(g *gateway)
		want string
	}{
		"as long as it waits":         {func(*gateway) {}, "1"},
		"not before the largest edge": {func(g *gateway) { g.clock.SetTime(g.clock.Now().Add(-2 * time.Second)) }, "0"},
		"nor once its answer began": {func(g *gateway) {
			g.responseHeaders(nil, false, ":status", "200")
			g.responseBody("token", false)
		}, "0"},
		"nor with a late error": {func(g *gateway) {
			g.responseHeaders(nil, false, ":status", "500")
			g.responseBody("broken", false)
		}, "0"},
		"headers alone are no answer": {func(g *gateway) { g.responseHeaders(nil, false, ":status", "200") }, "1"},
		"nor once it is over":         {func(g *gateway) { g.conv.Close(extproc.Finished) }, "0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, loaded(0, 0, 0, 0))
			g.handler.Metrics.CountUnanswered(g.registry, "ns", "pool", g.clock.Now)
			g.request(nil, false, ":method", "POST", ":path", "/v1/completions", "x-gateway-model-name", "chat")
			g.requestBody(`{"model":"chat","prompt":"hi"}`)
			g.clock.Step(beyondEdges() + time.Second)
			tt.then(g)
			g.expect("infer_picker_requests_unanswered", `
				infer_picker_requests_unanswered{model="chat",namespace="ns",pool="pool",target_model="chat"} `+tt.want)
		})
	}
}
