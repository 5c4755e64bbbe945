package modelsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Main runs a simulated model server until ctx ends, then drains. Errors of
// the command line carry a hint. The access log goes to standard output, the
// rest to stderr.
func Main(ctx context.Context, args []string, stderr io.Writer) error {
	cfg, help, err := parseArgs(args, os.Getenv, stderr)
	if err != nil || help {
		return err
	}
	s, err := NewServer(cfg, os.Stdout)
	if err != nil {
		return err
	}
	defer s.Close()
	address := net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve %s: %w", cfg.Model, err)
	}
	fmt.Fprintf(stderr, "model-server-sim: serving %v from %s on http://%s\n", s.cfg.ServedNames, cfg.Model, listener.Addr())
	return s.Serve(ctx, listener)
}

// Serve answers on listener until ctx ends, then refuses new requests and
// lets running ones finish for at most DrainTimeout. It returns nil after a
// clean drain. A hung server has nothing to wait for and stops at once.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	timeout := s.cfg.DrainTimeout
	if f := s.loop.currentFaults(); f.Hang && !f.narrow() {
		timeout = 0
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err := server.Shutdown(drain)
	<-served
	if err == nil {
		return nil
	}
	_ = server.Close() // the drain's error is the one to report
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("drain %s: requests still running after %v", listener.Addr(), timeout)
	}
	return fmt.Errorf("drain %s: %w", listener.Addr(), err)
}
