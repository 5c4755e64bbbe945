package extproc

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	mib = 1 << 20
	// messageOverhead is what one message may hold beside a body, in bytes.
	messageOverhead = mib
)

// Options are the limits and addresses of a Server. Start from DefaultOptions.
type Options struct {
	// BindAddress is the address to listen on; "" means all of them.
	BindAddress string
	// GRPCPort serves ext_proc and health, HealthPort health in plain text,
	// MetricsPort Prometheus metrics. 0 takes any free port.
	GRPCPort, HealthPort, MetricsPort int

	// SecureServing is TLS on GRPCPort.
	SecureServing bool
	// CertPath is a folder with tls.crt and tls.key, read again when they
	// change. When it is empty, TLS uses a certificate made at start, if
	// SelfSigned lets it.
	CertPath   string
	SelfSigned bool
	// ClientCAFile is a PEM file, read again when it changes. When it is set,
	// clients on GRPCPort must show a certificate of one of its authorities.
	ClientCAFile string
	// TLSMinVersion is "1.2" or "1.3"; "" means 1.3 with CertPath, else 1.2.
	TLSMinVersion string

	// MaxBodyBytes bounds one request body, BodyBudgetBytes all of them.
	MaxBodyBytes, BodyBudgetBytes int64
	// MaxStreams bounds the concurrent streams of one connection.
	MaxStreams uint32

	// BodyTimeout is the time a request body may take, BodyIdleTimeout the
	// longest pause inside one in full duplex.
	BodyTimeout, BodyIdleTimeout time.Duration
	// DrainWindow is how long requests are served as before once readiness is
	// gone, and then as long as more of them come, see untilQuiet. DrainTimeout
	// is how long open streams have to finish after it.
	DrainWindow, DrainTimeout time.Duration
}

// DefaultOptions returns the documented defaults for a server with these ports.
func DefaultOptions(bindAddress string, grpcPort, healthPort int) Options {
	return Options{
		BindAddress: bindAddress, GRPCPort: grpcPort, HealthPort: healthPort, MetricsPort: 9090,
		SecureServing: true, SelfSigned: true, // as the reference, whose charts name no certificate
		MaxBodyBytes: 20 * mib, BodyBudgetBytes: 1024 * mib, MaxStreams: 10_000,
		BodyTimeout: time.Minute, BodyIdleTimeout: 10 * time.Second,
		DrainWindow: 5 * time.Second, DrainTimeout: 20 * time.Second,
	}
}

// AddFlags declares a flag for every option, with its present value as default.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.BindAddress, "bind-address", o.BindAddress, "address to listen on (default: $POD_IP, else all)")
	fs.IntVar(&o.GRPCPort, "grpc-port", o.GRPCPort, "port of the ext_proc service")
	fs.IntVar(&o.HealthPort, "grpc-health-port", o.HealthPort, "port of the plain-text gRPC health service")
	fs.IntVar(&o.MetricsPort, "metrics-port", o.MetricsPort, "port of the metrics page")
	fs.BoolVar(&o.SecureServing, "secure-serving", o.SecureServing, "serve ext_proc over TLS")
	fs.StringVar(&o.CertPath, "cert-path", o.CertPath, "folder with tls.crt and tls.key, read again when they change (default: see --self-signed)")
	fs.BoolVar(&o.SelfSigned, "self-signed", o.SelfSigned, "without --cert-path, serve a certificate made at start, which no gateway can verify; false: refuse to start")
	fs.StringVar(&o.ClientCAFile, "client-ca-file", o.ClientCAFile, "PEM file of authorities; clients must show a certificate of one (default: any client)")
	fs.StringVar(&o.TLSMinVersion, "tls-min-version", o.TLSMinVersion, "lowest TLS version, 1.2 or 1.3 (default: 1.3 with --cert-path, else 1.2, which is all that Envoy offers unasked)")
	fs.Int64Var(&o.MaxBodyBytes, "max-body-bytes", o.MaxBodyBytes, "largest request body; 413 above")
	fs.Int64Var(&o.BodyBudgetBytes, "body-budget-bytes", o.BodyBudgetBytes, "request body bytes held at once by all streams, where a body counts twice in BUFFERED mode; 503 above")
	fs.Uint32Var(&o.MaxStreams, "max-streams", o.MaxStreams, "concurrent streams per connection")
	fs.DurationVar(&o.BodyTimeout, "body-timeout", o.BodyTimeout, "time in which a request body must arrive; 408 after")
	fs.DurationVar(&o.BodyIdleTimeout, "body-idle-timeout", o.BodyIdleTimeout, "longest pause inside a full-duplex request body; 408 after")
	fs.DurationVar(&o.DrainWindow, "drain-window", o.DrainWindow, "time to go on serving after SIGTERM, while gateways look elsewhere; longer, by half of --drain-timeout at most, while new requests come")
	fs.DurationVar(&o.DrainTimeout, "drain-timeout", o.DrainTimeout, "time for open streams to finish, from the end of the drain window")
}

