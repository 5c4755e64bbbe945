package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/picker/pool"
	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// Main runs the endpoint picker until ctx ends and its streams are drained; then
// it returns nil. Log lines and help go to stderr.
func Main(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := parse(args, stderr, os.Getenv)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	log := o.command.Logger(stderr)
	if len(o.unused) > 0 {
		log.Warn("parts of the configuration file without effect in this picker", "parts", o.unused)
	}
	extproc.LimitMemory(o.serving.BodyBudgetBytes, o.memory())
	var source endpoints
	if len(o.endpoints) == 0 {
		if source, err = watchPool(o, log, os.Getenv("KUBECONFIG")); err != nil {
			return err
		}
	} else {
		source = fixed(o)
	}
	return run(ctx, o, log, source)
}

// memory is what the picker keeps beside bodies, in bytes: the blocks it remembers,
// and room for the objects it follows and the pages it reads.
func (o *options) memory() int64 {
	return int64(o.prefixes.Entries)*prefix.EntryBytes + int64(o.workers)*o.limits.Bytes
}

// world is what an API server tells a picker.
type world struct {
	endpoints *picker.Picker
	rules     atomic.Pointer[rewrite.Table]
}

// endpoints fills a world until ctx ends and calls synced once it has.
type endpoints func(ctx context.Context, w *world, synced func())

// fixed serves the addresses of --endpoints.
func fixed(o *options) endpoints {
	return func(ctx context.Context, w *world, synced func()) {
		snapshot := &picker.Snapshot{}
		for _, address := range o.endpoints {
			snapshot.Endpoints = append(snapshot.Endpoints, picker.NewEndpoint(address))
		}
		w.endpoints.SetSnapshot(snapshot)
		synced()
		<-ctx.Done()
	}
}

// watchPool follows the InferencePool of the flags.
func watchPool(o *options, log *slog.Logger, kubeconfig string) (endpoints, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, hint.Wrap(err, "set KUBECONFIG, or pick without an API server: --endpoints ip:port,…")
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build core client: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build dynamic client: %w", err)
	}
	return func(ctx context.Context, w *world, synced func()) {
		ctx = klog.NewContext(ctx, logr.FromSlogHandler(log.Handler()))
		var running sync.WaitGroup
		seen := make(chan struct{}, 2) // one for the pool, one for the rules
		see := func() { seen <- struct{}{} }
		follow := &pool.Watcher{
			Pools: objects, Core: core, Group: o.group, Namespace: o.namespace, Name: o.pool, Fixed: o.fixed,
			Publish: w.endpoints.SetSnapshot, Synced: see, Log: log,
		}
		rules := &rewrite.Watcher{
			Discovery: core.Discovery(), Dynamic: objects, Namespace: o.namespace,
			Pool: rewrite.Pool{Group: o.group, Name: o.pool}, Publish: w.rules.Store, Synced: see,
			Clock: clock.RealClock{}, Log: log,
		}
		running.Go(func() { follow.Run(ctx) })
		running.Go(func() { rules.Run(ctx) })
		for range cap(seen) {
			select {
			case <-seen:
			case <-ctx.Done():
			}
		}
		if ctx.Err() == nil {
			synced()
		}
		running.Wait()
	}, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("load in-cluster configuration: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// run wires the parts and serves until ctx ends and the drain is over.
func run(ctx context.Context, o *options, log *slog.Logger, source endpoints) error {
	p := picker.New(picker.Options{
		Staleness: o.staleness, Scorers: o.scorers, ShedQueue: o.shedQueue, ShedKVCache: o.shedKVCache, ShedBelow: o.shedBelow,
	})
	w := &world{endpoints: p}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	handler := &picker.Handler{
		Picker: p, Clock: clock.RealClock{}, Log: log,
		Metrics:  picker.NewMetrics(registry, o.namespace, o.pool, o.maxModels),
		Rewrites: w.rules.Load, Endpoints: o.maxChoice, Deadline: o.deadline, TrustHeaders: o.trust,
	}
	if o.weights["prefix"] > 0 {
		handler.Prefixes = prefix.New(o.prefixes)
	}
	log.Info("choosing by", "weights", o.weights, "shed_below", o.shedBelow, "shed_queue", o.shedQueue, "shed_kv_cache", o.shedKVCache)
	handler.Metrics.CountUnloaded(registry, o.namespace, o.pool, handler)
	handler.Metrics.CountServed(registry, o.namespace, o.pool, p)
	handler.Metrics.CountReady(registry, o.namespace, o.pool, p)
	handler.Metrics.CountUnanswered(registry, o.namespace, o.pool, handler.Clock.Now)
	server, err := extproc.Listen(o.serving, log, func(context.Context) extproc.Processor { return handler.NewProcessor() })
	if err != nil {
		return err
	}
	registry.MustRegister(server.Collectors("infer_picker")...)

	// What requests depend on outlives ctx: they are still served in the drain.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		source(background, w, func() {
			log.Info("ready", "namespace", o.namespace, "pool", o.pool, "endpoints", p.Snapshot().Ready())
			server.SetReady(true)
		})
	})
	running.Go(func() { handler.FollowTargets(background, o.interval) })
	client := scrapeClient(o)
	defer client.CloseIdleConnections()
	running.Go(func() { scraper(o, p, client, registry, log).Run(background) })
	return server.Run(ctx, registry)
}

func scrapeClient(o *options) *http.Client {
	client := scrape.NewClient()
	if transport, ok := client.Transport.(*http.Transport); ok {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: o.insecure} //nolint:gosec // a flag, as the reference has it
	}
	return client
}

func scraper(o *options, p *picker.Picker, client *http.Client, registry prometheus.Registerer, log *slog.Logger) *pool.Scraper {
	scrapes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "infer_picker_scrapes_total", Help: "Scrapes of model servers by outcome.",
		ConstLabels: prometheus.Labels{"namespace": o.namespace, "pool": o.pool},
	}, []string{"outcome"})
	for _, outcome := range pool.Outcomes() {
		scrapes.WithLabelValues(outcome)
	}
	registry.MustRegister(scrapes)
	return &pool.Scraper{
		Endpoints: func() []picker.Endpoint { return p.Snapshot().Endpoints },
		Source:    o.source, Interval: o.interval, Workers: o.workers, Limits: o.limits,
		Client: client, Clock: clock.RealClock{}, Log: log,
		Count: func(outcome string) { scrapes.WithLabelValues(outcome).Inc() },
	}
}
