package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

// commandGrace is how long COMMAND may take to end after SIGTERM.
const commandGrace = 10 * time.Second

func (c *cli) run() *cobra.Command {
	var flags settings
	cmd := &cobra.Command{
		Use:   "run [FLAGS] -- COMMAND [ARG...]",
		Short: "Bring a sandbox up for one command and take it down with the command's exit code",
		Long: `Brings up a sandbox of its own (with a random name unless --name gives one), runs
COMMAND with KUBECONFIG, ` + NameVariable + ` (its name) and GATEWAY
(address:port) set and with kubectl and kubectl-infer first on PATH, and takes
the sandbox down. The exit code is COMMAND's.`,
		Example: `  kubectl infer sandbox run -- sh -c 'kubectl apply -k manifests/example && curl http://$GATEWAY/'`,
		Args:    usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.options()
			if err != nil {
				return usageError{err}
			}
			if err := c.present(args[0]); err != nil {
				return err
			}
			name := c.name
			if name == "" {
				name = "run-" + rand.String(5)
			}
			return c.runIn(cmd.Context(), name, options, args)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func (c *cli) runIn(ctx context.Context, name string, options sandbox.Options, args []string) error {
	var result error
	err := c.bringUp(ctx, name, options, func(ctx context.Context, state sandbox.State) error {
		result = c.execute(ctx, state, args)
		return sandbox.ErrDown
	})
	if ctx.Err() != nil && result == nil {
		return interrupted(name, err)
	}
	if err != nil { // the sandbox died under the command, whose error is a consequence
		return err
	}
	return result
}

// present refuses a COMMAND that will not be found, before anything is started.
func (c *cli) present(program string) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find our own executable: %w", err)
	}
	path := filepath.Dir(executable) + string(os.PathListSeparator) + os.Getenv("PATH")
	if _, err := lookUp(program, path); err != nil && program != assets.Kubectl {
		return hint.Errorf("give a command that is on PATH, after --", "find %s: %w", program, err)
	}
	return nil
}

// execute runs args in the sandbox's environment, bound to our life.
func (c *cli) execute(ctx context.Context, state sandbox.State, args []string) error {
	env, path, err := c.environment(ctx, state)
	if err != nil {
		return err
	}
	program, err := lookUp(args[0], path)
	if err != nil {
		return fmt.Errorf("find %s: %w", args[0], err)
	}
	command := exec.CommandContext(ctx, program, args[1:]...)
	command.Args[0] = args[0]
	command.Env = env
	command.Stdin, command.Stdout, command.Stderr = c.In, c.Out, c.ErrOut
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = commandGrace
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	// The kernel watches the thread that made the child; it must last as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = command.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return &exitError{code: exit.ExitCode()}
	case errors.As(err, &exit):
		status, _ := exit.Sys().(syscall.WaitStatus)
		return &exitError{code: 128 + int(status.Signal()), err: fmt.Errorf("%s: %w", args[0], err)}
	}
	return fmt.Errorf("run %s: %w", args[0], err)
}

// environment is ours with the sandbox's variables, and its PATH.
func (c *cli) environment(ctx context.Context, state sandbox.State) (env []string, path string, err error) {
	store, err := assets.NewStore()
	if err != nil {
		return nil, "", err
	}
	kubectl, err := store.Find(ctx, assets.Kubectl)
	if err != nil {
		return nil, "", err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("find our own executable: %w", err)
	}
	path = strings.Join([]string{filepath.Dir(kubectl.Path), filepath.Dir(executable), os.Getenv("PATH")}, string(os.PathListSeparator))
	set := []string{"PATH=" + path, "KUBECONFIG=" + state.Kubeconfig, NameVariable + "=" + state.Name, "GATEWAY=" + state.Gateway}
	return slices.Concat(os.Environ(), set), path, nil // the last of a name wins
}

// lookUp is exec.LookPath with a PATH that is not ours.
func lookUp(program, path string) (string, error) {
	if strings.ContainsRune(program, filepath.Separator) {
		return program, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}
