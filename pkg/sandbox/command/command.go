package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// NameVariable names the sandbox that verbs without --name act on; `run` sets it.
const NameVariable = "KUBECTL_INFER_SANDBOX"

// Exit codes; `run` adds those of its COMMAND.
const (
	ExitOK    = 0
	ExitError = 1
	ExitUsage = 2
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// exitError ends the program with a code and, unless err is set, without a word.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// Main runs the command line and returns the exit code. The end of ctx takes
// down what `up` and `run` brought up.
func Main(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	root := New(streams)
	root.SetArgs(args)
	return report(streams.ErrOut, root.ExecuteContext(ctx))
}

func report(w io.Writer, err error) int {
	var exit *exitError
	var usage usageError
	code := ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		if exit.err == nil {
			return exit.code
		}
		code = exit.code
	case errors.As(err, &usage):
		code = ExitUsage
	}
	fmt.Fprintf(w, "error: %v\n", err)
	if advice := hint.Of(err); advice != "" {
		fmt.Fprintf(w, "hint: %s\n", advice)
	}
	return code
}

// cli is what every verb has.
type cli struct {
	genericiooptions.IOStreams
	name string // --name
}

// New makes the command `kubectl infer sandbox`.
func New(streams genericiooptions.IOStreams) *cobra.Command {
	c := &cli{IOStreams: streams}
	root := &cobra.Command{
		Use:   "kubectl-infer-sandbox",
		Short: "A whole inference gateway on this machine, without containers",
		Long: `Brings up a real etcd, a real kube-apiserver and a real Envoy, with the body
router, endpoint pickers and simulated model servers as local processes, so
that a rollout can be rehearsed before it is done for real.

Exit codes: 0 done, 1 error, 2 usage; run passes on its COMMAND's.`,
		Example: `  kubectl infer sandbox up --detach
  export KUBECONFIG=$(kubectl infer sandbox status --name default -o json | jq -r '.[0].kubeconfig')
  kubectl apply -k manifests/example
  kubectl infer sandbox load --model qwen=1 --rate 20 --duration 30s
  kubectl infer sandbox break deployment/qwen-v2 --slow 4
  kubectl infer sandbox down`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl infer sandbox"},
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{hint.Errorf(suggest(cmd, args[0]), "unknown command %q", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.ErrOut)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{hint.Wrap(err, "see "+cmd.CommandPath()+" --help")}
	})
	root.PersistentFlags().StringVar(&c.name, "name", "", "name of the sandbox (default: $"+NameVariable+", else the only one; up: \""+sandbox.DefaultName+"\")")
	root.AddCommand(c.up(), c.down(), c.status(), c.run(), c.load(), c.breaks(), c.logs(), c.assets())
	return root
}

func suggest(cmd *cobra.Command, word string) string {
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return "see " + cmd.CommandPath() + " --help"
}

// usage wraps a positional-argument check so that its error is one of usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{hint.Wrap(err, "see "+cmd.CommandPath()+" --help")}
		}
		return nil
	}
}

// chosen is the name asked for, or "".
func (c *cli) chosen() string {
	if c.name != "" {
		return c.name
	}
	return os.Getenv(NameVariable)
}

// find returns the sandbox a verb acts on.
func (c *cli) find() (sandbox.State, error) {
	home, err := sandbox.NewHome()
	if err != nil {
		return sandbox.State{}, err
	}
	return home.Find(c.chosen())
}

// findRunning is find for verbs that need a sandbox that answers.
func (c *cli) findRunning() (sandbox.State, error) {
	state, err := c.find()
	if err == nil && state.Phase != sandbox.Running {
		err = hint.Errorf("try again in some seconds, or see kubectl infer sandbox logs supervisor", "sandbox %q is still starting", state.Name)
	}
	return state, err
}

// checkOutput refuses unknown -o values.
func checkOutput(value string) error {
	if value == "" || value == "json" {
		return nil
	}
	return usageError{hint.Errorf("use -o json, or leave it out", "unknown output format %q", value)}
}
