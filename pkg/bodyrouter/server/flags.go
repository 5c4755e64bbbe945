package server

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// options are the command line, checked.
type options struct {
	serving     extproc.Options
	missing     bodyrouter.MissingModel
	maxKeys     int
	verbosity   int
	adapters    adapterOptions
	meaningless []string // flags that were set and do nothing here
}

// verboseDebug is the reference's verbosity at which we log debug lines.
const verboseDebug = 4

// parse reads the command line. getenv gives the default bind address ($POD_IP).
// With --help it returns pflag.ErrHelp, the help being written.
func parse(args []string, stderr io.Writer, getenv func(string) string) (*options, error) {
	o := &options{serving: extproc.DefaultOptions(getenv("POD_IP"), 9004, 9005)}
	fs := pflag.NewFlagSet("body-router", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.SortFlags = false
	var missing string
	fs.StringVar(&missing, "missing-model", string(bodyrouter.PassMissing), "what to do with a JSON or form body that names no model: pass, or reject with 400")
	fs.IntVar(&o.maxKeys, "max-keys", 1024, "top-level keys of a JSON body; 400 above")
	fs.IntVarP(&o.verbosity, "v", "v", 2, fmt.Sprintf("verbosity; %d and more logs why a body was rejected", verboseDebug))
	o.adapters.addFlags(fs, getenv)
	o.serving.AddFlags(fs)
	declareMeaningless(fs)
	if err := fs.Parse(doubleDash(fs, args)); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, err
		}
		return nil, hint.Errorf("body-router --help lists the flags", "read flags: %w", err)
	}
	if fs.NArg() > 0 {
		return nil, hint.Errorf("body-router takes flags only", "unexpected argument %q", fs.Arg(0))
	}
	fs.Visit(func(f *pflag.Flag) {
		if f.Hidden {
			o.meaningless = append(o.meaningless, "--"+f.Name)
		}
	})
	slices.Sort(o.meaningless)
	var err error
	if o.missing, err = bodyrouter.ParseMissingModel(missing); err != nil {
		return nil, err
	}
	if o.maxKeys < 1 {
		return nil, fmt.Errorf("--max-keys %d: less than 1", o.maxKeys)
	}
	if err := o.adapters.validate(); err != nil {
		return nil, err
	}
	return o, o.serving.Validate()
}

// doubleDash writes known long flags given with one dash, as Go's flag package
// and early manifests have them, with two.
func doubleDash(fs *pflag.FlagSet, args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && strings.HasPrefix(arg, "-") && fs.Lookup(name) != nil {
			out[i] = "-" + arg
		}
	}
	return out
}

// declareMeaningless accepts what the reference's charts (v1.0 to v1.5) and
// manifests pass and this server does not need: it works in whatever mode the
// gateway chose, and has no plugins. Hidden marks them.
func declareMeaningless(fs *pflag.FlagSet) {
	for _, name := range []string{"streaming", "tracing", "enable-pprof", "metrics-endpoint-auth", "enable-cert-reload", "zap-devel"} {
		fs.Bool(name, false, "")
		fs.Lookup(name).Hidden = true
	}
	for _, name := range []string{"config-file", "config-text", "log-level", "zap-encoder", "zap-log-level", "zap-stacktrace-level", "zap-time-encoding"} {
		fs.String(name, "", "")
		fs.Lookup(name).Hidden = true
	}
	fs.StringArray("plugin", nil, "")
	fs.Lookup("plugin").Hidden = true
}
