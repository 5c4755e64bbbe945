package plugin_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/plugin"
)

// TestEveryExampleCanBeTyped finds, for each line of each example that calls us,
// the command it is of, and parses its flags.
func TestEveryExampleCanBeTyped(t *testing.T) {
	t.Parallel()
	lines := 0
	for _, cmd := range all(plugin.New("kubectl infer", genericiooptions.NewTestIOStreamsDiscard())) {
		own := false
		for _, line := range typed(cmd.Example) {
			lines++
			// Anew for each line: a flag that was set stays set.
			root := plugin.New("kubectl infer", genericiooptions.NewTestIOStreamsDiscard())
			found, rest, err := root.Find(split(line))
			if err != nil {
				t.Errorf("%s: %q: %v", cmd.CommandPath(), line, err)
				continue
			}
			own = own || strings.HasPrefix(found.CommandPath(), cmd.CommandPath())
			if found.DisableFlagParsing {
				continue // a program of its own
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", cmd.CommandPath(), line, err)
			}
			if found.HasSubCommands() && !found.Runnable() {
				t.Errorf("%s: %q names no verb of %s", cmd.CommandPath(), line, found.CommandPath())
			}
		}
		if cmd.Runnable() && !own {
			t.Errorf("%s is in none of its own examples", cmd.CommandPath())
		}
	}
	if lines < 40 {
		t.Errorf("only %d lines were found", lines)
	}
}

// all is a command with all below it.
func all(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		list = append(list, all(child)...)
	}
	return list
}

// typed are the arguments of every line of an example that calls us, with the
// shell's comments, pipes and redirections taken off.
func typed(example string) []string {
	var lines []string
	for _, line := range strings.Split(strings.ReplaceAll(example, "\\\n", " "), "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "source <(")
		args, ours := strings.CutPrefix(line, "kubectl infer ")
		if !ours {
			continue
		}
		for _, end := range []string{" | ", " > ", " && ", "   # ", ")"} {
			args, _, _ = strings.Cut(args, end)
		}
		lines = append(lines, args)
	}
	return lines
}
