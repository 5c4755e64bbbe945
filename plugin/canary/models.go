package canary

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		own, err := evidence.SoleOwner(all.Items, o.name)
		if err != nil {
			return nil, err
		}
		pool := evidence.PoolOf(own)
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
