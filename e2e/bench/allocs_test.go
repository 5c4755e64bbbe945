package main

import (
	"fmt"
	"log/slog"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// TestAllocationsOfARequest bounds the allocations between a decoded message and
// its answers: a fixed number for a request, and few for each piece of its body.
func TestAllocationsOfARequest(t *testing.T) {
	handler := &bodyrouter.Handler{
		Missing: bodyrouter.PassMissing, MaxKeys: 64,
		Metrics: bodyrouter.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}
	const aRequest, aPiece = 45, 7
	for _, m := range []mode{fullDuplex, buffered} {
		for _, size := range []int{1 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%s of %s", m, sizeName(size)), func(t *testing.T) {
				messages := decoded(t, m, body(escapes, size))
				budget := extproc.NewBudget(1 << 30)
				got := testing.AllocsPerRun(20, func() {
					c := extproc.NewConversation(handler.Open(t.Context()), 1<<24, budget)
					for _, message := range messages {
						if _, err := c.Receive(message); err != nil {
							t.Fatal(err)
						}
						c.Sent()
					}
					c.Close(extproc.Finished)
				})
				want := aRequest + aPiece*float64(len(messages))
				if t.Logf("%.0f allocations, %d messages", got, len(messages)); got > want {
					t.Errorf("%.0f allocations for %d messages, want at most %.0f", got, len(messages), want)
				}
			})
		}
	}
}

// decoded returns the messages of one request.
func decoded(t *testing.T, m mode, body []byte) []*extprocv3.ProcessingRequest {
	t.Helper()
	s, err := request(m, body)
	if err != nil {
		t.Fatal(err)
	}
	var out []*extprocv3.ProcessingRequest
	for _, step := range s {
		for _, raw := range step.send {
			message := &extprocv3.ProcessingRequest{}
			if err := proto.Unmarshal(raw, message); err != nil {
				t.Fatal(err)
			}
			out = append(out, message)
		}
	}
	return out
}
