package gateway

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/envoy"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

const (
	// An Envoy that ends is started again after restartAfter, doubled each time
	// up to restartLimit, until one has lived for steady.
	restartAfter = 100 * time.Millisecond
	restartLimit = 10 * time.Second
	steady       = 30 * time.Second

	stopGrace = 5 * time.Second
	logLines  = 5
)

// keepEnvoy runs one Envoy after another until ctx ends (then it returns nil).
// One that ends before the first has served anything is an error: something is
// wrong here that another start would not mend.
func (g *Gateway) keepEnvoy(ctx context.Context, socket string, lost func()) error {
	for wait := restartAfter; ; {
		began := time.Now()
		proxy, err := envoy.Start(g.options.Starter, envoy.Options{
			Path: g.options.EnvoyPath, Dir: g.options.Dir, Socket: socket, Admin: g.admin,
			LogPath: filepath.Join(g.options.LogDir, "envoy.log"),
		})
		if err != nil {
			return err
		}
		if ended := g.watchEnvoy(ctx, proxy); !ended {
			return nil
		}
		lost()
		select {
		case <-g.ready:
		default:
			return fmt.Errorf("envoy ended: %v\n%s", proxy.Err(), proxy.LogTail(logLines))
		}
		if time.Since(began) >= steady {
			wait = restartAfter
		}
		g.counters.restarts.Inc()
		g.options.Log.Error("Envoy ended and is started again", "after", wait, "err", proxy.Err(), "log", proxy.LogTail(logLines))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		wait = min(2*wait, restartLimit)
	}
}

// watchEnvoy reports whether Envoy ended by itself; when ctx ends it stops it.
func (g *Gateway) watchEnvoy(ctx context.Context, proxy *process.Process) (ended bool) {
	select {
	case <-proxy.Done():
		return ctx.Err() == nil
	case <-ctx.Done():
	}
	if err := proxy.Stop(stopGrace); err != nil {
		g.options.Log.Warn("Envoy had to be killed", "err", err)
	}
	return false
}
