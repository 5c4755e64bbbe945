package modelsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// arity is how many arguments a flag takes.
type arity int

const (
	none arity = iota
	one
	many
)

// option is one flag of the command line.
type option struct {
	name  string
	takes arity
	set   func(string) error
	usage string
}

// parseArgs reads a vLLM command line with the simulator's own flags added.
// Unknown flags and their values are named once on stderr and skipped. help is
// true when usage was asked for and printed.
func parseArgs(args []string, getenv func(string) string, stderr io.Writer) (cfg Config, help bool, err error) {
	cfg = DefaultConfig()
	var bind string
	p := parser{cfg: &cfg, options: options(&cfg, &bind)}
	if len(args) > 0 && args[0] == "serve" {
		args = args[1:]
	}
	if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		return cfg, true, usageText(stderr, p.options)
	}
	for len(args) > 0 && err == nil {
		args, err = p.next(args)
	}
	if err != nil {
		return cfg, false, err
	}
	if len(p.unknown) > 0 {
		fmt.Fprintf(stderr, "model-server-sim: flags without meaning here, ignored: %s\n", strings.Join(p.unknown, " "))
	}
	cfg.EnableLoRA = cfg.EnableLoRA || len(cfg.Adapters) > 0
	if len(cfg.ServedNames) == 0 && cfg.Model != "" {
		cfg.ServedNames = []string{cfg.Model}
	}
	cfg.Pod = getenv("POD_NAME")
	cfg.Namespace = getenv("POD_NAMESPACE")
	cfg.Host = cmp.Or(bind, getenv("POD_IP"), cfg.Host)
	return cfg, false, nil
}

type parser struct {
	cfg     *Config
	options []option
	unknown []string
}

// next consumes one flag with its values, or one positional argument.
func (p *parser) next(args []string) ([]string, error) {
	if !isFlag(args[0]) {
		if p.cfg.Model != "" {
			return nil, hint.Errorf("see model-server-sim --help", "model-server-sim: second model %q after %q", args[0], p.cfg.Model)
		}
		p.cfg.Model = args[0]
		return args[1:], nil
	}
	name, value, inline := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
	name = strings.ReplaceAll(name, "_", "-")
	values := following(args[1:])
	if inline {
		values = []string{value}
	}
	i := slices.IndexFunc(p.options, func(o option) bool { return o.name == name })
	if i < 0 {
		p.unknown = append(p.unknown, "--"+name)
		values = p.unknownValues(name, values, inline)
	} else {
		var err error
		if values, err = p.apply(p.options[i], values, inline); err != nil {
			return nil, err
		}
	}
	if inline {
		return args[1:], nil
	}
	return args[1+len(values):], nil
}

// apply sets a known flag and returns the values it took.
func (p *parser) apply(o option, values []string, inline bool) ([]string, error) {
	switch {
	case o.takes == none && !inline:
		values = []string{}
	case o.takes == one && len(values) > 1:
		values = values[:1]
	}
	if o.takes != none && len(values) == 0 {
		return nil, hint.Errorf("see model-server-sim --help", "model-server-sim: --%s needs a value", o.name)
	}
	set := values
	if len(set) == 0 {
		set = []string{"true"}
	}
	for _, v := range set {
		if err := o.set(v); err != nil {
			return nil, hint.Errorf("see model-server-sim --help", "model-server-sim: --%s %q: %w", o.name, v, err)
		}
	}
	return values, nil
}

// unknownValues guesses how many of the arguments after an unknown flag belong
// to it: none after vLLM's switches; all when the model is known; else one,
// so that the model after it is found.
func (p *parser) unknownValues(name string, values []string, inline bool) []string {
	isSwitch := slices.Contains([]string{"trust-remote-code", "enforce-eager", "async-scheduling", "headless"}, name)
	for _, prefix := range []string{"enable-", "disable-", "no-", "use-", "return-"} {
		isSwitch = isSwitch || strings.HasPrefix(name, prefix)
	}
	switch {
	case inline || p.cfg.Model != "" && !isSwitch:
		return values
	case isSwitch:
		return nil
	}
	return values[:min(1, len(values))]
}

// following returns the arguments before the next flag.
func following(args []string) []string {
	if i := slices.IndexFunc(args, isFlag); i >= 0 {
		return args[:i]
	}
	return args
}

// isFlag tells a flag from a value; "-1" is a value.
func isFlag(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && (arg[1] < '0' || arg[1] > '9')
}

func usageText(w io.Writer, all []option) error {
	lines := []string{
		"model-server-sim MODEL [flags]: a simulated vLLM server",
		"",
		"Other vLLM flags are accepted and ignored.",
		"",
	}
	for _, o := range all {
		if o.usage != "" {
			lines = append(lines, fmt.Sprintf("  --%-26s %s", o.name, o.usage))
		}
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// The setters turn a value into a field.

func text(p *string) func(string) error {
	return func(s string) error { *p = s; return nil }
}

func boolean(p *bool) func(string) error {
	return func(s string) (err error) { *p, err = strconv.ParseBool(s); return err }
}

func integer[T int | int64 | uint64](p *T) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		*p = T(n)
		return err
	}
}

func number(p *float64) func(string) error {
	return func(s string) (err error) { *p, err = strconv.ParseFloat(s, 64); return err }
}

// duration reads Go's form ("80ms"); a bare number is milliseconds, as in
// llm-d-inference-sim.
func duration(p *time.Duration) func(string) error {
	return func(s string) error {
		if ms, err := strconv.ParseFloat(s, 64); err == nil {
			*p = time.Duration(ms * float64(time.Millisecond))
			return nil
		}
		d, err := time.ParseDuration(s)
		*p = d
		return err
	}
}

// adapterList reads name=path, one JSON object, or a JSON list of them.
func adapterList(p *[]Adapter) func(string) error {
	return func(s string) error {
		var found []Adapter
		switch {
		case strings.HasPrefix(s, "{"):
			found = make([]Adapter, 1)
			if err := json.Unmarshal([]byte(s), &found[0]); err != nil {
				return err
			}
		case strings.HasPrefix(s, "["):
			if err := json.Unmarshal([]byte(s), &found); err != nil {
				return err
			}
		default:
			name, path, _ := strings.Cut(s, "=")
			found = []Adapter{{Name: name, Path: path}}
		}
		for _, a := range found {
			if a.Name == "" {
				return errors.New(`no name; write name=path or {"name": …, "path": …}`)
			}
			if slices.ContainsFunc(*p, func(b Adapter) bool { return a.Name == b.Name }) {
				return fmt.Errorf("adapter %s is named twice", a.Name)
			}
			*p = append(*p, a)
		}
		return nil
	}
}
