package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/envoy"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

const (
	adminPort   = 9901
	metricsPort = 9902
	// pushLimit is how long Envoy may take to acknowledge, usually milliseconds.
	pushLimit  = 15 * time.Second
	retryAfter = 200 * time.Millisecond
	// refusedRetry is when a refused configuration is offered again: what Envoy
	// refused may have been a port that another program held.
	refusedRetry = 2 * time.Second
)

// Options says what to serve and with what.
type Options struct {
	RESTConfig *rest.Config
	EnvoyPath  string
	// Dir holds Envoy's socket and bootstrap file; LogDir, by default Dir/logs,
	// envoy.log and access.json, one line per request.
	Dir    string
	LogDir string
	// Network is the sandbox's "127.N": Envoy's admin pages are at N.0.3:9901,
	// Gateways at N.1.1 and upward.
	Network string
	// BodyRouterAddress is the host:port of the ext_proc body router.
	BodyRouterAddress string
	// BodyRouterTLS says that the body router serves TLS (--secure-serving).
	BodyRouterTLS bool
	// PickerMode is xds.PickerBuffered by default.
	PickerMode xds.PickerMode
	// Defects are wrongs of real providers, for tests; see ParseDefects.
	Defects translate.Defects
	// LowPorts binds listener ports below 1024 where that is allowed; they are
	// served at port + 8000 otherwise.
	LowPorts bool
	// ProvisionPickers makes a picker for every pool whose picker Service does
	// not exist, at Gateways of a class with ControllerNameACK, as ACK does.
	ProvisionPickers bool
	// AccessLogLimit is the size in bytes at which access.json is moved aside,
	// 16 MiB by default.
	AccessLogLimit int64
	Starter        envoy.Starter
	Log            *slog.Logger
}

// Gateway is the controller. Make one with New and call Run once.
type Gateway struct {
	options  Options
	settings xds.Settings
	network  netip.Prefix // of Gateway addresses
	admin    netip.AddrPort
	first    int32 // the lowest port that may be bound; 0 stands for 1024
	ready    chan struct{}

	counters  *counters
	addresses map[types.NamespacedName]netip.Addr
	version   string // that Envoy holds, "" when it holds none
	served    served // and what that was made of
	lost      atomic.Bool
	holds     holds
	said      map[objectKey]string // Envoy's words that were logged
	refused   *xds.RefusedError    // of everything, when no single object was to blame
	refusedAt time.Time
}

// New checks the options.
func New(o Options) (*Gateway, error) {
	base, err := netip.ParseAddr(o.Network + ".0.0")
	if err != nil {
		return nil, fmt.Errorf("read network %q: %w", o.Network, err)
	}
	bodyRouter, err := netip.ParseAddrPort(o.BodyRouterAddress)
	if err != nil {
		return nil, fmt.Errorf("read body router address %q: %w", o.BodyRouterAddress, err)
	}
	if o.LogDir == "" {
		o.LogDir = filepath.Join(o.Dir, "logs")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.AccessLogLimit == 0 {
		o.AccessLogLimit = accessLogLimit
	}
	octets := base.As4()
	admin := netip.AddrFrom4([4]byte{octets[0], octets[1], 0, 3})
	first := int32(0)
	if o.LowPorts {
		if first, err = firstPort(admin); err != nil {
			return nil, fmt.Errorf("find out which ports may be bound: %w", err)
		}
	}
	return &Gateway{
		options: o,
		settings: xds.Settings{
			BodyRouter:    bodyRouter,
			BodyRouterTLS: o.BodyRouterTLS,
			AccessLog:     filepath.Join(o.LogDir, "access.json"),
			PickerMode:    o.PickerMode,
		},
		network:  netip.PrefixFrom(netip.AddrFrom4([4]byte{octets[0], octets[1], 1, 0}), 24),
		admin:    netip.AddrPortFrom(admin, adminPort),
		first:    first,
		ready:    make(chan struct{}),
		counters: newCounters(),
		served:   servedOf(translate.Objects{}),
		holds:    holds{},
		said:     map[objectKey]string{},
	}, nil
}

// Ready is closed when Envoy first serves what the API server says.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// MetricsAddress is where the counters are served, at /metrics.
func (g *Gateway) MetricsAddress() netip.AddrPort {
	return netip.AddrPortFrom(g.admin.Addr(), metricsPort)
}

// Run serves until ctx ends (then it returns nil) or something it cannot live
// without does: an Envoy that never served, or the API server's objects at the
// start. An Envoy that ends later is started again.
func (g *Gateway) Run(ctx context.Context) error {
	for _, dir := range []string{g.options.Dir, g.options.LogDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make gateway folder: %w", err)
		}
	}
	socket := filepath.Join(g.options.Dir, "xds.sock")
	server, err := xds.Listen(context.WithoutCancel(ctx), socket)
	if err != nil {
		return err
	}
	defer server.Close()
	closeMetrics, err := g.counters.serve(g.MetricsAddress())
	if err != nil {
		return err
	}
	defer closeMetrics()

	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // a sync is due already
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var parts sync.WaitGroup
	parts.Go(func() { g.counters.follow(ctx, g.settings.AccessLog, g.options.AccessLogLimit, g.options.Log) })
	parts.Go(func() {
		err := g.keepEnvoy(ctx, socket, func() { server.Lost(); g.lost.Store(true); notify() })
		if err != nil {
			stop(&endedError{err})
		}
	})
	err = g.control(ctx, server, changed, notify)
	stop(nil)
	parts.Wait()
	return err
}

