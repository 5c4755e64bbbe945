package examples

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/e2e/shell"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

const (
	root     = "../.."
	patience = 2 * time.Minute // for one example
)

// example is one paragraph of a command's examples: what stands between two blank
// lines can be typed by itself.
type example struct{ command, text string }

// examplesOf asks a command for its help, and those below it.
func examplesOf(t *testing.T, s shell.Shell, command string) []example {
	t.Helper()
	help, said, err := s.Run(t.Context(), command+" --help")
	if err != nil {
		t.Fatalf("%s --help: %v\n%s", command, err, said)
	}
	var all []example
	if section(help, "Examples") == "" {
		t.Errorf("the help of %s has no example", command)
	}
	for _, paragraph := range strings.Split(section(help, "Examples"), "\n\n") {
		if strings.TrimSpace(paragraph) != "" {
			all = append(all, example{command, paragraph})
		}
	}
	for _, heading := range []string{"Rollouts", "On this machine", "Available Commands", "Additional Commands"} {
		for line := range strings.SplitSeq(section(help, heading), "\n") {
			if name, _, _ := strings.Cut(line, " "); name != "" && name != "help" {
				all = append(all, examplesOf(t, s, command+" "+name)...)
			}
		}
	}
	return all
}

// section is what a help has under a heading, without its indentation.
func section(help, heading string) string {
	_, below, _ := strings.Cut(help, "\n"+heading+":\n")
	var lines []string
	for line := range strings.SplitSeq(below, "\n") {
		if line != "" && !strings.HasPrefix(line, "  ") {
			break
		}
		lines = append(lines, strings.TrimPrefix(line, "  "))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// typed is an example as the test types it: each line with the flags that make its
// command short, those that do not end by themselves ended by Ctrl-C.
func (e example) typed(told map[string]story) string {
	var lines []string
	text := strings.NewReplacer("\\\n", " ", "--duration 1m", "--duration 5s").Replace(e.text)
	for line := range strings.SplitSeq(text, "\n") {
		st := told[commandOf(line, told)]
		if st.quick != "" {
			end := regexp.MustCompile(` +(\||>|#) `).FindStringIndex(line)
			if end == nil {
				end = []int{len(line)}
			}
			line = line[:end[0]] + " " + st.quick + line[end[0]:]
		}
		if st.endless != nil && st.endless.MatchString(line) {
			line = "timeout --preserve-status --signal INT " + cmp.Or(st.patience, "3s") + " " + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// commandOf is the longest command with a story that a line begins with.
func commandOf(line string, told map[string]story) string {
	found := ""
	for command := range told {
		if (line == command || strings.HasPrefix(line, command+" ")) && len(command) > len(found) {
			found = command
		}
	}
	return found
}

func TestEveryExampleOfTheHelpRuns(t *testing.T) {
	t.Parallel()
	s := stage(t)
	all := examplesOf(t, s, "kubectl infer")
	if len(all) < 60 {
		t.Fatalf("only %d examples were found", len(all))
	}
	told := stories()
	byPlace := map[place][]example{}
	for _, e := range all {
		where := cmp.Or(told[e.command].place, onStage)
		byPlace[where] = append(byPlace[where], e)
	}
	for where, examples := range byPlace {
		t.Run(string(where), func(t *testing.T) {
			t.Parallel()
			for i, e := range examples {
				t.Run(strings.ReplaceAll(strings.TrimPrefix(e.command, "kubectl infer"), " ", "_"), func(t *testing.T) {
					e.run(t, s, told, fmt.Sprintf("example-%d", i))
				})
			}
		})
	}
	for command := range told {
		if !strings.Contains(fmt.Sprint(all), "{"+command+" ") {
			t.Errorf("there is a story for %s, which has no example", command)
		}
	}
}

// run types an example in a new folder, with a kubeconfig of its own.
func (e example) run(t *testing.T, s shell.Shell, told map[string]story, namespace string) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	raw, err := os.ReadFile(s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"manifests": filepath.Join(s.Root, "manifests"), "bin": t.TempDir()} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	// Sandboxes of others on this machine may have the names that the examples take.
	second := fmt.Sprintf("second-%d%s", os.Getpid(), strings.ReplaceAll(strings.TrimPrefix(e.command, "kubectl infer"), " ", "-"))
	names := strings.NewReplacer("rehearsal", fmt.Sprintf("rehearsal-%d", os.Getpid()), "--name default", "--name "+second)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, said, err := s.Run(ctx, names.Replace(e.script(told)),
		"KUBECONFIG="+kubeconfig, "HOME="+dir, "XDG_CACHE_HOME="+cache(t), "SECOND="+second, "ROOT="+s.Root, "NAMESPACE="+namespace)
	if err != nil {
		t.Errorf("%v\n%s\n%s\n%s", err, e.text, out, said)
	}
}

// script is the example between what its story has before and after it.
func (e example) script(told map[string]story) string {
	st := told[e.command]
	parts := []string{`cd "$HOME"`, tools, st.before, "after() { :", st.after, "}", "trap 'code=$?; after; exit $code' EXIT", "set +o pipefail # as people have it", e.typed(told)}
	if st.place == inNew {
		parts[len(parts)-1] = strings.ReplaceAll(parts[len(parts)-1], "-n default", `-n "$NAMESPACE"`)
		parts = slices.Insert(parts, 1, `kubectl create namespace "$NAMESPACE"`, `kubectl config set-context --current --namespace="$NAMESPACE"`)
	}
	return strings.Join(parts, "\n")
}

func cache(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// stage is a sandbox with what the examples are about, under traffic.
func stage(t *testing.T) shell.Shell {
	t.Helper()
	s := shell.Up(t, root, "examples", "--provision-pickers=false")
	s.Define(t, assets.ProviderDefinitions()...)
	out, said, err := s.Run(t.Context(), `kubectl apply -k e2e/examples/stage
kubectl wait --for=condition=Available deployment --all --timeout=90s
for route in chat inference-route; do
  kubectl wait --for=jsonpath='{.status.parents[0].conditions[?(@.type=="ResolvedRefs")].status}'=True --timeout=30s httproute/$route
done`)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	for _, load := range []string{
		"--model qwen=1 --rate 40",
		"--url http://$(kubectl get gateway/models -o jsonpath='{.status.addresses[0].value}'):8081 --model travelhelper=1 --rate 30",
	} {
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _, _ = s.Run(ctx, "exec kubectl-infer sandbox load --duration 10m "+load)
		}()
		t.Cleanup(func() { stop(); <-ended })
	}
	return s
}
