package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

func (c *cli) up() *cobra.Command {
	var detach bool
	var flags settings
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring a sandbox up and keep it until interrupted, or with --detach until `down`",
		Example: `  kubectl infer sandbox up
  kubectl infer sandbox up --detach --name rehearsal`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.options()
			if err != nil {
				return usageError{err}
			}
			name := c.chosen()
			if name == "" {
				name = sandbox.DefaultName
			}
			if detach {
				return c.detach(cmd.Context(), name, flags.arguments())
			}
			return c.foreground(cmd.Context(), name, options)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "return once it is ready and leave it running")
	flags.register(cmd.Flags())
	return cmd
}

func (c *cli) foreground(ctx context.Context, name string, options sandbox.Options) error {
	home, err := sandbox.NewHome()
	if err != nil {
		return err
	}
	ready := false
	err = c.bringUp(ctx, name, options, func(_ context.Context, state sandbox.State) error {
		ready = true
		describe(c.Out, state)
		if isTerminal(c.ErrOut) {
			fmt.Fprintln(c.ErrOut, "Interrupt (Ctrl-C) to take it down.")
		}
		return home.ForgetEnd(name)
	})
	if ctx.Err() != nil && !ready {
		return interrupted(name, err)
	}
	if err == nil {
		fmt.Fprintf(c.ErrOut, "sandbox %q is down\n", name)
		return nil
	}
	if ready {
		err = errors.Join(err, home.RecordEnd(name, err))
	}
	return err
}

// interrupted is the error of a start that the user ended; what the
// interruption broke is no news.
func interrupted(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return fmt.Errorf("sandbox %q was interrupted before it was ready", name)
	}
	return err
}

// bringUp runs a sandbox with this executable as its servers, with progress on stderr.
func (c *cli) bringUp(ctx context.Context, name string, options sandbox.Options, ready func(context.Context, sandbox.State) error) error {
	home, err := sandbox.NewHome()
	if err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find our own executable: %w", err)
	}
	began := time.Now()
	options.Name, options.Home, options.Executable = name, home, executable
	options.Progress = func(format string, args ...any) {
		fmt.Fprintf(c.ErrOut, "%5.1fs  "+format+"\n", append([]any{time.Since(began).Seconds()}, args...)...)
	}
	options.Ready = func(ctx context.Context, state sandbox.State) error {
		fmt.Fprintf(c.ErrOut, "%5.1fs  sandbox %q is ready\n", time.Since(began).Seconds(), name)
		return ready(ctx, state)
	}
	return sandbox.Run(ctx, options)
}

// describe prints what one needs to use a sandbox.
func describe(w io.Writer, state sandbox.State) {
	fmt.Fprintf(w, "kubeconfig  %s\n", state.Kubeconfig)
	fmt.Fprintf(w, "context     %s\n", state.Context)
	fmt.Fprintf(w, "gateway     http://%s\n", state.Gateway)
	fmt.Fprintf(w, "next        export KUBECONFIG=%s && kubectl apply -k manifests/example\n", state.Kubeconfig)
}
