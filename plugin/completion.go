package plugin

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// completer is the program that kubectl runs to complete "kubectl infer …": it
// gets the words typed, and answers as cobra's hidden command __complete does
// (kubectl's pkg/cmd/plugin, PluginCompletion).
const completer = "kubectl_complete-infer"

// completing is args as they are meant: called as kubectl_complete-infer, by a
// link for example, we are the completer. kubectl takes kubectl-infer-sandbox on
// the PATH for a plugin of its own, with a completer of its own name.
func completing(args []string) []string {
	meant := []string{"kubectl-infer", cobra.ShellCompRequestCmd}
	switch strings.TrimSuffix(filepath.Base(args[0]), ".exe") {
	case completer:
	case completer + "-sandbox":
		meant = append(meant, "sandbox")
	default:
		return args
	}
	return append(meant, args[1:]...)
}

func newCompletion(streams genericiooptions.IOStreams) *cobra.Command {
	kinds := []string{"kubectl", "bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion kubectl|bash|zsh|fish|powershell",
		Short: "Print what makes a shell complete commands, flags and live names",
		Long: `Print what makes a shell complete commands, flags and live names.

"kubectl infer <TAB>" is completed by kubectl's own completion, which asks a program
called kubectl_complete-infer on the PATH: "completion kubectl" prints it. A link of
that name to kubectl-infer does the same, and one called
kubectl_complete-infer-sandbox for the sandbox's verbs. The other words print a script for the
program kubectl-infer itself, to be sourced by that shell.`,
		Example: `  # kubectl infer <TAB>, in every shell that completes kubectl
  kubectl infer completion kubectl > ~/bin/kubectl_complete-infer && chmod +x ~/bin/kubectl_complete-infer

  # kubectl-infer <TAB>
  source <(kubectl infer completion bash)
  kubectl infer completion zsh > "${fpath[1]}/_kubectl-infer"
  kubectl infer completion fish > ~/.config/fish/completions/kubectl-infer.fish
  kubectl infer completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: kinds,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.With(exit.Usage, hint.Errorf("kubectl infer completion kubectl", "name one of %s", strings.Join(kinds, ", ")))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root, out := cmd.Root(), streams.Out; args[0] {
			case "kubectl":
				_, err := out.Write([]byte("#!/bin/sh\nexec kubectl infer " + cobra.ShellCompRequestCmd + " \"$@\"\n"))
				return err
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return exit.With(exit.Usage, hint.Errorf("kubectl infer completion kubectl", "shell %q is none of %s", args[0], strings.Join(kinds, ", ")))
		},
	}
}
