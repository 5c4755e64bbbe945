//go:build soak

package dataplane

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// rollingRestarts replaces two replicas of the body router in turn, under load.
// Envoy learns of them as providers do: by health checks.
func rollingRestarts(t *testing.T, mode string, restarts int) {
	const workers = 4
	// It must be longer than the gateway takes to look elsewhere: on a busy
	// machine, 700ms were not enough for health checks every 100ms.
	const window = "--drain-window=1500ms"
	u := startUpstream(t)
	replicas := []*routerProcess{startChild(t, window), startChild(t, window)}
	g := startChain(t, chain{
		Routers: addresses(replicas[0].address, replicas[1].address), RouterMode: mode, CheckHealth: true,
		Models: []modelRoute{{"m", u.address}},
	})
	healthy := func(r *routerProcess) func() bool {
		want := fmt.Sprintf("body-router::%s::health_flags::healthy", r.address)
		return func() bool { return strings.Contains(g.page("/clusters"), want) }
	}
	for _, r := range replicas {
		eventually(t, "Envoy sees a replica", healthy(r))
	}
	ctx, stop := context.WithCancel(t.Context())
	var served, failed atomic.Int64
	var group sync.WaitGroup
	bodies := [][]byte{chatOf(100), chatOf(16 << 10), chatOf(256 << 10)}
	for range workers {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				got, err := g.send(g.request(http.MethodPost, "application/json", unsized{strings.NewReader(string(bodies[i%len(bodies)]))}))
				if err != nil || got.code != http.StatusOK || got.echo.Length != len(bodies[i%len(bodies)]) {
					if failed.Add(1) < 10 {
						t.Logf("got %d, %v", got.code, err)
					}
				}
				served.Add(1)
			}
		})
	}
	for i := range restarts {
		r := replicas[i%2]
		before := served.Load()
		r.terminate(t)
		r.start(t)
		eventually(t, "Envoy sees the new replica", healthy(r))
		eventually(t, "requests go on", func() bool { return served.Load() > before+workers })
	}
	stop()
	group.Wait()
	t.Logf("%d restarts, %s: %d of %d requests failed", restarts, mode, failed.Load(), served.Load())
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
}