// untilQuiet returns how long to go on serving, at now, a drain that began at
// began; the newest stream began at newest. Nobody tells a server that the
// gateways have heard of its end: a window that is too short for a busy one
// shows in requests that still come. So the window starts anew with each of
// them, for half of DrainTimeout at most: a gateway that has nowhere else to go
// never stops.
func (o *Options) untilQuiet(began, newest, now time.Time) time.Duration {
	quiet := began.Add(o.DrainWindow)
	if o.DrainWindow > 0 && newest.After(began) {
		quiet = newest.Add(o.DrainWindow)
	}
	if last := began.Add(o.DrainWindow + o.DrainTimeout/2); quiet.After(last) {
		quiet = last
	}
	return quiet.Sub(now)
}

// Validate refuses options that cannot work.
func (o *Options) Validate() error {
	for _, port := range []struct {
		flag  string
		value int
	}{{"grpc-port", o.GRPCPort}, {"grpc-health-port", o.HealthPort}, {"metrics-port", o.MetricsPort}} {
		if port.value < 0 || port.value > 65535 {
			return fmt.Errorf("--%s %d: not a port", port.flag, port.value)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"body-timeout", o.BodyTimeout}, {"body-idle-timeout", o.BodyIdleTimeout}} {
		if d.value <= 0 {
			return fmt.Errorf("--%s %v: not positive", d.flag, d.value)
		}
	}
	if _, err := o.tlsVersion(); err != nil {
		return err
	}
	switch {
	case o.MaxBodyBytes <= 0 || o.MaxBodyBytes > 1<<30:
		return fmt.Errorf("--max-body-bytes %d: not between 1 and 1 GiB", o.MaxBodyBytes)
	case o.BodyBudgetBytes < wholeFactor*o.MaxBodyBytes:
		return hint.Errorf("raise --body-budget-bytes, or lower --max-body-bytes",
			"--body-budget-bytes %d: too small for one body of %d bytes, which is held twice in BUFFERED mode", o.BodyBudgetBytes, o.MaxBodyBytes)
	case o.MaxStreams == 0:
		return fmt.Errorf("--max-streams 0: no request could be served")
	case o.DrainWindow < 0 || o.DrainTimeout < 0:
		return fmt.Errorf("--drain-window %v, --drain-timeout %v: negative", o.DrainWindow, o.DrainTimeout)
	case o.SecureServing && o.CertPath == "" && !o.SelfSigned:
		return hint.Errorf("name a folder with tls.crt and tls.key in --cert-path", "--self-signed=false: there is no certificate to serve")
	case o.CertPath != "" && !o.SecureServing:
		return hint.Errorf("drop one of them", "--cert-path %s: unused with --secure-serving=false", o.CertPath)
	case o.ClientCAFile != "" && !o.SecureServing:
		return hint.Errorf("drop one of them", "--client-ca-file %s: unused with --secure-serving=false", o.ClientCAFile)
	}
	return nil
}
