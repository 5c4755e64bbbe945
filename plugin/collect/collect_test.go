package collect

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

func object(kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"kind": kind, "metadata": map[string]any{"name": "m", "namespace": "default"}, "spec": spec}}
}

func entry(key, name string, weight any) any {
	e := map[string]any{key: name}
	if weight != nil {
		e["weight"] = weight
	}
	return e
}

func TestModelsAreReadWithWhatTheyLeaveOut(t *testing.T) {
	t.Parallel()
	model, _ := target.KindOf("inferencemodel")
	rewrite, _ := target.KindOf("inferencemodelrewrite")
	const group = "inference.networking.k8s.io"
	tests := map[string]struct {
		kind    target.Kind
		object  *unstructured.Unstructured
		targets []int // of each rule
		unset   int
		pool    string // its group
	}{
		"weights on all": {model, object("InferenceModel", map[string]any{
			"modelName": "x", "poolRef": map[string]any{"name": "p", "group": group},
			"targetModels": []any{entry("name", "a", int64(1)), entry("name", "b", int64(2))},
		}), []int{2}, 0, group},
		"a weight left out is told": {model, object("InferenceModel", map[string]any{
			"modelName": "x", "poolRef": map[string]any{"name": "p"},
			"targetModels": []any{entry("name", "a", int64(1)), entry("name", "b", nil)},
		}), []int{2}, 1, "inference.networking.x-k8s.io"},
		"no targets are the model itself": {model, object("InferenceModel", map[string]any{"modelName": "x", "poolRef": map[string]any{"name": "p"}}), []int{1}, 1, "inference.networking.x-k8s.io"},
		"a rule whose list was dropped has no targets": {rewrite, object("InferenceModelRewrite", map[string]any{
			"poolRef": map[string]any{"name": "p"},
			"rules":   []any{map[string]any{"targets": []any{entry("modelRewrite", "a", int64(1))}}, map[string]any{"matches": []any{}}},
		}), []int{1, 0}, 0, group},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := readModels(tt.kind, tt.object)
			unset := 0
			var counts []int
			for _, rule := range m.Rules {
				counts = append(counts, len(rule.Targets))
				for _, target := range rule.Targets {
					if target.Unset {
						unset++
					}
				}
			}
			if len(counts) != len(tt.targets) || unset != tt.unset || m.Pool.Group != tt.pool {
				t.Fatalf("%+v", m)
			}
			for i := range counts {
				if counts[i] != tt.targets[i] {
					t.Errorf("rule %d has %d targets, want %d", i, counts[i], tt.targets[i])
				}
			}
		})
	}
}

func TestAPoolIsReadInEitherGroup(t *testing.T) {
	t.Parallel()
	newer := object("InferencePool", map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": "x"}}, "targetPorts": []any{map[string]any{"number": int64(8000)}},
		"endpointPickerRef": map[string]any{"name": "picker", "failureMode": "FailOpen"},
	})
	newer.SetAPIVersion("inference.networking.k8s.io/v1")
	older := object("InferencePool", map[string]any{
		"selector": map[string]any{"app": "x"}, "targetPortNumber": int64(8000), "extensionRef": map[string]any{"name": "picker"},
	})
	older.SetAPIVersion("inference.networking.x-k8s.io/v1alpha2")
	for _, tt := range []struct {
		object *unstructured.Unstructured
		close  bool
	}{{newer, false}, {older, true}} {
		p, err := readPool(tt.object, tt.object.GroupVersionKind().Group)
		if err != nil || p.Selector["app"] != "x" || p.Picker != "picker" || len(p.Ports) != 1 || p.FailClose != tt.close {
			t.Errorf("%+v, %v", p, err)
		}
	}
}
