package modelsim

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listening starts a server on a loopback port and returns its address, a
// function that ends it, and what Serve returned.
func listening(t *testing.T, change func(*Config)) (url string, stop func(), served <-chan error) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Model, cfg.TTFT, cfg.TPOT = "qwen", 5*time.Millisecond, 5*time.Millisecond
	change(&cfg)
	s, err := NewServer(cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- s.Serve(ctx, listener)
		s.Close()
	}()
	return "http://" + listener.Addr().String(), cancel, result
}

// stream begins a streaming completion and returns after its first event.
func stream(t *testing.T, url string) *bufio.Reader {
	t.Helper()
	body := `{"prompt":"x","stream":true,"max_tokens":30,"ignore_eos":true}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: {") {
		t.Fatalf("first line %q, %v", line, err)
	}
	return lines
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	url, stop, served := listening(t, func(*Config) {})
	lines := stream(t, url)
	stop()
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("the stream ended with %q, %v", rest[max(0, len(rest)-80):], err)
	}
	if err := <-served; err != nil {
		t.Errorf("a clean drain returned %v", err)
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://")); err == nil {
		_ = conn.Close()
		t.Error("a drained server still accepts connections")
	}
}

func TestDrainCutsASlowAnswerAtItsTimeout(t *testing.T) {
	t.Parallel()
	url, stop, served := listening(t, func(c *Config) { c.TPOT, c.DrainTimeout = time.Hour, time.Millisecond })
	lines := stream(t, url)
	stop()
	if err := <-served; err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("drain returned %v", err)
	}
	if _, err := io.ReadAll(lines); err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

func TestAHungServerDrainsAtOnce(t *testing.T) {
	t.Parallel()
	url, stop, served := listening(t, func(c *Config) { c.TPOT, c.DrainTimeout = time.Hour, time.Hour })
	stream(t, url)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/sandbox/faults", strings.NewReader(`{"hang":true}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("hang: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	stop()
	if err := <-served; err == nil {
		t.Error("requests were cut without an error")
	}
}

func TestMainReportsWhatItCannotDo(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"no model":         nil,
		"a port in use":    {"m", "--bind-address", "127.0.0.1", "--port", port},
		"a broken setting": {"m", "--fault-error-rate", "7"},
	} {
		if err := Main(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	started := &signalWriter{wrote: make(chan struct{}, 8)}
	ended := make(chan error, 1)
	go func() { ended <- Main(ctx, []string{"m", "--bind-address", "127.0.0.1", "--port", "0"}, started) }()
	<-started.wrote
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// signalWriter tells of every write.
type signalWriter struct{ wrote chan struct{} }

func (w *signalWriter) Write(p []byte) (int, error) {
	w.wrote <- struct{}{}
	return len(p), nil
}
