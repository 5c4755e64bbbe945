package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// logLines passes on each line that is written to it.
type logLines chan string

func (l logLines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l <- line
	}
	return len(p), nil
}

// program is a picker that runs in this process.
type program struct {
	t                        *testing.T
	stop                     context.CancelFunc
	done                     chan error
	extproc, health, metrics string
}

// start runs a picker and waits for its addresses.
func start(t *testing.T, run func(ctx context.Context, stderr io.Writer) error) *program {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &program{t: t, stop: stop, done: make(chan error, 1)}
	lines := make(logLines, 10_000)
	go func() { p.done <- run(ctx, lines) }()
	t.Cleanup(stop)
	serving := regexp.MustCompile(`msg=serving extproc=(\S+) health=(\S+) metrics=(\S+)`)
	for deadline := time.After(patience); ; {
		select {
		case line := <-lines:
			if m := serving.FindStringSubmatch(line); m != nil {
				p.extproc, p.health, p.metrics = m[1], m[2], m[3]
				return p
			}
		case err := <-p.done:
			t.Fatalf("ended: %v", err)
		case <-deadline:
			t.Fatal("not serving")
		}
	}
}

// end stops the picker as SIGTERM does and expects a clean return.
func (p *program) end() {
	p.t.Helper()
	p.stop()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("main returned %v", err)
		}
	case <-time.After(patience):
		p.t.Fatal("main did not return")
	}
}

func (p *program) dial(address string) *grpc.ClientConn {
	p.t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func staticArgs(endpoints ...string) []string {
	return []string{
		"--endpoints", strings.Join(endpoints, ","), "--secure-serving=false", "--bind-address=127.0.0.1",
		"--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0",
		"--refresh-metrics-interval=10ms", "--drain-window=10ms",
	}
}

func modelServer(t *testing.T, running int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "vllm:num_requests_running %d\nvllm:num_requests_waiting %d\nvllm:kv_cache_usage_perc 0.1\n", running, running)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// page waits until the metrics page has at least want of a counter.
func (p *program) page(name string, match map[string]string, want float64) {
	p.t.Helper()
	client := scrape.NewClient()
	defer client.CloseIdleConnections()
	var got float64
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		page, err := scrape.Fetch(p.t.Context(), client, "http://"+p.metrics+"/metrics", []string{name}, scrape.Limits{Timeout: patience})
		if err != nil {
			p.t.Fatal(err)
		}
		if got, _ = page.Sum(name, match); got >= want {
			return
		}
	}
	p.t.Fatalf("%s %v is %v, want %v", name, match, got, want)
}

func exchange(t *testing.T, conn *grpc.ClientConn) extprocv3.ExternalProcessor_ProcessClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, &extprocv3.ProcessingRequest{
		ProtocolConfig: &extprocv3.ProtocolConfiguration{
			RequestBodyMode: procv3.ProcessingMode_BUFFERED, ResponseBodyMode: procv3.ProcessingMode_STREAMED,
		},
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{
			Headers: headers("x-gateway-model-name", "qwen"), EndOfStream: true,
		}},
	})
	return stream
}

func headers(name, value string) *corev3.HeaderMap {
	return &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: name, RawValue: []byte(value)}}}
}

func send(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient, m *extprocv3.ProcessingRequest) {
	t.Helper()
	if err := stream.Send(m); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient) *extprocv3.ProcessingResponse {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAPickOverTheWireAndADrainThatCutsNothing(t *testing.T) {
	idle, busy := modelServer(t, 0), modelServer(t, 100)
	p := start(t, func(ctx context.Context, stderr io.Writer) error { return Main(ctx, staticArgs(busy, idle), stderr) })
	p.page("infer_picker_scrapes_total", map[string]string{"outcome": "ok"}, 4)
	p.page("infer_picker_ready_endpoints", map[string]string{"pool": "static"}, 2)

	stream := exchange(t, p.dial(p.extproc))
	answer := receive(t, stream)
	fields := answer.GetDynamicMetadata().GetFields()["envoy.lb"].GetStructValue().GetFields()
	if got := fields["x-gateway-destination-endpoint"].GetStringValue(); got != idle {
		t.Errorf("picked %s, idle is %s", got, idle)
	}
	p.page("infer_picker_requests_started_total", map[string]string{"model": "qwen", "target_model": "qwen"}, 1)

	send(t, stream, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{Headers: headers(":status", "200")},
	}})
	receive(t, stream)
	p.end()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the drain closed a running response's stream with %v", err)
	}
}

func TestNotReadyUntilThePoolWasSeen(t *testing.T) {
	seen := make(chan struct{})
	source := func(ctx context.Context, _ *world, synced func()) {
		<-seen
		synced()
		<-ctx.Done()
	}
	o, err := parse(staticArgs("127.0.0.1:1"), io.Discard, env())
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, func(ctx context.Context, stderr io.Writer) error {
		return run(ctx, o, slog.New(slog.NewTextHandler(stderr, nil)), source)
	})
	client := healthv1.NewHealthClient(p.dial(p.health))
	check := func(service string) healthv1.HealthCheckResponse_ServingStatus {
		answer, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		return answer.GetStatus()
	}
	names := []string{"readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"}
	for _, name := range names {
		if got := check(name); got != healthv1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("%s is %v before the pool was seen", name, got)
		}
	}
	if got := check("liveness"); got != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("liveness is %v", got)
	}
	// With nothing to pick from, a request is refused at once.
	answer := receive(t, exchange(t, p.dial(p.extproc)))
	if got := answer.GetImmediateResponse(); got.GetStatus().GetCode() != 503 || got.GetDetails() != "no_endpoints" {
		t.Errorf("answered %v", answer)
	}
	close(seen)
	for deadline := time.Now().Add(patience); check("readiness") != healthv1.HealthCheckResponse_SERVING; {
		if time.Now().After(deadline) {
			t.Fatal("never ready")
		}
	}
	p.end()
}

func TestMainSaysWhatIsWithoutEffectOnce(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	var out bytes.Buffer
	err := Main(t.Context(), []string{"--pool-name=p", "--tracing", "--zap-encoder=json"}, &out)
	if err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "--tracing --zap-encoder") {
		t.Errorf("log:\n%s", got)
	}
}
