package extproc

import (
	"context"
	"io"
	"net/http"
	"strings"
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
	ready   bool
	details []string
	retired bool
}

func newHealthServer() *healthServer {
	h := &healthServer{Server: health.NewServer(), stopped: make(chan struct{})}
	h.SetServingStatus(livenessService, healthv1.HealthCheckResponse_SERVING)
	h.setReady(false)
	return h
}

// setReady sets every readiness name, unless the server has retired.
func (h *healthServer) setReady(ready bool, details ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.details = details; !h.retired {
		h.set(ready)
	}
}

// ServeHTTP tells a person what the readiness names say, and why.
func (h *healthServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	ready, text := h.ready, strings.Join(h.details, "\n")
	h.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = "not ready\n" + text
	} else {
		text = "ready\n" + text
	}
	_, _ = io.WriteString(w, strings.TrimSuffix(text, "\n")+"\n")
}

// retire turns readiness off for good.
func (h *healthServer) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
	h.set(false)
}

func (h *healthServer) set(ready bool) {
	h.ready = ready
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
