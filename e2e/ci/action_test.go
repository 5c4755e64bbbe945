package ci

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestTheActionInstallsWhatItVerified runs the first step of action.yml against a
// server of releases on this machine. cosign is a stand-in that says yes or no:
// what it is asked is proven, what it answers is not.
func TestTheActionInstallsWhatItVerified(t *testing.T) {
	t.Parallel()
	releases, sum := release(t)
	server := httptest.NewServer(http.FileServer(http.Dir(releases)))
	t.Cleanup(server.Close)
	for rule, tt := range map[string]struct {
		version, sum, cosign string // cosign is the stand-in's script, empty for none
		fails                string // what the step says, empty where it installs
	}{
		"a checksum that is given is enough":                 {version: "v1.2.3", sum: sum},
		"an archive with another checksum is not unpacked":   {version: "v1.2.3", sum: strings.Repeat("0", 64), fails: "the checksum of"},
		"a release that is not there is named":               {version: "v9.9.9", sum: sum, fails: "v9.9.9 has no kubectl-infer_"},
		"without a checksum something must verify":           {version: "v1.2.3", fails: "set the input sha256, or put cosign on PATH"},
		"checksums that cosign accepts are taken":            {version: "v1.2.3", cosign: `echo "$@" >>"$RUNNER_TEMP/asked"`},
		"checksums that cosign does not accept are not":      {version: "v1.2.3", cosign: "exit 1", fails: "is not signed by the-signer"},
		"no version takes what is on PATH, which must be it": {fails: "kubectl-infer is not on PATH"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			temp, path := t.TempDir(), t.TempDir()
			if tt.cosign != "" {
				if err := os.WriteFile(filepath.Join(path, "cosign"), []byte("#!/bin/sh\n"+tt.cosign+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-e", "-c", part(t, "action.yml", 0, "runs", "steps", 0, "run"))
			cmd.Env = []string{
				"PATH=" + path + ":/usr/local/bin:/usr/bin:/bin", "VERSION=" + tt.version, "SHA256=" + tt.sum,
				"RELEASES=" + server.URL, "SIGNER=the-signer", "RUNNER_TEMP=" + temp, "GITHUB_PATH=" + temp + "/path",
			}
			out, err := cmd.CombinedOutput()
			installed := strings.TrimSpace(maybe(temp + "/path"))
			if tt.fails != "" {
				if code(err) != 1 || !strings.Contains(string(out), tt.fails) || installed != "" {
					t.Errorf("%v, installed %q\n%s", err, installed, out)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if said, err := exec.CommandContext(ctx, filepath.Join(installed, "kubectl-infer"), "version").CombinedOutput(); err != nil {
				t.Errorf("what was installed: %v\n%s", err, said)
			}
			if asked := maybe(temp + "/asked"); tt.cosign != "" && !strings.Contains(asked, "--certificate-identity the-signer") {
				t.Errorf("cosign was asked %q", asked)
			}
		})
	}
}

// maybe reads a file that need not be there.
func maybe(path string) string {
	raw, _ := os.ReadFile(path)
	return string(raw)
}

// release is a folder with one release of what `make build` built, and the
// checksum of its archive.
func release(t *testing.T) (dir, sum string) {
	t.Helper()
	dir = t.TempDir()
	at := filepath.Join(dir, "v1.2.3")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("kubectl-infer_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH)
	pack := exec.CommandContext(t.Context(), "bin/tools/release", "archive", "--out", filepath.Join(at, name), "bin/kubectl-infer", "bin/kubectl-infer-sandbox", "README.md")
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v (run `make build packers` first)\n%s", err, out)
	}
	sum = fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, filepath.Join(at, name)))))
	for file, text := range map[string]string{"checksums.txt": sum + "  " + name + "\n", "checksums.txt.sigstore.json": "{}"} {
		if err := os.WriteFile(filepath.Join(at, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, sum
}
