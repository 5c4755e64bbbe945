package evidence

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// PoolOf is the pool that an InferenceModel or InferenceModelRewrite is of. Both
// kinds leave the group out for a default, each its own.
func PoolOf(object *unstructured.Unstructured) PoolRef {
	name, _, _ := unstructured.NestedString(object.Object, "spec", "poolRef", "name")
	group, _, _ := unstructured.NestedString(object.Object, "spec", "poolRef", "group")
	fallback := kube.InferencePools().Group
	if object.GetKind() == "InferenceModel" {
		fallback = kube.AlphaInferencePools().Group
	}
	return PoolRef{Group: cmp.Or(group, fallback), Name: name}
}

// SoleOwner finds the object called name among those of its kind, and refuses it
// when another one, of its kind or among the others, speaks for the same model
// name of the same pool: the older one wins, so weights in the other are read by
// nobody.
func SoleOwner(kin []unstructured.Unstructured, name string, others ...unstructured.Unstructured) (*unstructured.Unstructured, error) {
	i := slices.IndexFunc(kin, func(o unstructured.Unstructured) bool { return o.GetName() == name })
	if i < 0 {
		return nil, fmt.Errorf("%q was deleted meanwhile", name)
	}
	own, all := &kin[i], slices.Concat(kin, others)
	for j := range all {
		other := &all[j]
		// An InferenceModel may name the pool in either group.
		if j == i || PoolOf(other).Name != PoolOf(own).Name || other.GetKind() == own.GetKind() && PoolOf(other) != PoolOf(own) {
			continue
		}
		for _, model := range Claims(own) {
			if slices.Contains(Claims(other), model) {
				return nil, hint.Errorf("delete one of the two, or change its model name",
					"%s and %s both say which targets serve %s; endpoint pickers follow the older one", titled(own), titled(other), called(model))
			}
		}
	}
	return own, nil
}

// Claims are the model names that an object gives targets to; "" is every name.
func Claims(object *unstructured.Unstructured) []string {
	if name, ok, _ := unstructured.NestedString(object.Object, "spec", "modelName"); ok {
		return []string{name}
	}
	var names []string
	rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
	for _, rule := range rules {
		m, _ := rule.(map[string]any)
		matches, _ := m["matches"].([]any)
		if len(matches) == 0 {
			names = append(names, "")
		}
		for _, match := range matches {
			m, _ := match.(map[string]any)
			name, _, _ := unstructured.NestedString(m, "model", "value")
			names = append(names, name)
		}
	}
	return names
}

// titled names an object, with its group where several have its kind.
func titled(o *unstructured.Unstructured) string {
	if group := o.GroupVersionKind().Group; group == kube.LLMDModelRewrites().Group {
		return o.GetKind() + "." + group + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetName()
}

func called(model string) string {
	if model == "" {
		return "every model"
	}
	return "model " + model
}
