package server

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnv(string) string { return "" }

// release is what one release of the reference passes, read from its module:
// config/charts/body-based-routing (templates/bbr.yaml, values.yaml), and for
// bbr.flags, which go through as they are, cmd/bbr and pkg/bbr/server.
type release struct {
	args        []string
	meaningless []string
}

func releases() map[string]release {
	zap := []string{"--zap-devel=false", "--zap-encoder=json", "--zap-log-level=4", "--zap-stacktrace-level=error", "--zap-time-encoding=iso8601"}
	zapNames := []string{"--zap-devel", "--zap-encoder", "--zap-log-level", "--zap-stacktrace-level", "--zap-time-encoding"}
	ports := []string{"--grpc-port=9004", "--grpc-health-port=9005", "--metrics-port=9090"}
	plugins := []string{
		"--plugin", `body-field-to-header:model-extractor:{"fieldName":"model","headerName":"X-Gateway-Model-Name"}`,
		"--plugin", "base-model-to-header:base-model-mapper",
	}
	all14 := slices.Concat(ports, []string{"--streaming=true", "--metrics-endpoint-auth=false", "--secure-serving=false", "--v=5", "--enable-pprof=false"})
	return map[string]release{
		"chart before v1.0":               {[]string{"--streaming", "--log-level", "error"}, []string{"--log-level", "--streaming"}},
		"chart v1.0":                      {[]string{"--streaming", "--v", "3"}, []string{"--streaming"}},
		"chart v1.1":                      {[]string{"--streaming", "--v", "3"}, []string{"--streaming"}},
		"chart v1.2":                      {[]string{"--streaming", "--v", "3"}, []string{"--streaming"}},
		"chart v1.3":                      {[]string{"--streaming", "--v", "3"}, []string{"--streaming"}},
		"chart v1.4":                      {[]string{"--streaming", "--v", "3", "--plugin", `default-bbr:default-bbr:{"no-op":true,"v":0}`}, []string{"--plugin", "--streaming"}},
		"chart v1.5":                      {slices.Concat([]string{"--streaming", "--v", "3"}, plugins, []string{"--tracing=false"}), []string{"--plugin", "--streaming", "--tracing"}},
		"chart v1.5, tracing on":          {slices.Concat([]string{"--streaming", "--v", "3"}, plugins, []string{"--tracing=true"}), []string{"--plugin", "--streaming", "--tracing"}},
		"bbr.flags v1.0 to v1.2, all":     {slices.Concat(ports, []string{"--streaming", "--v=3"}, zap), append([]string{"--streaming"}, zapNames...)},
		"bbr.flags v1.3, all, one dash":   {[]string{"-grpc-port", "9004", "-grpc-health-port", "9005", "-metrics-port", "9090", "-streaming", "-v", "3"}, []string{"--streaming"}},
		"bbr.flags v1.4, all":             {slices.Concat(all14, plugins, zap), slices.Concat([]string{"--enable-pprof", "--metrics-endpoint-auth", "--plugin", "--streaming"}, zapNames)},
		"bbr.flags v1.5, all":             {slices.Concat(all14, plugins, []string{"--tracing"}), []string{"--enable-pprof", "--metrics-endpoint-auth", "--plugin", "--streaming", "--tracing"}},
		"bbr.flags as the chart has them": {[]string{"--streaming", "--metrics-endpoint-auth", "false", "--secure-serving", "true", "--v", "3"}, []string{"--metrics-endpoint-auth", "--streaming"}},
	}
}

func TestChartsOfTheReferenceReachReadiness(t *testing.T) {
	t.Parallel()
	for name, c := range releases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := parse(c.args, &bytes.Buffer{}, noEnv)
			if err != nil || !slices.Equal(o.command.Meaningless(), c.meaningless) {
				t.Fatalf("got %+v, %v", o, err)
			}
			if s := o.serving; s.GRPCPort != 9004 || s.HealthPort != 9005 || s.MetricsPort != 9090 {
				t.Errorf("ports %d, %d, %d", s.GRPCPort, s.HealthPort, s.MetricsPort)
			}
			o.serving.BindAddress, o.serving.GRPCPort, o.serving.HealthPort, o.serving.MetricsPort, o.serving.DrainWindow = "127.0.0.1", 0, 0, 0, 0
			becomesReady(t, o)
		})
	}
}

// becomesReady starts the server and asks what charts and gateways probe: gRPC
// health in plain text, with the names they use, and the metrics page.
func becomesReady(t *testing.T, o *options) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	servers, done := make(chan *extproc.Server, 1), make(chan error, 1)
	go func() { done <- run(ctx, o, &bytes.Buffer{}, func(s *extproc.Server) { servers <- s }) }()
	_, health, page := (<-servers).Addresses()
	conn, err := grpc.NewClient("passthrough:///"+health, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"} {
		r, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
		if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, r, err)
		}
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		r, err := http.Get("http://" + page + path)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("%s: %v, %v", path, r, err)
			continue
		}
		_ = r.Body.Close()
	}
	_ = conn.Close()
	http.DefaultClient.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	o, err := parse(nil, &bytes.Buffer{}, func(string) string { return "127.0.0.9" })
	if err != nil {
		t.Fatal(err)
	}
	s := o.serving
	if s.BindAddress != "127.0.0.9" || s.GRPCPort != 9004 || s.HealthPort != 9005 || s.MetricsPort != 9090 || !s.SecureServing || s.MaxBodyBytes != 20<<20 {
		t.Errorf("serving %+v", s)
	}
}

func TestBadArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ arg, want string }{
		"an unknown flag":                {"--nonsense", "unknown flag"},
		"an argument":                    {"serve", "unexpected argument"},
		"an unknown policy":              {"--missing-model=drop", "--missing-model"},
		"no keys":                        {"--max-keys=0", "--max-keys"},
		"a port out of range":            {"--grpc-port=70000", "--grpc-port"},
		"a budget below one body":        {"--body-budget-bytes=1", "--body-budget-bytes"},
		"a body without a limit":         {"--max-body-bytes=0", "--max-body-bytes"},
		"no time for a body":             {"--body-timeout=0s", "--body-timeout"},
		"an unknown word for maps":       {"--adapter-maps=maybe", "--adapter-maps"},
		"maps without an API server":     {"--kubeconfig=/nonexistent", "Kubernetes configuration"},
		"an unknown TLS version":         {"--tls-min-version=1.1", "--tls-min-version"},
		"client authorities not there":   {"--client-ca-file=/nonexistent", "client authorities"},
		"no streams":                     {"--max-streams=0", "--max-streams"},
		"a negative drain":               {"--drain-window=-1s", "--drain-window"},
		"no certificate to serve":        {"--self-signed=false", "no certificate"},
		"certificates that do not exist": {"--cert-path=/nonexistent", "load certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := Main(ctx, []string{tt.arg}, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || hint.Of(err) == "" {
				t.Errorf("got %v with the hint %q, want %s", err, hint.Of(err), tt.want)
			}
		})
	}
	if err := Main(t.Context(), []string{"--help"}, &bytes.Buffer{}); err != nil {
		t.Errorf("--help: %v", err)
	}
}

func TestServesAndDrains(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{
		"--secure-serving=false", "--bind-address=127.0.0.1", "--grpc-port=0", "--grpc-health-port=0",
		"--metrics-port=0", "--drain-window=0s", "--streaming", "-v=5",
	}, &bytes.Buffer{}, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	servers, done := make(chan *extproc.Server, 1), make(chan error, 1)
	go func() { done <- run(ctx, o, &bytes.Buffer{}, func(s *extproc.Server) { servers <- s }) }()
	address, _, _ := (<-servers).Addresses()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, service := range []string{"", "liveness", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"} {
		r, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
		if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, r, err)
		}
	}
	if got := ask(t, conn, `{"model":"qwen"}`); got != "qwen" {
		t.Errorf("routed to %q", got)
	}
	interleave(t, conn)
	stop()
	if err := <-done; err != nil {
		t.Errorf("Main ended with %v", err)
	}
}

// interleave sends bodies byte by byte, in turns, over one connection: none may
// see another's model.
func interleave(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	streams := make([]extprocv3.ExternalProcessor_ProcessClient, 8)
	for i := range streams {
		var err error
		if streams[i], err = extprocv3.NewExternalProcessorClient(conn).Process(t.Context()); err != nil {
			t.Fatal(err)
		}
		sendTo(t, streams[i], headersMessage())
	}
	const body = `{"x":"a","model":"model-?"}`
	for at := range len(body) {
		for i, stream := range streams {
			piece := strings.Replace(body[at:at+1], "?", strconv.Itoa(i), 1)
			sendTo(t, stream, bodyMessage(piece, at == len(body)-1))
		}
	}
	for i, stream := range streams {
		if got := routed(t, stream); got != "model-"+strconv.Itoa(i) {
			t.Errorf("stream %d was routed to %q", i, got)
		}
	}
}

// ask sends one full-duplex request and returns the model header set.
func ask(t *testing.T, conn *grpc.ClientConn, body string) string {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sendTo(t, stream, headersMessage())
	sendTo(t, stream, bodyMessage(body, true))
	return routed(t, stream)
}

func headersMessage() *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{}},
	}}
}

func bodyMessage(body string, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(body), EndOfStream: end},
	}}
}

func sendTo(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient, m *extprocv3.ProcessingRequest) {
	t.Helper()
	if err := stream.Send(m); err != nil {
		t.Fatal(err)
	}
}

// routed reads one answer and returns the model header that it sets.
func routed(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient) string {
	t.Helper()
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range answer.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders() {
		if set.GetHeader().GetKey() == "X-Gateway-Model-Name" {
			return string(set.GetHeader().GetRawValue())
		}
	}
	return ""
}
