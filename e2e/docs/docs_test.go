package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	t.Parallel()
	doc := read(t, "docs/dependencies.md")
	direct := regexp.MustCompile(`(?m)^\t(\S+) (v\S+)$`)
	found := 0
	for _, m := range direct.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		found++
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(m[1]) + ` \| ` + regexp.QuoteMeta(m[2]) + ` \| \S.*\|$`)
		if !row.MatchString(doc) {
			t.Errorf("docs/dependencies.md has no row for %s %s", m[1], m[2])
		}
	}
	if found == 0 {
		t.Error("no direct dependency was found in go.mod")
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-f", "{{if not .Doc}}{{if .GoFiles}}{{.ImportPath}}{{end}}{{end}}", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if missing := strings.TrimSpace(string(out)); missing != "" {
		t.Errorf("packages without a comment:\n%s", missing)
	}
}

// TestImportsGoOneWay holds the direction cmd → plugin, picker → pkg, and the
// purity of the packages that decide.
func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	const module = "github.com/kubectl-infer/kubectl-infer/"
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pure := map[string]bool{"pkg/rollout": true, "pkg/gate": true}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module)
		for _, imported := range fields[1:] {
			to, ours := strings.CutPrefix(imported, module)
			if why := wrongWay(from, to, ours); why != "" {
				t.Errorf("%s imports %s: %s", from, imported, why)
			}
			if pure[from] && strings.Contains(imported, "k8s.io/") {
				t.Errorf("%s imports %s: it decides, and asks nobody", from, imported)
			}
		}
	}
}

func wrongWay(from, to string, ours bool) string {
	if !ours {
		return ""
	}
	for _, rule := range []struct{ from, to string }{
		{"pkg/", "plugin"}, {"pkg/", "picker"}, {"pkg/", "cmd/"}, {"plugin", "picker"}, {"picker", "plugin"}, {"plugin", "pkg/sandbox"}, {"plugin", "cmd/"},
	} {
		if strings.HasPrefix(from, rule.from) && strings.HasPrefix(to, rule.to) {
			return fmt.Sprintf("%s must not know %s", rule.from, rule.to)
		}
	}
	return ""
}
