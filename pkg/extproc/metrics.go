package extproc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Collectors are the metrics every ext_proc server has: open streams and body
// bytes reserved, named <prefix>_streams and <prefix>_body_bytes_reserved.
func (s *Server) Collectors(prefix string) []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "_" + name, Help: help}, value)
	}
	return []prometheus.Collector{
		gauge("streams", "ext_proc streams open now.", func() float64 { return float64(s.streams.Load()) }),
		gauge("body_bytes_reserved", "Request body bytes reserved from the budget now.",
			func() float64 { return float64(s.budget.Used()) }),
	}
}

// servePages serves g at /metrics and readiness at /readyz, on l until ctx ends.
// It returns nil then.
func servePages(ctx context.Context, l net.Listener, g prometheus.Gatherer, readiness http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", readiness)
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 8}))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
