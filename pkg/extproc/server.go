package extproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// streamWindow is how many bytes a gateway may send before they are read.
const streamWindow = mib

// Server serves ext_proc, health and metrics. Make it with Listen, then Run it.
type Server struct {
	extprocv3.UnimplementedExternalProcessorServer
	opts   Options
	log    *slog.Logger
	open   func(context.Context) Processor
	budget *Budget
	health *healthServer

	grpc, plain                *grpc.Server
	onGRPC, onHealth, onMetric net.Listener

	streams  atomic.Int64
	newest   atomic.Int64  // when the newest stream began, in ns since 1970
	draining chan struct{} // closed when the drain window is over
}

// Listen opens the server's sockets. open makes the Processor of each stream;
// its context ends with the stream. The server is not ready: see SetReady.
func Listen(opts Options, log *slog.Logger, open func(context.Context) Processor) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		opts: opts, log: log, open: open,
		budget:   NewBudget(opts.BodyBudgetBytes),
		health:   newHealthServer(),
		draining: make(chan struct{}),
	}
	transport, err := s.grpcOptions()
	if err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(transport...)
	s.plain = grpc.NewServer(grpc.MaxConcurrentStreams(100))
	extprocv3.RegisterExternalProcessorServer(s.grpc, s)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	healthv1.RegisterHealthServer(s.plain, s.health)
	if err := s.listen(); err != nil {
		s.closeListeners()
		return nil, err
	}
	return s, nil
}

func (s *Server) grpcOptions() ([]grpc.ServerOption, error) {
	out := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(int(s.opts.MaxBodyBytes) + messageOverhead),
		grpc.MaxConcurrentStreams(s.opts.MaxStreams),
		// Windows of a fixed size: gRPC would measure the connection instead, with
		// pings beside the bodies, and let one stream have 16 MiB unread.
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(4 * streamWindow),
		// Envoy's keepalive pings must not be taken for abuse.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 5 * time.Second, PermitWithoutStream: true,
		}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
	if !s.opts.SecureServing {
		return out, nil
	}
	config, err := tlsConfig(&s.opts, time.Now)
	if err != nil {
		return nil, err
	}
	if s.opts.CertPath == "" {
		s.log.Warn("serving a self-signed certificate; gateways cannot verify it", "flag", "--cert-path")
	}
	return append(out, grpc.Creds(credentials.NewTLS(config))), nil
}

func (s *Server) listen() error {
	for _, l := range []struct {
		into *net.Listener
		port int
		flag string
	}{
		{&s.onGRPC, s.opts.GRPCPort, "grpc-port"},
		{&s.onHealth, s.opts.HealthPort, "grpc-health-port"},
		{&s.onMetric, s.opts.MetricsPort, "metrics-port"},
	} {
		listener, err := net.Listen("tcp", net.JoinHostPort(s.opts.BindAddress, strconv.Itoa(l.port)))
		if err != nil {
			return hint.Wrap(err, fmt.Sprintf("another process may hold the port, or the address is not this machine's; see --bind-address and --%s", l.flag))
		}
		*l.into = listener
	}
	return nil
}

func (s *Server) closeListeners() {
	for _, l := range []net.Listener{s.onGRPC, s.onHealth, s.onMetric} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// Addresses returns where ext_proc, health and metrics are served.
func (s *Server) Addresses() (extProc, health, metrics string) {
	return s.onGRPC.Addr().String(), s.onHealth.Addr().String(), s.onMetric.Addr().String()
}

// SetReady tells the health services whether requests may be sent here; the page
// /readyz beside the metrics shows the details, one a line. It has no effect on
// the services once the server drains.
func (s *Server) SetReady(ready bool, details ...string) { s.health.setReady(ready, details...) }

// Run serves until ctx ends, then drains (see the package comment) and returns
// nil. It returns an error when a socket fails before. Call it once.
func (s *Server) Run(ctx context.Context, metrics prometheus.Gatherer) error {
	relaxCollector()
	extProc, health, page := s.Addresses()
	s.log.Info("serving", "extproc", extProc, "health", health, "metrics", page, "tls", s.opts.SecureServing)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 3)
	serve := func(what string, run func() error) {
		// Serve says so when the stop was faster than its start.
		if err := run(); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			failed <- fmt.Errorf("serve %s: %w", what, err)
			return
		}
		failed <- nil
	}
	go serve("ext_proc", func() error { return s.grpc.Serve(s.onGRPC) })
	go serve("health", func() error { return s.plain.Serve(s.onHealth) })
	go serve("metrics", func() error { return servePages(serving, s.onMetric, metrics, s.health) })

	var errs []error
	running := 3
	select {
	case err := <-failed:
		errs, running = append(errs, err), 2
		s.grpc.Stop()
	case <-ctx.Done():
		s.drain(failed)
	}
	s.plain.Stop()
	stop()
	for range running {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// drain stops the ext_proc service without cutting a request or a response.
func (s *Server) drain(failed chan error) {
	s.log.Info("draining", "streams", s.streams.Load(), "window", s.opts.DrainWindow)
	began := time.Now()
	s.health.retire()
	s.awaitQuiet(began, failed)
	close(s.draining)
	s.health.stop()
	left := time.Until(began.Add(s.opts.DrainWindow + s.opts.DrainTimeout))
	deadline := time.AfterFunc(left, func() {
		s.log.Warn("drain deadline passed, cutting streams", "streams", s.streams.Load())
		s.grpc.Stop()
	})
	defer deadline.Stop()
	s.grpc.GracefulStop()
}

// awaitQuiet returns when the gateways have had their time to look elsewhere.
func (s *Server) awaitQuiet(began time.Time, failed chan error) {
	for {
		left := s.opts.untilQuiet(began, time.Unix(0, s.newest.Load()), time.Now())
		if left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case err := <-failed:
			timer.Stop()
			failed <- err // a socket is gone: no use waiting
			return
		}
	}
}
