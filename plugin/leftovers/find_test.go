package leftovers

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
)

func object(group, kind, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind})
	u.SetNamespace("default")
	u.SetName(name)
	return u
}

func journalOf(record string) *unstructured.Unstructured {
	u := object("", "ConfigMap", "infer-x")
	u.SetLabels(map[string]string{scaffold.ManagedBy: scaffold.Manager})
	u.Object["data"] = map[string]any{"record.json": record}
	return u
}

func TestAJournalThatIsStillNeededStopsADeletion(t *testing.T) {
	t.Parallel()
	const plan = `"goal":-1,"plan":{"target":"inferencemodel/x"}`
	for rule, tc := range map[string]struct {
		record     string
		unfinished bool
		says       string
	}{
		"a rollout that runs":               {`{"format":3,"phase":"Raising",` + plan + `}`, true, "raising at baseline"},
		"one that is promoted":              {`{"format":3,"phase":"Promoted",` + plan + `}`, false, "promoted"},
		"one that is back":                  {`{"format":3,"phase":"RolledBack",` + plan + `}`, false, "rolledback"},
		"one whose adapter is still loaded": {`{"format":3,"phase":"RolledBack","loaded":{"name":"v2","port":8000,"pods":[{"name":"a","uid":"u"}]},` + plan + `}`, true, "with adapter v2 still loaded on 1 pods"},
		"one whose adapter stays":           {`{"format":3,"phase":"Promoted","loaded":{"name":"v2","port":8000,"pods":[{"name":"a","uid":"u"}]},` + plan + `}`, false, "promoted"},
		"one that nobody can read":          {`{`, true, "cannot be read"},
		"one that was emptied":              {"", false, ""},
	} {
		f := made(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, journalOf(tc.record))
		if f.unfinished != tc.unfinished || !strings.Contains(f.state, tc.says) {
			t.Errorf("%s: unfinished %t, %q", rule, f.unfinished, f.state)
		}
	}
}

func TestAJournalIsOfWhatWroteIt(t *testing.T) {
	t.Parallel()
	const canary, mirror = `{"format":3,"phase":"Promoted","goal":100,"plan":{"target":"httproute/x"}}`, `{"format":1,"phase":"Done","plan":{"target":"httproute/x"}}`
	for rule, tc := range map[string]struct {
		data map[string]any
		by   string
	}{
		"a rollout's":             {map[string]any{"record.json": canary}, "canary"},
		"a mirror's":              {map[string]any{"mirror.json": mirror}, "mirror"},
		"of both":                 {map[string]any{"record.json": canary, "mirror.json": mirror}, "canary, mirror"},
		"one that gc has emptied": {map[string]any{}, "canary"},
	} {
		o := journalOf("")
		o.Object["data"] = tc.data
		if f := made(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, o); f.madeBy != tc.by {
			t.Errorf("%s: made by %q, want %q", rule, f.madeBy, tc.by)
		}
	}
}

// TestAMessIsFoundWhole seeds one of every kind with our label beside one without,
// and a stamp on one of every kind that a rollout may move.
func TestAMessIsFoundWhole(t *testing.T) {
	t.Parallel()
	kinds := map[schema.GroupVersionResource]string{}
	var want []string
	stamped := []schema.GroupVersionResource{kube.HTTPRoutes(), kube.InferenceModels(), kube.ModelRewrites(), kube.LLMDModelRewrites()}
	for _, at := range slices.Concat(apply.Resources(), apply.ClusterResources(), stamped) {
		kinds[at] = "X" + at.Resource + "List"
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds)
	seed := func(at schema.GroupVersionResource, name string, change func(*unstructured.Unstructured)) {
		t.Helper()
		u := object(at.Group, "X"+at.Resource, name)
		change(u)
		if err := client.Tracker().Create(at, u, "default"); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range apply.Resources() {
		seed(at, "ours", func(u *unstructured.Unstructured) {
			u.SetLabels(map[string]string{scaffold.ManagedBy: scaffold.Manager, scaffold.CreatedBy: "test"})
		})
		seed(at, "others", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{scaffold.ManagedBy: "helm"}) })
		want = append(want, "ours of "+at.GroupResource().String())
	}
	for _, at := range apply.ClusterResources() {
		u := object(at.Group, "X"+at.Resource, "ours")
		u.SetNamespace("")
		u.SetLabels(map[string]string{scaffold.ManagedBy: scaffold.Manager, scaffold.CreatedBy: "test"})
		if err := client.Tracker().Create(at, u, ""); err != nil {
			t.Fatal(err)
		}
		want = append(want, "kept")
	}
	for _, at := range stamped {
		seed(at, "stamped", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{target.StampAnnotation: "{}"})
		})
		want = append(want, "stamp")
	}
	found, err := find(t.Context(), &kube.Clients{Dynamic: client, Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		switch {
		case f.stamp && strings.HasSuffix(f.name, "/stamped"):
			got = append(got, "stamp")
		case f.kept != "" && strings.HasSuffix(f.name, "/ours"):
			got = append(got, "kept")
		case f.object == "ours":
			got = append(got, "ours of "+f.resource.GroupResource().String())
		default:
			got = append(got, "not ours: "+f.name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