// endedError is the cause that ends Run when Envoy does.
type endedError struct{ error }

// control watches the objects and keeps Envoy and the statuses up with them.
func (g *Gateway) control(ctx context.Context, server *xds.Server, changed <-chan struct{}, notify func()) error {
	c, err := watchCluster(ctx, g.options.RESTConfig, notify)
	if err != nil {
		return endOf(ctx, err)
	}
	defer c.close()
	for first := true; ; {
		var retry <-chan time.Time
		err := g.sync(ctx, c, server)
		switch {
		case err != nil && ctx.Err() == nil:
			g.options.Log.Info("gateway is not up to date, trying again", "err", err)
			retry = time.After(retryAfter)
		case g.refused != nil || len(g.holds) > 0:
			retry = time.After(refusedRetry)
		}
		if first && err == nil && g.refused == nil {
			first = false
			close(g.ready)
		}
		select {
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			return endOf(ctx, nil)
		}
	}
}

// endOf is why work under ctx stopped: Envoy's end, err while ctx has not
// ended, and nil when the caller ended it.
func endOf(ctx context.Context, err error) error {
	var ended *endedError
	switch {
	case errors.As(context.Cause(ctx), &ended):
		return ended.error
	case ctx.Err() != nil:
		return nil
	default:
		return err
	}
}

// sync brings Envoy, then the statuses, to what the objects say now.
func (g *Gateway) sync(ctx context.Context, c *cluster, server *xds.Server) error {
	objects, err := c.objects()
	if err != nil {
		return err
	}
	g.addresses = assignAddresses(g.addresses, objects, g.network)
	objects.Addresses, objects.FirstPort, objects.Defects = g.addresses, g.first, g.options.Defects
	_, statuses := translate.Translate(objects)
	if g.lost.Load() { // said now: serve waits for the next Envoy
		if err := c.writeGateways(ctx, lostStatuses(statuses)); err != nil {
			return err
		}
	}
	if err := g.serve(ctx, server, objects); err != nil {
		return err
	}
	_, statuses = translate.Translate(objects)
	var provisioned error
	if g.options.ProvisionPickers {
		provisioned = g.provision(ctx, c, statuses)
	}
	heldStatuses(statuses, g.holds)
	if g.refused != nil {
		statuses = refusedStatuses(statuses, g.refused)
	}
	return errors.Join(provisioned, c.writeStatuses(ctx, statuses, g.refused == nil))
}

// serve makes Envoy serve the objects, all but those it refuses.
func (g *Gateway) serve(ctx context.Context, server *xds.Server, objects translate.Objects) error {
	if g.lost.Swap(false) {
		g.version = ""
	}
	retry := time.Since(g.refusedAt) >= refusedRetry
	if retry { // what Envoy refused may have been a port that another program held
		maps.DeleteFunc(g.holds, func(key objectKey, _ hold) bool { return key.kind == kindGateway })
	}
	refused, err := g.offer(ctx, server, objects, g.holds.current(objects))
	if err != nil {
		return err
	}
	if refused == nil {
		g.refused = nil
		if len(g.holds) == 0 {
			clear(g.said)
		}
		return nil
	}
	known := g.refused != nil && g.refused.Version == refused.Version
	g.refusedAt = time.Now()
	isolated, err := g.isolate(ctx, server, objects)
	switch {
	case err != nil:
		return err
	case isolated:
		g.refused = nil
		return nil
	case !known:
		g.options.Log.Error("Envoy refused a configuration; the one before keeps serving", "version", refused.Version, "reason", refused.Message)
	}
	g.refused = refused
	return nil
}

// push makes Envoy hold a snapshot.
func (g *Gateway) push(ctx context.Context, server *xds.Server, snapshot *xds.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, pushLimit)
	defer cancel()
	start := time.Now()
	err := server.Push(ctx, snapshot)
	var refused *xds.RefusedError
	if errors.As(err, &refused) {
		g.counters.refusals.Inc()
	}
	if err != nil {
		return err
	}
	g.version = snapshot.Version
	g.options.Log.Debug("Envoy serves a new configuration", "version", snapshot.Version, "took", time.Since(start))
	return nil
}
