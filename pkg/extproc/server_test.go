package extproc_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a running Server under test.
type served struct {
	*extproc.Server
	conn   *grpc.ClientConn
	closed chan extproc.Outcome // one per stream
	stop   func()               // begins the drain
	done   chan error           // what Run returned
	health string
	page   string
}

// watched tells when and how its stream ended.
type watched struct {
	*script
	closed chan<- extproc.Outcome
}

func (w watched) Headers(r *extproc.Request) (extproc.Decision, error) {
	if _, ok := r.Header("x-panic"); ok {
		panic("asked to")
	}
	return w.script.Headers(r)
}

func (w watched) Close(o extproc.Outcome) { w.closed <- o }

func serve(t *testing.T, adjust func(*extproc.Options)) *served {
	t.Helper()
	o := extproc.DefaultOptions("127.0.0.1", 0, 0)
	o.MetricsPort, o.SecureServing, o.DrainWindow = 0, false, 0
	adjust(&o)
	s := &served{closed: make(chan extproc.Outcome, 100), done: make(chan error, 1)}
	var err error
	s.Server, err = extproc.Listen(o, slog.New(slog.DiscardHandler), func(context.Context) extproc.Processor {
		return watched{decide(), s.closed}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Collectors("test")...)
	go func() { s.done <- s.Run(ctx, registry) }()
	var address string
	address, s.health, s.page = s.Addresses()
	s.conn, err = grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	s.stop = stop
	t.Cleanup(func() {
		stop()
		_ = s.conn.Close()
		if err := <-s.done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func (s *served) dial(t *testing.T) extprocv3.ExternalProcessor_ProcessClient {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(s.conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func send(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient, messages ...in) {
	t.Helper()
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
}

// hear receives n answers.
func hear(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient, n int) []string {
	t.Helper()
	var out []string
	for range n {
		a, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %q: %v", out, err)
		}
		out = append(out, show(a))
	}
	return out
}

// ends reads to the stream's end and returns its code.
func ends(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient) codes.Code {
	t.Helper()
	if a, err := stream.Recv(); err == nil {
		t.Fatalf("the stream goes on with %s", show(a))
	} else if !errors.Is(err, io.EOF) {
		return status.Code(err)
	}
	return codes.OK
}

// ready waits until the named health service has the state.
func (s *served) awaitHealth(t *testing.T, service string, want healthv1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	watch, err := healthv1.NewHealthClient(s.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: service})
	for err == nil {
		var r *healthv1.HealthCheckResponse
		if r, err = watch.Recv(); err == nil && r.GetStatus() == want {
			return
		}
	}
	t.Fatalf("health of %q: %v", service, err)
}

func TestDrainClosesWhatOwesNothingAndAnswersTheRest(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *extproc.Options) { o.DrainWindow = 2 * time.Second })
	s.SetReady(true)
	s.awaitHealth(t, "readiness", healthv1.HealthCheckResponse_SERVING)

	responding := s.dial(t)
	send(t, responding, buffered(headers(true)), responseHeaders(false), responseBody("x", false))
	hear(t, responding, 3)
	uploading := s.dial(t)
	send(t, uploading, duplex(headers(false)), body("x", false))
	buffering := s.dial(t)
	send(t, buffering, buffered(headers(false)))
	hear(t, buffering, 1)

	s.stop()
	s.awaitHealth(t, "inference-extension", healthv1.HealthCheckResponse_NOT_SERVING)
	s.SetReady(true) // has no effect any more
	s.awaitHealth(t, "readiness", healthv1.HealthCheckResponse_NOT_SERVING)
	s.awaitHealth(t, "liveness", healthv1.HealthCheckResponse_SERVING)
	late := s.dial(t) // still served inside the window
	send(t, late, buffered(headers(true)))
	hear(t, late, 1)

	if code := ends(t, responding); code != codes.OK {
		t.Errorf("a running response ended with %v", code)
	}
	send(t, uploading, body("y", true))
	if got := hear(t, uploading, 3); got[0] != final {
		t.Errorf("a request in flight got %q", got)
	}
	send(t, buffering, body("y", true))
	if got := hear(t, buffering, 1); !strings.HasPrefix(got[0], "body +x-model=m") {
		t.Errorf("a buffered request got %q", got)
	}
	if code := ends(t, buffering); code != codes.OK {
		t.Errorf("an answered request ended with %v", code)
	}
	send(t, uploading, responseHeaders(true)) // full duplex: the response was still to come
	hear(t, uploading, 1)
	if code := ends(t, uploading); code != codes.OK {
		t.Errorf("a full-duplex response ended with %v", code)
	}
	for range 4 {
		if o := <-s.closed; o.Ending != extproc.Drained {
			t.Errorf("closed as %v", o.Ending)
		}
	}
}

func TestConcurrentStreamsAreLimited(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *extproc.Options) { o.MaxStreams = 2 })
	var open []extprocv3.ExternalProcessor_ProcessClient
	for range 2 {
		stream := s.dial(t)
		send(t, stream, buffered(headers(false)))
		hear(t, stream, 1) // the connection knows its limit now
		open = append(open, stream)
	}
	waits, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := extprocv3.NewExternalProcessorClient(s.conn).Process(waits); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a third stream: %v", err)
	}
	send(t, open[0], body("y", true))
	hear(t, open[0], 1)
	if err := open[0].CloseSend(); err != nil {
		t.Fatal(err)
	}
	ends(t, open[0])
	third := s.dial(t)
	send(t, third, buffered(headers(true)))
	hear(t, third, 1)
}

func TestDrainEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *extproc.Options) { o.DrainTimeout = 20 * time.Millisecond })
	stuck := s.dial(t)
	send(t, stuck, buffered(headers(false)))
	hear(t, stuck, 1)
	s.stop()
	if code := ends(t, stuck); code == codes.OK {
		t.Error("an undecided request was closed with OK")
	}
	if o := <-s.closed; o.Ending != extproc.Aborted {
		t.Errorf("closed as %v", o.Ending)
	}
}

func TestStreamEndings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in      []in
		close   bool
		answers int
		code    codes.Code
		ending  string
	}{
		"a half-close after the answer is the end":  {[]in{buffered(headers(true))}, true, 1, codes.OK, "finished"},
		"a half-close inside a request is no OK":    {[]in{duplex(headers(false))}, true, 0, codes.Aborted, "aborted"},
		"a half-close before a request is no OK":    {nil, true, 0, codes.Aborted, "aborted"},
		"a full-duplex body that pauses gets 408":   {[]in{duplex(headers(false)), body("x", false)}, false, 1, codes.OK, "rejected"},
		"a stream without headers gets 408":         {nil, false, 1, codes.OK, "rejected"},
		"a message out of order ends the stream":    {[]in{trailers()}, false, 0, codes.InvalidArgument, "aborted"},
		"a panic costs its own stream only":         {[]in{headers(true, "x-panic", "1")}, false, 0, codes.Internal, "aborted"},
		"a message over the limit is not read":      {[]in{headers(false), body(strings.Repeat("x", 22<<20), true)}, false, 0, codes.ResourceExhausted, "aborted"},
		"a stream ends with the immediate response": {[]in{buffered(headers(false, "content-length", "99999999"))}, false, 1, codes.OK, "rejected"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(o *extproc.Options) {
				if strings.HasSuffix(name, "408") {
					o.BodyIdleTimeout = 20 * time.Millisecond
				}
			})
			stream := s.dial(t)
			for _, m := range tt.in {
				if err := stream.Send(m); err != nil {
					break // the server may have ended it
				}
			}
			if tt.close {
				_ = stream.CloseSend()
			}
			hear(t, stream, tt.answers)
			if code := ends(t, stream); code != tt.code {
				t.Errorf("ended with %v, want %v", code, tt.code)
			}
			if o := <-s.closed; o.Ending.String() != tt.ending {
				t.Errorf("closed as %v, want %v", o.Ending, tt.ending)
			}
		})
	}
}

// TestABodyThatNeverPausesHasItsTimeAsAWhole trickles pieces faster than the
// idle limit until the server answers: only the limit for the whole body can.
func TestABodyThatNeverPausesHasItsTimeAsAWhole(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *extproc.Options) {
		o.BodyTimeout, o.BodyIdleTimeout = 300*time.Millisecond, time.Minute
	})
	stream := s.dial(t)
	send(t, stream, duplex(headers(false)))
	began := time.Now()
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for stream.Send(body("x", false)) == nil {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
	}()
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got := int(answer.GetImmediateResponse().GetStatus().GetCode()); got != http.StatusRequestTimeout {
		t.Errorf("status %d, want 408", got)
	}
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("refused after %v", took)
	}
	if o := <-s.closed; o.Ending != extproc.Rejected {
		t.Errorf("closed as %v", o.Ending)
	}
}

func TestAResetFreesTheBody(t *testing.T) {
	t.Parallel()
	s := serve(t, func(*extproc.Options) {})
	ctx, reset := context.WithCancel(t.Context())
	stream, err := extprocv3.NewExternalProcessorClient(s.conn).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, duplex(headers(false)), body("x", false))
	page := func() string {
		r, err := http.Get("http://" + s.page + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		text, _ := io.ReadAll(r.Body)
		return string(text)
	}
	for !strings.Contains(page(), "test_body_bytes_reserved 2.097152e+07") {
		if t.Context().Err() != nil {
			t.Fatal("the body was never reserved")
		}
	}
	reset()
	if o := <-s.closed; o.Ending != extproc.Aborted {
		t.Errorf("closed as %v", o.Ending)
	}
	if text := page(); !strings.Contains(text, "test_body_bytes_reserved 0") {
		t.Errorf("memory stays reserved:\n%s", text)
	}
}

func TestReadinessPage(t *testing.T) {
	t.Parallel()
	s := serve(t, func(*extproc.Options) {})
	page := func() string {
		r, err := http.Get("http://" + s.page + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		text, _ := io.ReadAll(r.Body)
		return r.Status[:3] + " " + string(text)
	}
	if got := page(); got != "503 not ready\n" {
		t.Errorf("at the start: %q", got)
	}
	s.SetReady(true, "a detail", "another")
	if got := page(); got != "200 ready\na detail\nanother\n" {
		t.Errorf("ready: %q", got)
	}
}

func TestHealthPort(t *testing.T) {
	t.Parallel()
	s := serve(t, func(*extproc.Options) {})
	conn, err := grpc.NewClient("passthrough:///"+s.health, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	check := func(service string) string {
		r, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return r.GetStatus().String()
	}
	names := []string{"liveness", "readiness", "", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension", "unknown"}
	states := func() (out []string) {
		for _, name := range names {
			out = append(out, check(name))
		}
		return out
	}
	const yes, no = "SERVING", "NOT_SERVING"
	if got := states(); !slices.Equal(got, []string{yes, no, no, no, no, "NotFound"}) {
		t.Errorf("before ready: %q", got)
	}
	s.SetReady(true)
	if got := states(); !slices.Equal(got, []string{yes, yes, yes, yes, yes, "NotFound"}) {
		t.Errorf("ready: %q", got)
	}
}
