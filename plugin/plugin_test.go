package plugin_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/plugin"
)

func TestWhatACommandLineEndsWith(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	tests := map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"help is a success":                             {[]string{"--help"}, 0, ""},
		"a group alone prints its help":                 {[]string{"canary"}, 0, ""},
		"an unknown command is a usage error":           {[]string{"canry"}, 2, `did you mean "canary"?`},
		"an unknown verb is a usage error":              {[]string{"canary", "abrt"}, 2, `did you mean "abort"?`},
		"an unknown flag is a usage error with a hint":  {[]string{"canary", "run", "--bogus"}, 2, "hint: kubectl infer canary run --help"},
		"a cluster that is not there is an error":       {[]string{"canary", "status", "httproute/chat", "--server", "http://127.0.0.1:1"}, 1, "hint: kubectl cluster-info"},
		"a gate that does not parse is a usage error":   {[]string{"canary", "run", "httproute/chat", "--stable", "a", "--canary", "b", "--gate", "ttft < 1s"}, 2, "ttft needs a quantile"},
		"a client dry run asks no cluster":              {[]string{"create", "route", "chat", "--model", "qwen=pool", "--gateway", "gw", "--dry-run=client", "-o", "json", "--server", "http://127.0.0.1:1"}, 0, ""},
		"one name for two pools is a usage error":       {[]string{"create", "route", "chat", "--model", "qwen=a", "--model", "qwen=b"}, 2, "pools a and b"},
		"a policy without a limit is a usage error":     {[]string{"create", "policy", "chat", "--route", "chat"}, 2, "no limit is given"},
		"a provider that is none is a usage error":      {[]string{"create", "pool", "m", "--selector", "a=b", "--provider", "isto"}, 2, "none of ack, istio"},
		"a client dry run cannot find the provider":     {[]string{"create", "pool", "m", "--selector", "a=b", "--dry-run=client"}, 2, "hint: --provider ack"},
		"what a provider cannot do is refused":          {[]string{"create", "route", "r", "--model", "m=a", "--canary", "m=b", "--gateway", "gw", "--provider", "envoy-gateway", "--dry-run=client"}, 16, "at most one InferencePool"},
		"a body router that nobody calls is refused":    {[]string{"install", "body-router", "--gateway", "gw", "--provider", "agentgateway", "--dry-run=client"}, 16, "hint: kubectl infer create gateway"},
		"a picker the gateway makes is refused":         {[]string{"install", "endpoint-picker", "--pool", "m", "--provider", "ack", "--dry-run=client"}, 16, "makes the pickers of its pools itself"},
		"a picker of no pool is a usage error":          {[]string{"install", "endpoint-picker"}, 2, "hint: --pool"},
		"a digest that is none is a usage error":        {[]string{"install", "endpoint-picker", "--pool", "m", "--provider", "istio", "--image", "x@sha256:1", "--dry-run=client"}, 2, "is no digest"},
		"a model kind must be named offline":            {[]string{"create", "model", "m", "--pool", "p", "--target", "a", "--dry-run=client"}, 2, "needs --api"},
		"init without a model is a usage error":         {[]string{"init", "d", "--name", "m", "--provider", "istio"}, 2, "no model is named"},
		"an adapter without a path is a usage error":    {[]string{"create", "model-server", "m", "--model", "m", "--adapter", "a"}, 2, "is not NAME=PATH"},
		"delete says what it deletes":                   {[]string{"delete"}, 2, "--all-created --dry-run=client"},
		"what cannot be verified is a usage error":      {[]string{"verify", "route", "inferencemodel/m"}, 2, "hint: write it as TYPE/NAME"},
		"a gateway that is no address is a usage error": {[]string{"verify", "split", "httproute/chat", "--gateway", "10.0.0.1"}, 2, "hint: --gateway http://HOST:PORT"},
		"an output format that is not known is refused": {[]string{"version", "-o", "xml"}, 2, `"xml"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := plugin.Main(t.Context(), append([]string{"kubectl-infer"}, tt.args...), genericiooptions.IOStreams{Out: &out, ErrOut: &errOut})
			if code != tt.code || !strings.Contains(errOut.String(), tt.stderr) {
				t.Errorf("exit %d, want %d; stderr %q does not say %q", code, tt.code, errOut.String(), tt.stderr)
			}
			if code == 0 && out.Len() == 0 {
				t.Error("nothing on stdout")
			}
		})
	}
}

// TestHelpMarksProvidersThatAreNotProven where a provider is chosen.
func TestHelpMarksProvidersThatAreNotProven(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"create", "--help"}, {"init", "--help"}, {"install", "--help"}} {
		var out bytes.Buffer
		if code := plugin.Main(t.Context(), append([]string{"kubectl-infer"}, args...), genericiooptions.IOStreams{Out: &out, ErrOut: &out}); code != 0 {
			t.Fatalf("%v: exit %d", args, code)
		}
		for _, p := range provider.All() {
			if marked := p.Title + " (" + string(provider.Documented) + ")"; !p.Proven() && !strings.Contains(out.String(), marked) {
				t.Errorf("%v does not say %q", args, marked)
			}
		}
	}
}

// TestEveryCommandShowsHowItIsUsed walks the tree: a purpose, and for every verb
// of ours a real example in kubectl's form. go test ./e2e/examples runs them.
func TestEveryCommandShowsHowItIsUsed(t *testing.T) {
	t.Parallel()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			if child.Name() == "help" || child.Name() == "completion" {
				continue
			}
			if child.Short == "" {
				t.Errorf("%s says nothing of its purpose", child.CommandPath())
			}
			if want := child.CommandPath(); child.Runnable() && !strings.Contains(child.Example, want) || !strings.Contains(child.Example, "kubectl infer") {
				t.Errorf("%s is in none of its own examples", want)
			}
			walk(child)
		}
	}
	walk(plugin.New("kubectl infer", genericiooptions.NewTestIOStreamsDiscard()))
}
