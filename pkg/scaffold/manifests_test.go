package scaffold_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

var update = flag.Bool("update", false, "write manifests/ and the golden files")

// shipped is a file of manifests/: which objects it has, by kind, and what is
// said above them.
type shipped struct {
	name, comment string
	kinds         []string
}

// TestManifestsAreWhatInstallMakes holds manifests/ to the functions by which
// install and the sandbox make the same objects.
func TestManifestsAreWhatInstallMakes(t *testing.T) {
	t.Parallel()
	router := scaffold.BodyRouter(scaffold.ServerOptions{About: scaffold.About{Name: "body-router"}, Image: "kubectl-infer/body-router", Replicas: 2})
	picker := scaffold.Picker(scaffold.PickerOptions{
		ServerOptions: scaffold.ServerOptions{About: scaffold.About{Name: "picker"}, Image: "kubectl-infer/endpoint-picker", Replicas: 1, Secure: true},
		Pool:          "set-by-the-overlay",
	})
	common := []shipped{
		{"service.yaml", "", []string{"Service"}},
		{"networkpolicy.yaml", "# Only the ports that are served, and only from Pods of this cluster.\n", []string{"NetworkPolicy"}},
		{"poddisruptionbudget.yaml", "# One at a time, and it never stops a node from being drained.\n", []string{"PodDisruptionBudget"}},
	}
	held := 0
	hold := func(folder string, objects []runtime.Object, files ...shipped) {
		for _, f := range append(files, common...) {
			var list []runtime.Object
			for _, o := range objects {
				for _, kind := range f.kinds {
					if o.GetObjectKind().GroupVersionKind().Kind == kind {
						list = append(list, o)
						held++
					}
				}
			}
			compare(t, filepath.Join("../../manifests", folder, f.name), f.comment, list)
		}
	}
	hold("body-router", router,
		shipped{"serviceaccount.yaml", "# Its token reads adapter ConfigMaps: see rbac.yaml.\n", []string{"ServiceAccount"}},
		shipped{
			"rbac.yaml", "# It follows the labelled ConfigMaps of its own namespace, and nothing else. The\n# API server cannot narrow a list to a label in a Role; --adapter-maps=off needs\n# neither this nor a token.\n",
			[]string{"Role", "RoleBinding"},
		},
		shipped{"deployment.yaml", "# Two, since every request with a body needs one; of Pod Security level restricted.\n", []string{"Deployment"}})
	hold("endpoint-picker", picker,
		shipped{
			"rbac.yaml", "# Reading only, and only in its own namespace: Pods, the pool (v1 or v1alpha2), and\n# the kinds that rewrite models or rank requests, where they are served.\n",
			[]string{"ServiceAccount", "Role", "RoleBinding"},
		},
		shipped{
			"deployment.yaml", "# Of Pod Security level restricted. The grace is longer than it takes a picker to let\n# go of its streams: then it has nothing to cut.\n",
			[]string{"Deployment"},
		})
	if want := len(router) + len(picker); held != want {
		t.Errorf("the files hold %d objects of %d", held, want)
	}
}

// compare holds a file to objects, or writes it with -update.
func compare(t *testing.T, path, comment string, objects []runtime.Object) {
	t.Helper()
	text, err := scaffold.YAML(objects...)
	if err != nil {
		t.Fatal(err)
	}
	compareText(t, path, append([]byte(comment), text...))
}

func compareText(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code makes; see the difference after: go test ./pkg/scaffold -update", filepath.Base(path))
	}
}
