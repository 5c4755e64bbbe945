package guides

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/e2e/shell"
)

const root = "../../.."

// mark stands between the outputs of two blocks.
const mark = "::: end of block :::"

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
	s := shell.Up(t, root, "guides", "--model-rewrite", "split")
	for _, page := range []string{"tour.md", "routing.md", "many-models.md", "mirroring.md", "canary.md", "adapters.md"} {
		t.Run(page, func(t *testing.T) {
			list := blocks(t, page)
			out, said, err := s.Run(t.Context(), strings.Join(list, "echo '"+mark+"'\n"))
			printed := strings.Split(out, mark)
			for i := range printed {
				if text, ok := missing(printed[i], wanted(list[i])); ok {
					t.Errorf("block %d did not print %q; it printed:\n%s", i+1, text, printed[i])
				}
			}
			if err != nil || len(printed) != len(list) {
				t.Fatalf("block %d of %d: %v\n%s", len(printed), len(list), err, said)
			}
			left, _, err := s.Run(t.Context(), "kubectl get deployments,services,pods,httproutes,configmaps,inferencemodels,inferencepools.inference.networking.k8s.io,inferencepools.inference.networking.x-k8s.io -o name --ignore-not-found")
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
