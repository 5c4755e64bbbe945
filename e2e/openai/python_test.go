package openai

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPythonClient runs client_test.py with OpenAI's library for Python.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	python := environment(t)
	url := serve(t)
	cmd := exec.CommandContext(t.Context(), python, "-m", "unittest", "-v", "client_test")
	cmd.Env = append(os.Environ(), "OPENAI_BASE_URL="+url+"/v1", "OPENAI_API_KEY=none", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// environment is the Python of a virtual environment in the cache folder that
// holds what requirements.txt pins. It is made beside its place and moved
// there whole, so that an interrupted or concurrent one does no harm.
func environment(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	pins, err := os.ReadFile("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	version := run(t, "python3", "-c", "import sys; print(sys.version, sys.executable)")
	home := filepath.Join(cache, "kubectl-infer")
	sum := sha256.Sum256(append(pins, version...))
	place := filepath.Join(home, fmt.Sprintf("venv-openai-%x", sum[:6]))
	python := filepath.Join(place, "bin", "python")
	if _, err := os.Stat(python); err == nil {
		return python
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	half, err := os.MkdirTemp(home, "venv-openai-half-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(half) }() // gone if it was moved
	run(t, "python3", "-m", "venv", half)
	run(t, filepath.Join(half, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--only-binary=:all:", "--no-deps", "-r", "requirements.txt")
	if err := os.Rename(half, place); err != nil {
		if _, made := os.Stat(python); made != nil {
			t.Fatal(err)
		}
	}
	return python
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s(needs Python 3.10 or newer with venv and pip)", name, args, err, out)
	}
	return out
}
