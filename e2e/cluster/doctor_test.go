package cluster_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// TestDoctorFindsWhatIsSeeded seeds faults of several kinds on the real API server,
// in a namespace of its own, and wants exactly their findings.
func TestDoctorFindsWhatIsSeeded(t *testing.T) {
	t.Parallel()
	const ward = "ward"
	core := shared.s.clients.Core.CoreV1()
	if _, err := core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ward}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if found := diagnose(t, ward); len(found) > 0 {
		t.Fatalf("an empty namespace has findings: %v", found)
	}
	create := func(at schema.GroupVersionResource, object map[string]any) {
		o := &unstructured.Unstructured{Object: object}
		o.SetNamespace(ward)
		if _, err := shared.s.clients.Dynamic.Resource(at).Namespace(ward).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	meta := func(name string) map[string]any { return map[string]any{"name": name} }
	create(kube.InferencePools(), map[string]any{
		"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": meta("empty"),
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": map[string]any{"app": "nobody"}}, "targetPorts": []any{map[string]any{"number": int64(8000)}},
			"endpointPickerRef": map[string]any{"name": "nowhere", "port": map[string]any{"number": int64(9002)}},
		},
	})
	ref := func(name string) any {
		return map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": name}
	}
	create(kube.HTTPRoutes(), map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta("lost"),
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": "no-such-gateway"}},
			"rules":      []any{map[string]any{"backendRefs": []any{ref("empty")}}},
		},
	})
	for _, name := range []string{"first", "second"} {
		create(kube.InferenceModels(), map[string]any{
			"apiVersion": "inference.networking.x-k8s.io/v1alpha2", "kind": "InferenceModel", "metadata": meta(name),
			"spec": map[string]any{"modelName": "same", "poolRef": map[string]any{"name": "empty", "group": "inference.networking.k8s.io"}},
		})
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "infer-httproute-gone", Labels: map[string]string{"app.kubernetes.io/managed-by": "kubectl-infer"}},
		Data:       map[string]string{"record.json": `{"format":1,"run":"r","phase":"Baking","goal":5,"plan":{"target":"httproute/gone"}}`},
	}
	if _, err := core.ConfigMaps(ward).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"journal-orphan configmap/infer-httproute-gone", "model-twice inferencemodel/second", "picker-missing inferencepool/empty",
		"pool-empty inferencepool/empty", "route-status httproute/lost",
	}
	var found []string
	eventually(t, 30*time.Second, "doctor finds what was seeded", func() bool {
		found = diagnose(t, ward)
		if !slices.Equal(found, want) {
			t.Logf("found %q", found)
		}
		return slices.Equal(found, want)
	})
}

// diagnose lists CHECK OBJECT of all findings in a namespace.
func diagnose(t *testing.T, namespace string) []string {
	t.Helper()
	out := admin(t, "doctor -o json -n "+namespace)
	var d struct {
		Findings []struct{ Check, Object, Fix string }
	}
	if err := json.Unmarshal([]byte(out.stdout), &d); err != nil {
		t.Fatalf("%v: %v", err, out)
	}
	found := map[string]bool{}
	for _, f := range d.Findings {
		found[f.Check+" "+f.Object] = true
	}
	if (out.code == 18) != (len(found) > 0) {
		t.Errorf("exit %d with %d findings: %v", out.code, len(found), out)
	}
	return slices.Sorted(maps.Keys(found))
}

// TestMistakesOnARealCluster are those whose messages come from the API server.
func TestMistakesOnARealCluster(t *testing.T) {
	t.Parallel()
	const run = "canary run httproute/chat --stable qwen-v1 "
	session(t, []step{
		{"the wrong namespace", run + "--canary qwen-v2 -n kube-system", 16, []string{"get httproute chat in namespace kube-system: ", `"chat" not found`, "hint: kubectl get httproutes.gateway.networking.k8s.io -A"}},
		{"no such pool", run + "--canary nope --add-backend", 16, []string{"get inferencepool default/nope: ", "hint: kubectl get inferencepools.inference.networking.k8s.io -n default"}},
		{"no such backend", "canary run httproute/chat --stable nope --canary qwen-v2", 16, []string{"no rule has a backendRef nope", "hint: backends listed: chat: InferencePool/qwen-v1"}},
		{"a token that is not known", "get routes --token nobody", 1, []string{"Unauthorized", "hint: the cluster does not accept these credentials"}},
		{"a verb that is not allowed", "canary status httproute/chat --as nobody", 1, []string{`User "nobody" cannot get resource`, "hint: ask for a role that allows it"}},
		{"a namespace without pools", "top -n kube-public", 1, []string{"no InferencePool can be read in namespace kube-public", "hint: kubectl infer top -A"}},
	})
}
