package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	accessLogLimit = 16 << 20
	logLook        = 250 * time.Millisecond
	// readSize bounds what one look takes into memory at a time.
	readSize = 1 << 20

	metricsTimeout = 5 * time.Second
)

// counters say how the data plane fares. They carry no labels.
type counters struct {
	registry   *prometheus.Registry
	requests   prometheus.Counter
	mismatches prometheus.Counter
	unpicked   prometheus.Counter
	restarts   prometheus.Counter
	refusals   prometheus.Counter
}

func newCounters() *counters {
	c := &counters{registry: prometheus.NewRegistry()}
	add := func(name, help string) prometheus.Counter {
		counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "infer_gateway_" + name, Help: help})
		c.registry.MustRegister(counter)
		return counter
	}
	c.requests = add("requests_total", "Requests that ended, from the access log.")
	c.mismatches = add("mismatches_total", "Requests that another endpoint served than the picker asked for: a wrong picker, or a stale endpoint.")
	c.unpicked = add("unpicked_total", "Requests to a pool that no picker chose an endpoint for.")
	c.restarts = add("envoy_restarts_total", "How often Envoy ended and was started again.")
	c.refusals = add("refusals_total", "Configurations that Envoy refused.")
	return c
}

// serve answers /metrics until the returned function is called.
func (c *counters) serve(address netip.AddrPort) (func(), error) {
	l, err := net.Listen("tcp", address.String())
	if err != nil {
		return nil, fmt.Errorf("listen for the gateway's metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	return func() { server.Close(); <-served }, nil
}

// follow counts the lines of an access log as Envoy writes them, and keeps the
// file below limit with one older file beside it, until ctx ends.
func (c *counters) follow(ctx context.Context, path string, limit int64, log *slog.Logger) {
	reader := &logReader{path: path, limit: limit}
	ticker := time.NewTicker(logLook)
	defer ticker.Stop()
	warned := false
	for {
		err := reader.look(func(line []byte) { c.count(line, log) })
		if err != nil && !warned && !errors.Is(err, os.ErrNotExist) {
			log.Warn("the access log cannot be followed", "err", err)
			warned = true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// count reads one line.
func (c *counters) count(line []byte, log *slog.Logger) {
	var entry struct{ Type, Route, Cluster, Asked, Served string }
	if json.Unmarshal(line, &entry) != nil || entry.Type != "DownstreamEnd" {
		return // a request that still runs, or half a line
	}
	c.requests.Inc()
	switch {
	case entry.Served != "" && entry.Asked == "":
		c.unpicked.Inc()
	case entry.Served != "" && !slices.Contains(strings.Split(entry.Asked, ","), entry.Served):
		c.mismatches.Inc()
		log.Warn("a request was not served where its picker asked", "route", entry.Route, "cluster", entry.Cluster, "asked", entry.Asked, "served", entry.Served)
	}
}

// logReader reads a growing file from where it stopped.
type logReader struct {
	path   string
	limit  int64
	offset int64
	rest   []byte // of a line that is not whole yet
}

func (r *logReader) look(line func([]byte)) error {
	f, err := os.OpenFile(r.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer := make([]byte, readSize)
	for {
		n, err := f.ReadAt(buffer, r.offset)
		r.offset += int64(n)
		r.lines(buffer[:n], line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r.path, err)
		}
	}
	if r.offset <= r.limit {
		return nil
	}
	return r.turn(f)
}

func (r *logReader) lines(chunk []byte, line func([]byte)) {
	for {
		head, tail, whole := bytes.Cut(chunk, []byte("\n"))
		if !whole {
			if len(r.rest)+len(head) <= readSize {
				r.rest = append(r.rest, head...)
			}
			return
		}
		line(append(r.rest, head...))
		r.rest, chunk = r.rest[:0], tail
	}
}

// turn copies the log aside and empties it. Envoy holds it open for appending,
// so the file itself must stay; what it writes in between is lost.
func (r *logReader) turn(f *os.File) error {
	to, err := os.OpenFile(r.path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("move the access log aside: %w", err)
	}
	_, err = io.Copy(to, io.NewSectionReader(f, max(0, r.offset-r.limit), r.limit))
	if err = errors.Join(err, to.Close(), f.Truncate(0)); err != nil {
		return fmt.Errorf("move the access log aside: %w", err)
	}
	r.offset, r.rest = 0, r.rest[:0]
	return nil
}
