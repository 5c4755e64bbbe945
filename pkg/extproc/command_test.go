package extproc

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for rule, tt := range map[string]struct {
		args        []string
		port        int
		meaningless []string
		debug       bool
		err, hint   string
	}{
		"two dashes":                     {args: []string{"--port=5"}, port: 5},
		"one dash, as Go's flags":        {args: []string{"-port", "5"}, port: 5},
		"a value that looks like flags":  {args: []string{"--given", "-x", "--port=5"}, port: 5, meaningless: []string{"--given"}},
		"flags without a use are told":   {args: []string{"--switch=false", "--given=a", "--given=b"}, meaningless: []string{"--given", "--switch"}},
		"a switch's value apart":         {args: []string{"--switch", "false", "-port", "5"}, port: 5, meaningless: []string{"--switch"}},
		"verbosity 3 is not debug":       {args: []string{"--v", "3"}},
		"verbosity 4 is":                 {args: []string{"-v=4"}, debug: true},
		"an unknown flag":                {args: []string{"--prot=5"}, err: "unknown flag: --prot", hint: "server --help lists the flags"},
		"no number":                      {args: []string{"--port=x"}, err: "--port", hint: "server --help lists the flags"},
		"a bad value":                    {args: []string{"--port=6"}, err: "--port 6: taken", hint: "server --help lists the flags"},
		"a bad value with a better hint": {args: []string{"--port=7"}, err: "--port 7: taken", hint: "take 8"},
		"an argument":                    {args: []string{"serve"}, err: `unexpected argument "serve"`, hint: "server takes flags only"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			c := NewCommand("server", "--port=5", "everything", io.Discard)
			port := c.Int("port", 0, "")
			c.Accept([]string{"switch"}, []string{"given"})
			err := c.Read(tt.args, func() error {
				switch *port {
				case 6:
					return errors.New("--port 6: taken")
				case 7:
					return hint.Errorf("take 8", "--port 7: taken")
				}
				return nil
			})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || hint.Of(err) != tt.hint {
					t.Errorf("got %v, hint %q", err, hint.Of(err))
				}
				return
			}
			var said bytes.Buffer
			c.Logger(&said).Debug("detail")
			if err != nil || *port != tt.port || !slices.Equal(c.Meaningless(), tt.meaningless) || strings.Contains(said.String(), "detail") != tt.debug {
				t.Errorf("got %v, port %d, without a use %q, log %q", err, *port, c.Meaningless(), said.String())
			}
			if named := strings.Contains(said.String(), "do nothing here"); named != (len(tt.meaningless) > 0) {
				t.Errorf("log %q", said.String())
			}
		})
	}
}

func TestHelpShowsOnlyFlagsWithAUse(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	c := NewCommand("server", "--port=5", "everything", &said)
	c.Accept([]string{"switch"}, []string{"given"})
	if err := c.Read([]string{"--help"}, nil); !errors.Is(err, pflag.ErrHelp) || strings.Contains(said.String(), "switch") || !strings.Contains(said.String(), "verbosity") || !strings.Contains(said.String(), "  server --port=5\n") {
		t.Errorf("got %v, said %q", err, said.String())
	}
}
