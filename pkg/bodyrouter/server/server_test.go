package server

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnv(string) string { return "" }

// What the reference's charts and manifests pass.
func TestArgumentsOfTheReferenceAreAccepted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args        []string
		meaningless []string
	}{
		"chart v1.0":        {[]string{"--streaming", "--v", "3"}, []string{"--streaming"}},
		"manifest v1.0":     {[]string{"-streaming", "-v", "3", "-grpc-port=9004"}, []string{"--streaming"}},
		"chart v1.3":        {[]string{"--streaming", "--v=5", "--secure-serving=false"}, []string{"--streaming"}},
		"chart v1.5":        {[]string{"--tracing=false", "--v", "3", "--plugin", "a:b", "--plugin", "c:d:{}", "--metrics-endpoint-auth=true"}, []string{"--metrics-endpoint-auth", "--plugin", "--tracing"}},
		"benchmark":         {[]string{"--secure-serving=false", "--metrics-endpoint-auth=false", "--tracing=false", "--streaming"}, []string{"--metrics-endpoint-auth", "--streaming", "--tracing"}},
		"ports and logging": {[]string{"--grpc-port=1", "--grpc-health-port=2", "--metrics-port=3", "--zap-encoder=json", "--zap-log-level=4", "--log-level", "error"}, []string{"--log-level", "--zap-encoder", "--zap-log-level"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := parse(tt.args, &bytes.Buffer{}, noEnv)
			if err != nil || !slices.Equal(o.meaningless, tt.meaningless) {
				t.Errorf("got %+v, %v", o, err)
			}
		})
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
		"certificates that do not exist": {"--cert-path=/nonexistent", "load certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := Main(ctx, []string{tt.arg}, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
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
	stop()
	if err := <-done; err != nil {
		t.Errorf("Main ended with %v", err)
	}
}

// ask sends one full-duplex request and returns the model header set.
func ask(t *testing.T, conn *grpc.ClientConn, body string) string {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*extprocv3.ProcessingRequest{
		{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{}}}},
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: []byte(body), EndOfStream: true}}},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
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
