package canary

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

// modelArms are two target models of one pool, which the endpoint picker's
// counters tell apart.
func modelArms(ctx context.Context, clients *kube.Clients, _ targets, plan rollout.Plan, from evidence.Options) (*evidence.Arms, error) {
	claims, err := listClaims(ctx, clients, plan.Namespace)
	if err != nil {
		return nil, err
	}
	var ref evidence.PoolRef
	var own object
	for i, name := range plan.Targets() {
		if own, err = parseTarget(name); err != nil {
			return nil, err
		}
		var others []unstructured.Unstructured
		for kind, list := range claims {
			if kind != own.Resource {
				others = append(others, list...)
			}
		}
		found, err := evidence.SoleOwner(claims[own.Resource], own.name, others...)
		if err != nil {
			return nil, err
		}
		pool := evidence.PoolOf(found)
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
	both, err := bind(ctx, clients, stable, canary, plan, from)
	if err != nil {
		return nil, err
	}
	_, llmd := claims[kube.LLMDModelRewrites()]
	if err := both.Heeds(ctx, own.Resource.GroupResource(), llmd); err != nil {
		both.Close()
		return nil, err
	}
	return both, nil
}

// listClaims are the objects that may say which targets serve a model, by kind;
// a kind that the cluster does not serve is left out.
func listClaims(ctx context.Context, clients *kube.Clients, namespace string) (map[schema.GroupVersionResource][]unstructured.Unstructured, error) {
	claims := map[schema.GroupVersionResource][]unstructured.Unstructured{}
	for _, kind := range target.Kinds() {
		if !kind.Sparse {
			continue
		}
		all, err := clients.Dynamic.Resource(kind.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s in namespace %s: %w", kind.Resource.GroupResource(), namespace, err)
		}
		claims[kind.Resource] = all.Items
	}
	return claims, nil
}
