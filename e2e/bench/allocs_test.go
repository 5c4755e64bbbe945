package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/score"
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
	open := func() extproc.Processor { return handler.Open(t.Context()) }
	const aRequest, aPiece = 45, 7
	for _, m := range []mode{fullDuplex, buffered} {
		for _, size := range []int{1 << 10, 1 << 20} {
			t.Run(fmt.Sprintf("%s of %s", m, sizeName(size)), func(t *testing.T) {
				s, err := request(m, body(escapes, size))
				if err != nil {
					t.Fatal(err)
				}
				boundAllocations(t, open, decoded(t, s), aRequest, aPiece)
			})
		}
	}
}

// TestAllocationsOfAPick is the same for the picker, with its defaults: the number
// of Pods makes no difference, and a piece of a streamed answer costs little.
func TestAllocationsOfAPick(t *testing.T) {
	scorers, err := score.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, pods := range []int{8, 400} {
		p := picker.New(picker.Options{Scorers: scorers})
		snapshot := &picker.Snapshot{}
		for i := range pods {
			e := picker.NewEndpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 8000))
			e.Live.Report(picker.Load{At: time.Now().Add(time.Hour)})
			e.Live.Serve(picker.Models{model: false})
			snapshot.Endpoints = append(snapshot.Endpoints, e)
		}
		p.SetSnapshot(snapshot)
		handler := &picker.Handler{
			Picker: p, Metrics: picker.NewMetrics(prometheus.NewRegistry(), "default", "pool", 10),
			Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler), Deadline: time.Minute,
			Prefixes: prefix.New(prefix.Options{Block: 512, Blocks: prefix.MaxBlocks, Entries: 4096, Window: time.Hour}),
		}
		for _, chunks := range []int{1, 200} {
			t.Run(fmt.Sprintf("%d Pods, answer of %d", pods, chunks), func(t *testing.T) {
				s, err := request(fullDuplex, body(oneMessage, 1<<10))
				if err != nil {
					t.Fatal(err)
				}
				answer, err := response(chunks)
				if err != nil {
					t.Fatal(err)
				}
				const aRequest, aPiece = 60, 5
				boundAllocations(t, handler.NewProcessor, decoded(t, append(s, answer...)), aRequest, aPiece)
			})
		}
	}
}

// boundAllocations holds a conversation to so many allocations, and so many for
// each message of it.
func boundAllocations(t *testing.T, open func() extproc.Processor, messages []*extprocv3.ProcessingRequest, aRequest, aPiece float64) {
	t.Helper()
	budget := extproc.NewBudget(1 << 30)
	got := testing.AllocsPerRun(20, func() {
		c := extproc.NewConversation(open(), 1<<24, budget)
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
}

// decoded returns the messages of a script.
func decoded(t *testing.T, s script) []*extprocv3.ProcessingRequest {
	t.Helper()
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
