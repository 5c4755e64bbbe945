package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
)

// serveVariable makes the test program a server, so that the kernel accounts for
// it apart from the driver.
const serveVariable = "BENCH_SERVE"

func TestMain(m *testing.M) {
	role := os.Getenv(serveVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	if role == theFloor {
		err = serveFloor(ctx, os.Args[1])
	} else {
		err = server.Main(ctx, os.Args[1:], os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// TestBodyRouterStaysNearTheFloor bounds what a 128 KiB prompt costs in parts of
// what it costs a server that only echoes. The best of several turns counts: a
// busy machine makes a turn dearer, never cheaper.
func TestBodyRouterStaysNearTheFloor(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	contenders := []contender{
		{
			name: theFloor, env: []string{serveVariable + "=" + theFloor},
			argv: func(grpc, _, _ string) []string { return []string{self, "127.0.0.1:" + grpc} },
		},
		{
			name: ours, env: []string{serveVariable + "=" + ours}, sets: header.ModelName,
			argv: func(grpc, health, metrics string) []string {
				return []string{
					self, "--bind-address", "127.0.0.1", "--secure-serving=false",
					"--grpc-port", grpc, "--grpc-health-port", health, "--metrics-port", metrics,
				}
			},
		},
	}
	s := suite{contenders: contenders}
	for _, m := range []mode{fullDuplex, buffered} {
		if err := s.add(string(m), m, body(longString, 128<<10), nil); err != nil {
			t.Fatal(err)
		}
	}
	e := effort{rounds: 6, slice: 150 * time.Millisecond, concurrency: 4, connections: 1}
	all, _, err := compete(t.Context(), s, e, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	best := func(i int, name string) time.Duration {
		return slices.MinFunc(all[i][name], func(a, b sample) int { return int(a.cpu - b.cpu) }).cpu
	}
	echo := best(0, theFloor)
	for i, bound := range []float64{1.3, 1.1} {
		cost := best(i, ours)
		t.Logf("%s: %v, the floor in full duplex %v: ratio %.2f", s.contests[i].label, cost, echo, float64(cost)/float64(echo))
		if float64(cost) > bound*float64(echo) {
			t.Errorf("%s: %v of CPU for a request, more than %.1f times the %v of a server that echoes it",
				s.contests[i].label, cost, bound, echo)
		}
	}
}
