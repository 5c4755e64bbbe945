package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/envoy"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

const (
	adminPort = 9901
	// pushLimit is how long Envoy may take to acknowledge, usually milliseconds.
	pushLimit  = 15 * time.Second
	retryAfter = 200 * time.Millisecond
	// refusedRetry is when a refused configuration is offered again: what Envoy
	// refused may have been a port that another program held.
	refusedRetry = 2 * time.Second
	stopGrace    = 5 * time.Second
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
	Starter    envoy.Starter
	Log        *slog.Logger
}

// Gateway is the controller. Make one with New and call Run once.
type Gateway struct {
	options  Options
	settings xds.Settings
	network  netip.Prefix // of Gateway addresses
	admin    netip.AddrPort
	ready    chan struct{}

	addresses map[types.NamespacedName]netip.Addr
	served    string            // version Envoy holds
	refused   *xds.RefusedError // of the newest version, if Envoy refused it
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
	octets := base.As4()
	return &Gateway{
		options: o,
		settings: xds.Settings{
			BodyRouter:    bodyRouter,
			BodyRouterTLS: o.BodyRouterTLS,
			AccessLog:     filepath.Join(o.LogDir, "access.json"),
			PickerMode:    o.PickerMode,
		},
		network: netip.PrefixFrom(netip.AddrFrom4([4]byte{octets[0], octets[1], 1, 0}), 24),
		admin:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{octets[0], octets[1], 0, 3}), adminPort),
		ready:   make(chan struct{}),
	}, nil
}

// Ready is closed when Envoy first serves what the API server says.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Run serves until ctx ends (then it returns nil) or something it cannot live
// without does: Envoy, or the API server's objects at the start.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
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
	proxy, err := envoy.Start(g.options.Starter, envoy.Options{
		Path: g.options.EnvoyPath, Dir: g.options.Dir, Socket: socket, Admin: g.admin,
		LogPath: filepath.Join(g.options.LogDir, "envoy.log"),
	})
	if err != nil {
		return err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		<-proxy.Done()
		fail(&endedError{fmt.Errorf("envoy ended: %v\n%s", proxy.Err(), proxy.LogTail(5))})
	}()
	err = g.control(ctx, server)
	if stop := proxy.Stop(stopGrace); stop != nil {
		g.options.Log.Warn("Envoy had to be killed", "err", stop)
	}
	<-watched
	return err
}

// endedError is the cause that ends Run when Envoy does.
type endedError struct{ error }

// control watches the objects and keeps Envoy and the statuses up with them.
func (g *Gateway) control(ctx context.Context, server *xds.Server) error {
	changed := make(chan struct{}, 1)
	c, err := watchCluster(ctx, g.options.RESTConfig, func() {
		select {
		case changed <- struct{}{}:
		default: // a sync is due already
		}
	})
	if err != nil {
		return endOf(ctx, err)
	}
	defer c.close()
	for first := true; ; {
		var retry <-chan time.Time
		if err := g.sync(ctx, c, server); err != nil {
			g.options.Log.Info("gateway is not up to date, trying again", "err", err)
			retry = time.After(retryAfter)
		} else if g.refused != nil {
			retry = time.After(refusedRetry)
		} else if first {
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
	objects.Addresses = g.addresses
	ir, statuses := translate.Translate(objects)
	snapshot, err := xds.Render(ir, g.settings)
	if err != nil {
		return err
	}
	if err := g.push(ctx, server, snapshot); err != nil {
		return err
	}
	if g.refused != nil {
		statuses = refusedStatuses(statuses, g.refused)
	}
	return c.writeStatuses(ctx, statuses, g.refused == nil)
}

// push makes Envoy serve a snapshot, unless it does or has refused it before.
func (g *Gateway) push(ctx context.Context, server *xds.Server, snapshot *xds.Snapshot) error {
	if g.served == snapshot.Version && g.refused == nil {
		return nil
	}
	again := g.refused != nil && g.refused.Version == snapshot.Version
	if again && time.Since(g.refusedAt) < refusedRetry {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pushLimit)
	defer cancel()
	start := time.Now()
	err := server.Push(ctx, snapshot)
	var refused *xds.RefusedError
	switch {
	case errors.As(err, &refused):
		if !again {
			g.options.Log.Error("Envoy refused a configuration; the one before keeps serving", "version", refused.Version, "reason", refused.Message)
		}
		g.refused, g.refusedAt = refused, time.Now()
		return nil
	case err != nil:
		return err
	}
	g.served, g.refused = snapshot.Version, nil
	g.options.Log.Debug("Envoy serves a new configuration", "version", snapshot.Version, "took", time.Since(start))
	return nil
}
