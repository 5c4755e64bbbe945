// Package shell runs scripts as a user of one sandbox would: with the programs
// of bin/ and kubectl on PATH, and KUBECONFIG pointing at the sandbox. The
// pages under docs/ are tested through it. Start at Up.
package shell

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
)

// Shell runs bash in the project's root. Root and Bin are absolute.
type Shell struct {
	Root, Bin string
	// Kubeconfig is the sandbox's, KubectlDir the folder of its kubectl.
	Kubeconfig, KubectlDir string
	env                    []string
}

// Up starts a sandbox of its own for the length of the test; root is the way
// to the project's root, name tells sandboxes of several packages apart, flags
// are more of `sandbox up`.
func Up(t *testing.T, root, name string, flags ...string) Shell {
	t.Helper()
	s := create(t, root, name)
	t.Cleanup(func() { _, _, _ = s.Run(context.WithoutCancel(t.Context()), "kubectl-infer sandbox down") })
	out, said, err := s.Run(t.Context(), fmt.Sprintf("kubectl-infer sandbox up --detach --low-ports off %s >&2; kubectl-infer sandbox status -o json", strings.Join(flags, " ")))
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	type state struct{ Name, Kubeconfig string }
	var list []state
	if json.Unmarshal([]byte(out), &list) != nil {
		list = make([]state, 1)
		if err := json.Unmarshal([]byte(out), &list[0]); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, one := range list {
		if strings.HasPrefix(one.Name, name+"-") {
			s.Kubeconfig = one.Kubeconfig
			s.env = append(s.env, "KUBECONFIG="+one.Kubeconfig)
		}
	}
	return s
}

// Define installs definitions of other projects, by the names of their assets, and
// returns when kubectl can find their kinds.
func (s Shell) Define(t *testing.T, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	var defined []schema.GroupKind
	for _, name := range names {
		asset, err := store.Find(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(asset.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := controlplane.InstallCRDs(ctx, config, text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defined = append(defined, kindsIn(t, text)...)
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// An API server serves a kind before its list of all kinds has it.
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		_, lists, err := client.ServerGroupsAndResources()
		if err != nil {
			return false, nil // a group that is on its way
		}
		listed := map[schema.GroupKind]bool{}
		for _, list := range lists {
			for _, resource := range list.APIResources {
				listed[schema.FromAPIVersionAndKind(list.GroupVersion, resource.Kind).GroupKind()] = true
			}
		}
		return !slices.ContainsFunc(defined, func(kind schema.GroupKind) bool { return !listed[kind] }), nil
	})
	if err != nil {
		t.Fatalf("the kinds %v are not all listed: %v", defined, err)
	}
}

// kindsIn are the kinds that a file of definitions defines.
func kindsIn(t *testing.T, text []byte) (kinds []schema.GroupKind) {
	t.Helper()
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(document, &crd); err != nil {
			t.Fatal(err)
		}
		if crd.Spec.Names.Kind != "" {
			kinds = append(kinds, schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind})
		}
	}
	return kinds
}

func create(t *testing.T, root, name string) Shell {
	t.Helper()
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(top, "bin")
	if _, err := os.Stat(filepath.Join(bin, "kubectl-infer")); err != nil {
		t.Fatalf("%v (run `make build` first)", err)
	}
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	kubectl, err := store.Find(t.Context(), assets.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{bin, filepath.Dir(kubectl.Path), os.Getenv("PATH")}, string(os.PathListSeparator))
	return Shell{
		Root: top, Bin: bin, KubectlDir: filepath.Dir(kubectl.Path),
		env: append(os.Environ(), "PATH="+path, fmt.Sprintf("KUBECTL_INFER_SANDBOX=%s-%d", name, os.Getpid())),
	}
}

// Run runs a script under `set -euo pipefail`, with variables in addition to
// the shell's own.
func (s Shell) Run(ctx context.Context, script string, variables ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Root, append(s.env[:len(s.env):len(s.env)], variables...), &out, &errs
	cmd.WaitDelay = 10 * time.Second // for what a script that was ended left in the background
	err = cmd.Run()
	return out.String(), errs.String(), err
}
