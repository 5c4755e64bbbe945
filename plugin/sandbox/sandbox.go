// Package sandbox hands `kubectl infer sandbox …` to kubectl-infer-sandbox, a
// program of its own, so that the plugin links neither Envoy's protocols nor a
// gateway and stays small. Its verbs are documented by itself.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const program = "kubectl-infer-sandbox"

// New is the `sandbox` command. All its arguments go to the program.
func New(genericiooptions.IOStreams) *cobra.Command {
	return &cobra.Command{
		Use:                "sandbox",
		Short:              "Run a whole inference gateway on this machine: real API server, real Envoy, simulated model servers",
		Example:            "  kubectl infer sandbox up --detach\n  kubectl infer sandbox run -- kubectl get pods -A",
		DisableFlagParsing: true,
		ValidArgsFunction:  complete,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := find()
			if err != nil {
				return err
			}
			err = syscall.Exec(path, append([]string{path}, args...), os.Environ())
			return fmt.Errorf("run %s: %w", path, err)
		},
	}
}

// complete asks the program, which completes itself.
func complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	path, err := find()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	words := append(append([]string{cobra.ShellCompRequestCmd}, args...), typed)
	out, err := exec.CommandContext(cmd.Context(), path, words...).Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	directive, bad := strconv.Atoi(strings.TrimPrefix(lines[len(lines)-1], ":"))
	if err != nil || bad != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return lines[:len(lines)-1], cobra.ShellCompDirective(directive)
}

// find looks beside our own resolved executable, as in a krew store, then on
// PATH.
func find() (string, error) {
	if self, err := os.Executable(); err == nil {
		if resolved, err := filepath.EvalSymlinks(self); err == nil {
			self = resolved
		}
		beside := filepath.Join(filepath.Dir(self), program)
		if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	path, err := exec.LookPath(program)
	if errors.Is(err, exec.ErrNotFound) {
		return "", hint.Errorf("put "+program+" beside kubectl-infer or on PATH (`make build` makes both; it runs on Linux only)",
			"%s was not found", program)
	}
	if err != nil {
		return "", fmt.Errorf("find %s: %w", program, err)
	}
	return path, nil
}
