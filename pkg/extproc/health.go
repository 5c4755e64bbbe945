package extproc

import (
	"context"
	"sync"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

const livenessService = "liveness"

// readinessServices are the names that gateways and the reference's manifests
// probe to learn whether requests may be sent here.
// Source: endpoint picker protocol (proposal 004), "Health"; conformance base
// manifests for "inference-extension".
func readinessServices() []string {
	return []string{
		"",
		"readiness",
		extprocv3.ExternalProcessor_ServiceDesc.ServiceName,
		"inference-extension",
	}
}

// healthServer answers liveness with SERVING always, the readiness names as told.
type healthServer struct {
	*health.Server
	stopped chan struct{}

	mu      sync.Mutex
	retired bool
}

func newHealthServer() *healthServer {
	h := &healthServer{Server: health.NewServer(), stopped: make(chan struct{})}
	h.SetServingStatus(livenessService, healthv1.HealthCheckResponse_SERVING)
	h.setReady(false)
	return h
}

// setReady sets every readiness name, unless the server has retired.
func (h *healthServer) setReady(ready bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.retired {
		h.set(ready)
	}
}

// retire turns readiness off for good.
func (h *healthServer) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
	h.set(false)
}

func (h *healthServer) set(ready bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if ready {
		state = healthv1.HealthCheckResponse_SERVING
	}
	for _, name := range readinessServices() {
		h.SetServingStatus(name, state)
	}
}

// stop ends all watches, which would hold up a graceful stop.
func (h *healthServer) stop() { close(h.stopped) }

// Watch sends changes until the caller leaves or the server stops.
func (h *healthServer) Watch(r *healthv1.HealthCheckRequest, w healthv1.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	go func() {
		select {
		case <-h.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	return h.Server.Watch(r, watcher{w, ctx})
}

type watcher struct {
	healthv1.Health_WatchServer
	ctx context.Context
}

func (w watcher) Context() context.Context { return w.ctx }
