package server

import (
	"fmt"
	"io"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

// options are the command line, checked.
type options struct {
	command  *extproc.Command
	serving  extproc.Options
	missing  bodyrouter.MissingModel
	maxKeys  int
	adapters adapterOptions
}

// parse reads the command line. getenv gives the default bind address ($POD_IP).
// With --help it returns pflag.ErrHelp, the help being written.
func parse(args []string, stderr io.Writer, getenv func(string) string) (*options, error) {
	o := &options{serving: extproc.DefaultOptions(getenv("POD_IP"), 9004, 9005)}
	c := extproc.NewCommand("body-router", "--cert-path /certs --client-ca-file /gateway-ca/ca.crt --missing-model=reject", "why a body was rejected", stderr)
	var missing string
	c.StringVar(&missing, "missing-model", string(bodyrouter.PassMissing), "what to do with a JSON or form body that names no model: pass, or reject with 400")
	c.IntVar(&o.maxKeys, "max-keys", 1024, "top-level keys of a JSON body; 400 above")
	o.adapters.addFlags(c.FlagSet, getenv)
	o.serving.AddFlags(c.FlagSet)
	c.Accept(meaningless())
	o.command = c
	return o, c.Read(args, func() error { return o.complete(missing) })
}

// complete checks the flags.
func (o *options) complete(missing string) error {
	var err error
	if o.missing, err = bodyrouter.ParseMissingModel(missing); err != nil {
		return err
	}
	if o.maxKeys < 1 {
		return fmt.Errorf("--max-keys %d: less than 1", o.maxKeys)
	}
	if err := o.adapters.validate(); err != nil {
		return err
	}
	return o.serving.Validate()
}

// meaningless are the flags that the reference's charts (v1.0 to v1.5), manifests
// and runners pass and this server does not need: it works in whatever mode the
// gateway chose, and has no plugins.
func meaningless() (switches, values []string) {
	return []string{"streaming", "tracing", "enable-pprof", "metrics-endpoint-auth", "enable-cert-reload", "zap-devel"},
		[]string{"plugin", "config-file", "config-text", "log-level", "zap-encoder", "zap-log-level", "zap-stacktrace-level", "zap-time-encoding"}
}
