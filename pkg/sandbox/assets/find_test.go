package assets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestPlacesAreTriedInOrder(t *testing.T) {
	w := newWorld(t)
	kubebuilder := filepath.Join(filepath.Dir(w.bin), "kubebuilder")
	t.Setenv("KUBEBUILDER_ASSETS", kubebuilder)
	places := []struct {
		want Source
		path string
	}{
		{FromEnv, filepath.Join(kubebuilder, "etcd")},
		{FromPath, filepath.Join(w.bin, "etcd")},
		{FromEnvtest, filepath.Join(w.data, "kubebuilder-envtest", "k8s", "1.36.3-linux-amd64", "etcd")},
		{FromCache, filepath.Join(w.Dir, "etcd-v3.6.6-linux-amd64", "etcd")},
	}
	for _, p := range places {
		script(t, p.path, etcdOf("3.6.6"))
	}
	for i, p := range places {
		asset, err := w.Find(t.Context(), Etcd)
		if err != nil {
			t.Fatal(err)
		}
		if asset.Source != p.want || asset.Path != p.path || asset.Version != "v3.6.6" {
			t.Errorf("place %d: got %+v, want %s at %s", i, asset, p.want, p.path)
		}
		script(t, p.path, etcdOf("3.5.0")) // a wrong version is passed over
	}
	_, err := w.Find(t.Context(), Etcd)
	if err == nil || !strings.Contains(hint.Of(err), "KUBEBUILDER_ASSETS") {
		t.Errorf("wrong versions everywhere: %v (hint %q)", err, hint.Of(err))
	}
}

func TestALaterFolderOnPathMayHaveTheRightVersion(t *testing.T) {
	w := newWorld(t)
	second := filepath.Join(t.TempDir(), "second")
	t.Setenv("PATH", w.bin+string(filepath.ListSeparator)+second)
	script(t, filepath.Join(w.bin, "kubectl"), `echo '{"clientVersion":{"gitVersion":"v1.32.4-dispatcher"}}'`)
	want := script(t, filepath.Join(second, "kubectl"), `[ "$*" = "version --client -o json" ] && echo '{"clientVersion":{"gitVersion":"v1.36.3"}}'`)
	asset, err := w.Find(t.Context(), Kubectl)
	if err != nil || asset.Path != want {
		t.Errorf("got %+v (%v), want %s", asset, err, want)
	}
}

func TestEnvoyPath(t *testing.T) {
	w := newWorld(t)
	onPath := script(t, filepath.Join(w.bin, "envoy"), envoyOf("1.40.7"))
	tests := map[string]struct {
		script string
		want   Source
	}{
		"without it PATH may have any 1.40":             {"", FromPath},
		"any version from 1.37 is taken":                {envoyOf("1.37.0"), FromEnv},
		"a newer one too":                               {envoyOf("2.0.0"), FromEnv},
		"an older one is refused, not ignored":          {envoyOf("1.36.9"), ""},
		"something that is not Envoy is refused":        {"echo hello", ""},
		"a program that does not even start is refused": {"exit 1", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ENVOY_PATH", "")
			if tt.script != "" {
				t.Setenv("ENVOY_PATH", script(t, filepath.Join(t.TempDir(), "envoy"), tt.script))
			}
			asset, err := w.Find(t.Context(), Envoy)
			if asset.Source != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %+v, %v; want source %q", asset, err, tt.want)
			}
			if err != nil && (!strings.Contains(err.Error(), "ENVOY_PATH") || hint.Of(err) == "") {
				t.Errorf("the refusal %v (hint %q) does not help", err, hint.Of(err))
			}
		})
	}
	script(t, onPath, envoyOf("1.39.0"))
	if asset, err := w.Find(t.Context(), Envoy); err == nil {
		t.Errorf("PATH's Envoy 1.39 was taken: %+v", asset)
	}
}

func TestCachedFile(t *testing.T) {
	later := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		change func(t *testing.T, path string)
		want   bool
	}{
		"is trusted while size and time agree": {func(*testing.T, string) {}, true},
		"is hashed again when only its time differs": {func(t *testing.T, path string) {
			if err := os.Chtimes(path, later, later); err != nil {
				t.Fatal(err)
			}
		}, true},
		"is absent once its content differs": {func(t *testing.T, path string) {
			script(t, path, etcdOf("3.6.6")+" # changed")
		}, false},
		"is absent when it is half there": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 5); err != nil {
				t.Fatal(err)
			}
		}, false},
		"is adopted again when the manifest is gone": {func(t *testing.T, path string) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), manifestName)); err != nil {
				t.Fatal(err)
			}
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			path := script(t, filepath.Join(w.Dir, "etcd-v3.6.6-linux-amd64", "etcd"), etcdOf("3.6.6"))
			first, err := w.Find(t.Context(), Etcd)
			if err != nil || first.SHA256 == "" {
				t.Fatalf("adopting: %+v, %v", first, err)
			}
			tt.change(t, path)
			for range 2 {
				again, err := w.Find(t.Context(), Etcd)
				if (err == nil) != tt.want || tt.want && again.SHA256 != first.SHA256 {
					t.Errorf("found %+v (%v), want found: %v", again, err, tt.want)
				}
			}
		})
	}
}

func TestVersionReports(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		parse        func(string) string
		output, want string
	}{
		"kube-apiserver":    {afterWord("Kubernetes"), "Kubernetes v1.36.3\n", "v1.36.3"},
		"kubectl":           {clientVersion, `{"clientVersion":{"gitVersion":"v1.36.3"},"kustomizeVersion":"v5"}`, "v1.36.3"},
		"kubectl, not JSON": {clientVersion, "Client Version: v1.36.3", ""},
		"etcd":              {etcd().parse, "etcd Version: 3.6.6\nGit SHA: x\n", "v3.6.6"},
		"not etcd":          {etcd().parse, "hello", ""},
		"envoy":             {envoyReport, "\nenvoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n", "1.40.0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.parse(tt.output); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnknownAsset(t *testing.T) {
	t.Parallel()
	s, err := NewStore()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Find(t.Context(), "kubelet")
	if err == nil || !strings.Contains(hint.Of(err), "kube-apiserver, kubectl, etcd, envoy") {
		t.Errorf("Find() = %v (hint %q)", err, hint.Of(err))
	}
}
