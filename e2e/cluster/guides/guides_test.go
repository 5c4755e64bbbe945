package guides

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

const root = "../../.."

// mark stands between the outputs of two blocks.
const mark = "::: end of block :::"

// shell runs scripts as a user of one sandbox would.
type shell struct {
	dir string // absolute bin
	env []string
}

func newShell(t *testing.T) shell {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "kubectl-infer")); err != nil {
		t.Fatalf("%v (run `make build` first)", err)
	}
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	kubectl, err := store.Find(t.Context(), assets.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{dir, filepath.Dir(kubectl.Path), os.Getenv("PATH")}, string(os.PathListSeparator))
	return shell{dir, append(os.Environ(), "PATH="+path, fmt.Sprintf("KUBECTL_INFER_SANDBOX=guides-%d", os.Getpid()))}
}

func (s shell) run(ctx context.Context, script string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = root, s.env, &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// up starts the sandbox, for the test's length.
func (s *shell) up(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { _, _, _ = s.run(context.WithoutCancel(t.Context()), "kubectl-infer sandbox down") })
	out, said, err := s.run(t.Context(), "kubectl-infer sandbox up --detach --low-ports off --model-rewrite split >&2; kubectl-infer sandbox status -o json")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	var list []struct{ Name, Kubeconfig string }
	if json.Unmarshal([]byte(out), &list) != nil {
		list = make([]struct{ Name, Kubeconfig string }, 1)
		if err := json.Unmarshal([]byte(out), &list[0]); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, state := range list {
		if strings.HasPrefix(state.Name, "guides-") {
			s.env = append(s.env, "KUBECONFIG="+state.Kubeconfig)
		}
	}
}

// blocks are the sh blocks of a page.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/guides", page))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, block[1])
	}
	return found
}

// wanted are the outputs that a block promises, in order.
func wanted(block string) []string {
	var want []string
	for line := range strings.Lines(block) {
		if text, ok := strings.CutPrefix(line, "# → "); ok {
			want = append(want, strings.TrimSpace(text))
		}
	}
	return want
}

// missing is the first of want that out does not hold after the one before.
func missing(out string, want []string) (string, bool) {
	for _, text := range want {
		_, after, found := strings.Cut(out, text)
		if !found {
			return text, true
		}
		out = after
	}
	return "", false
}

func TestThePagesOfTheGuides(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.up(t)
	for _, page := range []string{"routing.md", "many-models.md", "mirroring.md", "canary.md", "adapters.md"} {
		t.Run(page, func(t *testing.T) {
			list := blocks(t, page)
			out, said, err := s.run(t.Context(), strings.Join(list, "echo '"+mark+"'\n"))
			printed := strings.Split(out, mark)
			for i := range printed {
				if text, ok := missing(printed[i], wanted(list[i])); ok {
					t.Errorf("block %d did not print %q; it printed:\n%s", i+1, text, printed[i])
				}
			}
			if err != nil || len(printed) != len(list) {
				t.Fatalf("block %d of %d: %v\n%s", len(printed), len(list), err, said)
			}
			left, _, err := s.run(t.Context(), "kubectl get deployments,services,pods,httproutes,configmaps,inferencemodels,inferencepools.inference.networking.k8s.io,inferencepools.inference.networking.x-k8s.io -o name --ignore-not-found")
			if err != nil {
				t.Fatal(err)
			}
			for name := range strings.FieldsSeq(left) {
				if own := name == "service/kubernetes" || strings.HasPrefix(name, "configmap/infer-"); !own && !strings.HasPrefix(name, "pod/") {
					t.Errorf("%s was left behind", name)
				}
			}
		})
	}
}

func TestAPromiseThatIsNotKeptIsFound(t *testing.T) {
	t.Parallel()
	want := wanted("a\n# → one\nb\n# → two\n# a comment\n")
	for rule, tc := range map[string]struct {
		out, missing string
	}{
		"all, in order":   {"x one y two z", ""},
		"out of order":    {"two one", "two"},
		"nothing printed": {"", "one"},
		"once is not two": {"one", "two"},
	} {
		if got, _ := missing(tc.out, want); got != tc.missing {
			t.Errorf("%s: got %q, want %q", rule, got, tc.missing)
		}
	}
}
