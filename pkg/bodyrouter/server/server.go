// Package server is the body router as a program: flags and wiring. Start
// reading at Main; the decisions are in package bodyrouter.
//
// Every flag that the manifests and charts of the reference (v1.0 to v1.5) set
// is accepted. Those with nothing to do here are named once in the log.
package server

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// Main runs the body router until ctx ends, and returns nil after its drain. Logs
// go to stderr.
func Main(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := parse(args, stderr, os.Getenv)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	extproc.LimitMemory(o.serving.BodyBudgetBytes, 0)
	return run(ctx, o, stderr, func(*extproc.Server) {})
}

// run serves. started sees the server once its sockets are open.
func run(ctx context.Context, o *options, stderr io.Writer, started func(*extproc.Server)) error {
	log := o.command.Logger(stderr)
	registry := prometheus.NewRegistry()
	handler := &bodyrouter.Handler{
		Missing: o.missing,
		MaxKeys: o.maxKeys,
		Metrics: bodyrouter.NewMetrics(registry),
		Log:     log,
	}
	watcher, err := o.adapters.watcher(log)
	if err != nil {
		return err
	}
	if watcher != nil {
		handler.Bases = watcher
	}
	s, err := extproc.Listen(o.serving, log, handler.Open)
	if err != nil {
		return err
	}
	for _, c := range append(s.Collectors(bodyrouter.MetricsNamespace),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer stop()
	if watcher == nil {
		s.SetReady(true)
	} else {
		watcher.Changed = publisher(s, registry)
		follower.Go(func() { watcher.Run(klog.NewContext(following, logr.FromSlogHandler(log.Handler()))) })
	}
	started(s)
	return s.Run(ctx, registry)
}
