package extproc

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// verboseDebug is the reference's verbosity at which we log debug lines.
const verboseDebug = 4

// Command is the command line of an ext_proc server: its own flags, and those of
// the reference that it accepts and has no use for.
type Command struct {
	*pflag.FlagSet
	verbosity int
}

// NewCommand returns the command line of the named program, which writes help to
// stderr, with an example of its flags. Each debug line tells debug.
func NewCommand(name, example, debug string, stderr io.Writer) *Command {
	c := &Command{FlagSet: pflag.NewFlagSet(name, pflag.ContinueOnError)}
	c.SetOutput(stderr)
	c.SortFlags = false
	c.Usage = func() {
		fmt.Fprintf(stderr, "Usage: %s [flags]\n\nExample:\n  %s %s\n\nFlags:\n%s", name, name, example, c.FlagUsages())
	}
	c.IntVarP(&c.verbosity, "v", "v", 2, fmt.Sprintf("verbosity; %d and more logs %s", verboseDebug, debug))
	return c
}

// Accept declares flags that do nothing here: switches, and those with a value.
// Hidden marks them.
func (c *Command) Accept(switches, values []string) {
	for _, name := range switches {
		c.Bool(name, false, "")
		c.Lookup(name).Hidden = true
	}
	for _, name := range values {
		c.StringArray(name, nil, "")
		c.Lookup(name).Hidden = true
	}
}

// Read parses the command line, which holds flags only, and has check look at
// their values. Every error has a hint. With --help it returns pflag.ErrHelp, the
// help being written.
func (c *Command) Read(args []string, check func() error) error {
	err := c.Parse(c.spelled(args))
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case err != nil:
		err = fmt.Errorf("read flags: %w", err)
	case c.NArg() > 0:
		return hint.Errorf(c.Name()+" takes flags only", "unexpected argument %q", c.Arg(0))
	default:
		err = check()
	}
	if hint.Of(err) != "" {
		return err
	}
	return hint.Wrap(err, c.Name()+" --help lists the flags")
}

// spelled writes known long flags as pflag reads them: with two dashes, where
// Go's flag package and early manifests have one, and with a switch's value in
// the same word, which charts render as a word of its own (bbr.flags).
func (c *Command) spelled(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, _, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := c.Lookup(name)
		if len(name) < 2 || flag == nil || !strings.HasPrefix(arg, "-") {
			out = append(out, arg)
			continue
		}
		arg = "--" + strings.TrimLeft(arg, "-")
		if !joined && flag.Value.Type() == "bool" && i+1 < len(args) && (args[i+1] == "true" || args[i+1] == "false") {
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out
}

// Meaningless lists the flags given that do nothing here, sorted.
func (c *Command) Meaningless() []string {
	var out []string
	c.Visit(func(f *pflag.Flag) {
		if f.Hidden {
			out = append(out, "--"+f.Name)
		}
	})
	slices.Sort(out)
	return out
}

// Logger writes log lines to stderr, at the level that was asked for. It names
// the meaningless flags once.
func (c *Command) Logger(stderr io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if c.verbosity >= verboseDebug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if flags := c.Meaningless(); len(flags) > 0 {
		log.Info("flags of the reference that do nothing here", "flags", flags)
	}
	return log
}
