package command

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

const downLimit = 30 * time.Second

func (c *cli) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take a sandbox down and remove its files",
		Example: `  kubectl infer sandbox down
  kubectl infer sandbox down --name rehearsal`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := sandbox.NewHome()
			if err != nil {
				return err
			}
			state, err := home.Find(c.chosen())
			if err != nil {
				return err
			}
			if err := takeDown(cmd.Context(), home, state); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOut, "sandbox %q is down\n", state.Name)
			return nil
		},
	}
}

// takeDown asks the supervisor to end and, when it does not, kills it: its
// children die with it, and its folder is cleared.
func takeDown(ctx context.Context, home sandbox.Home, state sandbox.State) error {
	if err := signalSupervisor(state, syscall.SIGTERM); err != nil {
		return err
	}
	killAt := time.Now().Add(downLimit)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if _, held := home.Look(state.Name); !held {
			_, _, err := home.List() // clears what is left of a killed one
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for sandbox %q to go down: %w", state.Name, ctx.Err())
		case now := <-tick.C:
			if now.After(killAt) {
				if err := signalSupervisor(state, syscall.SIGKILL); err != nil {
					return err
				}
				killAt = now.Add(downLimit)
			}
		}
	}
}

func signalSupervisor(state sandbox.State, signal syscall.Signal) error {
	if state.PID <= 0 {
		return hint.Errorf("try again", "sandbox %q is only just starting", state.Name)
	}
	if err := syscall.Kill(state.PID, signal); err != nil && err != syscall.ESRCH {
		return hint.Errorf("ask the user who started it", "signal the supervisor of sandbox %q (pid %d): %w", state.Name, state.PID, err)
	}
	return nil
}
