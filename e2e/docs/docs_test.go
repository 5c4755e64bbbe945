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

func TestEveryLinkInTheDocsLeadsSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`) // not those with a scheme
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
			}
		}
	}
}

func TestTheReadmeCommandsAreRealOnes(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	makefile := read(t, "Makefile")
	for _, m := range regexp.MustCompile(`(?m)^make ([a-z]+)`).FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(makefile, "\n"+m[1]+":") {
			t.Errorf("README names make %s, which the Makefile lacks", m[1])
		}
	}
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	line := regexp.MustCompile(`(?m)^\$ kubectl infer (canary run|sandbox up|sandbox load)((?:.*\\\n)*.*)$`)
	matches := line.FindAllStringSubmatch(readme, -1)
	if len(matches) < 3 {
		t.Fatalf("the transcript shows %d of the three commands", len(matches))
	}
	for _, m := range matches {
		args := append(strings.Fields(m[1]), "--help")
		help, err := exec.Command(filepath.Join(root, "bin/kubectl-infer"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl-infer %v: %v (run `make build` first)\n%s", args, err, help)
		}
		for _, f := range flag.FindAllString(m[2], -1) {
			if !strings.Contains(string(help), f) {
				t.Errorf("README uses %s with %s, which its help does not know", f, m[1])
			}
		}
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
