package canary

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// modelArms are two target models of one pool, which the endpoint picker's
// counters tell apart.
func modelArms(ctx context.Context, clients *kube.Clients, _ targets, plan rollout.Plan, from evidence.Options) (*evidence.Arms, error) {
	var ref evidence.PoolRef
	for i, name := range plan.Targets() {
		o, err := parseTarget(name)
		if err != nil {
			return nil, err
		}
		all, err := clients.Dynamic.Resource(o.Resource).Namespace(plan.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list %s in namespace %s: %w", o.Resource.Resource, plan.Namespace, err)
		}
		own, err := soleOwner(all.Items, o.name)
		if err != nil {
			return nil, err
		}
		pool := poolOf(own)
		if i > 0 && pool != ref {
			return nil, hint.Errorf("run one rollout for each pool", "%s is of %s, and %s of %s", plan.Target, ref, name, pool)
		}
		ref = pool
	}
	pool, err := evidence.ResolvePool(ctx, clients, plan.Namespace, ref)
	if err != nil {
		return nil, err
	}
	stable, canary := pool, pool
	stable.Model, canary.Model = plan.Stable, plan.Canary
	return bind(ctx, clients, stable, canary, plan, from)
}

// poolOf is the pool that an InferenceModel or InferenceModelRewrite is of. Both
// kinds leave the group out for a default, each its own.
func poolOf(object *unstructured.Unstructured) evidence.PoolRef {
	name, _, _ := unstructured.NestedString(object.Object, "spec", "poolRef", "name")
	group, _, _ := unstructured.NestedString(object.Object, "spec", "poolRef", "group")
	fallback := kube.InferencePools().Group
	if object.GetKind() == "InferenceModel" {
		fallback = kube.AlphaInferencePools().Group
	}
	return evidence.PoolRef{Group: cmp.Or(group, fallback), Name: name}
}

// soleOwner finds the object called name, and refuses it when another one speaks
// for the same model name of the same pool: the older one wins, so weights in the
// other are read by nobody.
func soleOwner(all []unstructured.Unstructured, name string) (*unstructured.Unstructured, error) {
	i := slices.IndexFunc(all, func(o unstructured.Unstructured) bool { return o.GetName() == name })
	if i < 0 {
		return nil, fmt.Errorf("%q was deleted meanwhile", name)
	}
	own := &all[i]
	for j := range all {
		other := &all[j]
		if j == i || poolOf(other) != poolOf(own) {
			continue
		}
		for _, model := range claims(own) {
			if slices.Contains(claims(other), model) {
				return nil, hint.Errorf("delete one of the two, or change its model name",
					"%s %s and %s both say which targets serve %s; endpoint pickers follow the older one", own.GetKind(), name, other.GetName(), called(model))
			}
		}
	}
	return own, nil
}

// claims are the model names that an object gives targets to; "" is every name.
func claims(object *unstructured.Unstructured) []string {
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

func called(model string) string {
	if model == "" {
		return "every model"
	}
	return "model " + model
}
