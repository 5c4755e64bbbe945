package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pickerserver "github.com/kubectl-infer/kubectl-infer/picker/server"
	bodyrouterserver "github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// serveVariable makes the test program a server, so that the kernel accounts for
// it apart from the driver.
const serveVariable = "BENCH_SERVE"

// The roles of the test program.
const (
	asFloor      = "floor"
	asBodyRouter = "body-router"
	asPicker     = "endpoint-picker"
)

func TestMain(m *testing.M) {
	role := os.Getenv(serveVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	switch role {
	case asFloor:
		err = serveFloor(ctx, os.Args[1])
	case asBodyRouter:
		err = bodyrouterserver.Main(ctx, os.Args[1:], os.Stderr)
	case asPicker:
		err = pickerserver.Main(ctx, os.Args[1:], os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// againstFloor is a suite of the floor and one server of ours, both served by the
// test program.
func againstFloor(t *testing.T, role, sets string, args ...string) suite {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return suite{contenders: []contender{
		{
			name: theFloor, env: []string{serveVariable + "=" + asFloor},
			argv: func(grpc, _, _ string) []string { return []string{self, "127.0.0.1:" + grpc} },
		},
		{
			name: ours, env: []string{serveVariable + "=" + role}, sets: sets,
			argv: func(grpc, health, metrics string) []string {
				return append([]string{
					self, "--bind-address", "127.0.0.1", "--secure-serving=false",
					"--grpc-port", grpc, "--grpc-health-port", health, "--metrics-port", metrics,
				}, args...)
			},
		},
	}}
}

// quick is enough to bound a ratio.
func quick() effort {
	return effort{rounds: 6, slice: 150 * time.Millisecond, concurrency: 4, connections: 1}
}

// best is the least CPU time of several turns: a busy machine makes a turn dearer,
// never cheaper.
func (r results) best(name string) time.Duration {
	return slices.MinFunc(r[name], func(a, b sample) int { return int(a.cpu - b.cpu) }).cpu
}

// TestBodyRouterStaysNearTheFloor bounds what a 128 KiB prompt costs in parts of
// what it costs a server that only echoes.
func TestBodyRouterStaysNearTheFloor(t *testing.T) {
	s := againstFloor(t, asBodyRouter, header.ModelName)
	for _, m := range []mode{fullDuplex, buffered} {
		if err := s.add(string(m), m, body(longString, 128<<10), nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := compete(t.Context(), s, quick(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	echo := got.contests[0].best(theFloor)
	for i, bound := range []float64{1.3, 1.1} {
		bounded(t, s.contests[i].label, got.contests[i].best(ours), echo, bound)
	}
}

// TestEndpointPickerStaysNearTheFloor bounds what a choice among 100 endpoints
// with fresh loads costs, and what watching a long answer does. It is 1.1 to 1.5 of
// the floor on a quiet machine: see docs/benchmarks.md.
func TestEndpointPickerStaysNearTheFloor(t *testing.T) {
	p, err := record(true)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := p.serve(t.Context(), slices.Repeat([]string{"127.0.0.1:0"}, 100))
	if err != nil {
		t.Fatal(err)
	}
	s := againstFloor(t, asPicker, header.DestinationEndpoint, "--endpoints", strings.Join(addresses, ","))
	bounds := []float64{3, 2, 2}
	for _, c := range []struct{ size, chunks int }{{1 << 10, 1}, {128 << 10, 1}, {1 << 10, 200}} {
		answer, err := response(c.chunks)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.add(fmt.Sprintf("%s, answer of %d", sizeName(c.size), c.chunks), fullDuplex, body(oneMessage, c.size), answer); err != nil {
			t.Fatal(err)
		}
	}
	got, err := compete(t.Context(), s, quick(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for i, bound := range bounds {
		bounded(t, s.contests[i].label, got.contests[i].best(ours), got.contests[i].best(theFloor), bound)
	}
}

func bounded(t *testing.T, label string, cost, echo time.Duration, bound float64) {
	t.Helper()
	t.Logf("%s: %v, the floor %v: ratio %.2f", label, cost, echo, float64(cost)/float64(echo))
	if float64(cost) > bound*float64(echo) {
		t.Errorf("%s: %v of CPU for a request, more than %.1f times the %v of a server that echoes it", label, cost, bound, echo)
	}
}
