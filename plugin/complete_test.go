package plugin_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/plugin"
)

// run is a command line against the API server at address, "" for none.
func run(t *testing.T, address string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if address != "" {
		args = append(args, "--server", address)
	}
	var out, errOut bytes.Buffer
	code = plugin.Main(t.Context(), append([]string{"kubectl-infer"}, args...), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return code, out.String(), errOut.String()
}

// kubeconfig writes one whose current context leads to address.
func kubeconfig(t *testing.T, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := `apiVersion: v1
kind: Config
current-context: lab
clusters: [{name: lab, cluster: {server: "` + address + `"}}]
contexts:
- {name: lab, context: {cluster: lab, user: ann, namespace: default}}
- {name: live, context: {cluster: lab, user: ann, namespace: default}}
users: [{name: ann}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompletionOffersLiveNames(t *testing.T) {
	f := example()
	model := map[string]any{
		"apiVersion": modelAlpha, "kind": "InferenceModel", "metadata": map[string]any{"name": "travel", "namespace": "default"},
		"spec": map[string]any{"targetModels": []any{map[string]any{"name": "a1"}, map[string]any{"name": "a2"}}},
	}
	f.groups[modelAlpha] = true
	f.objects[at(modelAlpha, "inferencemodels", "")] = []any{model}
	f.objects[at(modelAlpha, "inferencemodels", "travel")] = model
	t.Setenv("KUBECONFIG", kubeconfig(t, f.serve(t)))
	tests := map[string]struct {
		typed []string
		want  string // offers, one a word; the directive left off
	}{
		"routes and models by TYPE/NAME":              {[]string{"canary", "run", ""}, "httproute/chat httproute/docs inferencemodel/travel"},
		"a type that is typed":                        {[]string{"canary", "status", "httproute/c"}, "httproute/chat"},
		"a type in another spelling":                  {[]string{"canary", "abort", "httproutes/"}, "httproutes/chat httproutes/docs"},
		"a name that is there is not offered again":   {[]string{"canary", "run", "httproute/chat", "httproute/"}, "httproute/docs"},
		"a verb of routes offers no model":            {[]string{"verify", "route", ""}, "httproute/chat httproute/docs"},
		"backends of the named route":                 {[]string{"canary", "run", "httproute/chat", "--stable", ""}, "qwen-v1 qwen-v2"},
		"the canary is not stable":                    {[]string{"canary", "plan", "httproute/chat", "--stable", "qwen-v1", "--canary", ""}, "qwen-v2"},
		"target models of the named model":            {[]string{"canary", "run", "inferencemodel/travel", "--canary", "a"}, "a1 a2"},
		"no backends without a target":                {[]string{"canary", "run", "--stable", ""}, ""},
		"rules of the named route":                    {[]string{"canary", "run", "httproute/chat", "--rule", ""}, "chat"},
		"namespaces":                                  {[]string{"get", "routes", "-n", "t"}, "team-a"},
		"contexts of the kubeconfig":                  {[]string{"doctor", "--context", "l"}, "lab live"},
		"targets of doctor":                           {[]string{"doctor", "httproute/d"}, "httproute/docs"},
		"targets of a role":                           {[]string{"install", "rbac", "--for", "httproute/c"}, "httproute/chat"},
		"presets of metrics":                          {[]string{"top", "--metrics", "vl"}, "vllm"},
		"shells":                                      {[]string{"completion", "b"}, "bash"},
		"a route that is not there offers no backend": {[]string{"canary", "run", "httproute/nope", "--stable", ""}, ""},
		"no file names where no argument is taken":    {[]string{"top", ""}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, _ := run(t, "", append([]string{"__complete"}, tt.typed...)...)
			lines := strings.Fields(out)
			if code != 0 || len(lines) == 0 || lines[len(lines)-1] != ":4" {
				t.Fatalf("exit %d: %q", code, out)
			}
			var got []string
			for _, line := range lines[:len(lines)-1] {
				if strings.HasPrefix(line, strings.SplitN(tt.typed[len(tt.typed)-1], "/", 2)[0]) {
					got = append(got, line)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("offers %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKubectlsCompleterIsOurs(t *testing.T) {
	t.Setenv("KUBECONFIG", kubeconfig(t, example().serve(t)))
	var out bytes.Buffer
	code := plugin.Main(t.Context(), []string{"/some/bin/kubectl_complete-infer", "canary", "run", "httproute/c"}, genericiooptions.IOStreams{Out: &out, ErrOut: &bytes.Buffer{}})
	if code != 0 || !strings.HasPrefix(out.String(), "httproute/chat\n:4\n") {
		t.Errorf("exit %d: %q", code, out.String())
	}
	t.Setenv("PATH", t.TempDir()) // no sandbox to ask
	out.Reset()
	code = plugin.Main(t.Context(), []string{"kubectl_complete-infer-sandbox", "u"}, genericiooptions.IOStreams{Out: &out, ErrOut: &bytes.Buffer{}})
	if code != 0 || out.String() != ":4\n" {
		t.Errorf("the sandbox's: exit %d: %q", code, out.String())
	}
	_, script, _ := run(t, "", "completion", "kubectl")
	if script != "#!/bin/sh\nexec kubectl infer __complete \"$@\"\n" {
		t.Errorf("%q", script)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, script, _ := run(t, "", "completion", shell); code != 0 || !strings.Contains(script, "__complete") {
			t.Errorf("%s: exit %d, %d bytes", shell, code, len(script))
		}
	}
}

// TestACompletionThatLearnsNothingIsEmpty: a shell must not print errors.
func TestACompletionThatLearnsNothingIsEmpty(t *testing.T) {
	t.Setenv("KUBECONFIG", kubeconfig(t, "http://127.0.0.1:1"))
	for _, typed := range [][]string{{"canary", "run", ""}, {"canary", "run", "httproute/x", "--stable", ""}, {"get", "-n", ""}} {
		code, out, _ := run(t, "", append([]string{"__complete"}, typed...)...)
		if code != 0 || out != ":4\n" {
			t.Errorf("%q: exit %d, %q", typed, code, out)
		}
	}
}

// TestWhatNeedsNoClusterAsksNone counts requests.
func TestWhatNeedsNoClusterAsksNone(t *testing.T) {
	f := example()
	t.Setenv("KUBECONFIG", kubeconfig(t, f.serve(t)))
	for _, line := range []string{
		"version", "version -o json", "--help", "canary run --help", "doctor --help", "completion bash", "__complete canary ", "__complete doctor --context l",
		"canary run chat", "canary run httproute/chat --stable a --canary a", "doctor --gate nonsense", "top --interval 0s", "get nothing",
	} {
		run(t, "", strings.Split(line, " ")...)
		if n := f.asked.Load(); n != 0 {
			t.Fatalf("%s: asked the cluster %d times", line, n)
		}
	}
}
