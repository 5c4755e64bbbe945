package server

import (
	"context"
	"io"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// replica runs a picker over the model servers and waits until it has seen them all.
func replica(t *testing.T, servers []string, more ...string) *program {
	t.Helper()
	p := start(t, func(ctx context.Context, stderr io.Writer) error {
		return Main(ctx, append(staticArgs(servers...), more...), stderr)
	})
	p.page("infer_picker_scrapes_total", map[string]string{"outcome": "ok"}, float64(3*len(servers)))
	return p
}

// ask has n requests chosen for, which then run on, and counts the choices.
func (p *program) ask(n int, chosen map[string]int) []extprocv3.ExternalProcessor_ProcessClient {
	p.t.Helper()
	var streams []extprocv3.ExternalProcessor_ProcessClient
	conn := p.dial(p.extproc)
	for range n {
		stream := exchange(p.t, conn)
		fields := receive(p.t, stream).GetDynamicMetadata().GetFields()["envoy.lb"].GetStructValue().GetFields()
		chosen[fields["x-gateway-destination-endpoint"].GetStringValue()]++
		streams = append(streams, stream)
	}
	return streams
}

// Replicas know nothing of each other, and need not: each spreads what it is asked
// for, and when one of them goes the other goes on.
func TestReplicasAreIndependent(t *testing.T) {
	servers := []string{modelServer(t, 0), modelServer(t, 0), modelServer(t, 0), modelServer(t, 0)}
	one, two := replica(t, servers), replica(t, servers)
	const each = 16
	chosen := map[string]int{}
	first := one.ask(each, chosen)
	second := two.ask(each, chosen)
	for _, server := range servers {
		if n := chosen[server]; n < 3 || n > 14 {
			t.Errorf("of %d requests %d went to one of four idle servers: %v", 2*each, n, chosen)
		}
	}
	for _, stream := range first {
		_ = stream.CloseSend()
	}
	one.end()
	chosen = map[string]int{}
	second = append(second, two.ask(each, chosen)...)
	if chosen[""] > 0 {
		t.Errorf("the other replica refused %d requests", chosen[""])
	}
	for _, stream := range second {
		_ = stream.CloseSend()
	}
	two.end()
}

func TestEachReplicaShedsBySaturation(t *testing.T) {
	servers := []string{modelServer(t, 9), modelServer(t, 9)}
	for range 2 {
		p := replica(t, servers, "--shed-below=1")
		answer := receive(t, exchange(t, p.dial(p.extproc))).GetImmediateResponse()
		if answer.GetStatus().GetCode() != 429 || answer.GetDetails() != "shed" {
			t.Errorf("got %v", answer)
		}
		p.end()
	}
}
