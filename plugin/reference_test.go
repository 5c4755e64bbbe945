package plugin_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/plugin"
)

const referencePage = "../docs/reference.md"

// reference is every command as its help has it, in the order of help. Flags that
// all commands take, kubectl's own, are left to kubectl's reference.
func reference() string {
	var page strings.Builder
	page.WriteString("# Commands\n\nMade from the commands by `go test ./plugin -run Reference -update`; a test holds it equal. Every command that asks a\n" +
		"cluster also takes kubectl's connection flags (`-n`, `--context`, `--kubeconfig`, …). `kubectl infer sandbox` hands what follows\n" +
		"to `kubectl-infer-sandbox`, whose commands `kubectl infer sandbox --help` lists.\n")
	describe(&page, plugin.New("kubectl infer", genericiooptions.NewTestIOStreamsDiscard()))
	return page.String()
}

func describe(page *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden {
		return
	}
	if cmd.Runnable() && cmd.HasParent() && !cmd.HasSubCommands() {
		fmt.Fprintf(page, "\n## %s\n\n%s\n", cmd.CommandPath(), about(cmd))
		fmt.Fprintf(page, "\n```text\n%s\n```\n", cmd.UseLine())
		if cmd.Example != "" {
			fmt.Fprintf(page, "\n```sh\n%s\n```\n", outdented(cmd.Example))
		}
		flagTable(page, cmd)
	}
	for _, child := range cmd.Commands() {
		describe(page, child)
	}
}

func about(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return strings.TrimSpace(cmd.Long)
	}
	return cmd.Short + "."
}

func outdented(example string) string {
	lines := strings.Split(strings.TrimRight(example, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// flagTable is the command's own flags.
func flagTable(page *strings.Builder, cmd *cobra.Command) {
	head := "\n| flag | default | |\n|---|---|---|\n"
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || kubectls()[f.Name] {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(page, "%s| %s | %s | %s |\n", head, name, value, strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(f.Usage))
		head = ""
	})
}

// kubectls are the names of kubectl's connection flags.
func kubectls() map[string]bool {
	names := map[string]bool{}
	for name := range strings.FieldsSeq("as as-group as-uid as-user-extra cache-dir certificate-authority client-certificate client-key cluster context disable-compression " +
		"insecure-skip-tls-verify kubeconfig namespace proxy-url request-timeout server tls-server-name token user") {
		names[name] = true
	}
	return names
}

func TestTheReferenceIsWhatTheCommandsSay(t *testing.T) {
	t.Parallel()
	want := reference()
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reference.md is not what the commands say: go test ./plugin -run Reference -update")
	}
}
