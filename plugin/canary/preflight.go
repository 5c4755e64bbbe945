package canary

import (
	"context"
	"fmt"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

func selection(p rollout.Plan) target.Selection {
	return target.Selection{Rule: p.Rule, Stable: p.Stable, Canary: p.Canary, AddBackend: p.AddBackend}
}

// checkRoute refuses a route that is not in order before anything moved.
func checkRoute(ctx context.Context, route *target.HTTPRoute, plan rollout.Plan) error {
	if err := checkBackends(route, plan); err != nil {
		return err
	}
	if err := route.CheckSteps(plan.Steps); err != nil {
		return err
	}
	at, err := route.Read(ctx, rollout.Baseline)
	if err != nil {
		return err
	}
	if !at.Accepted {
		return hint.Errorf(fmt.Sprintf("kubectl get %s -n %s -o jsonpath='{.status.parents}'", plan.Target, plan.Namespace),
			"%s is not served as it is: %s", plan.Target, at.Waiting)
	}
	return nil
}

func checkBackends(route *target.HTTPRoute, plan rollout.Plan) error {
	stable, canary := route.Backends()
	for _, ref := range []map[string]any{stable, canary} {
		if ref == nil {
			continue
		}
		if kind, _ := ref["kind"].(string); kind != "InferencePool" || ref["group"] != kube.InferencePools().Group {
			return hint.Errorf("only backends of group "+kube.InferencePools().Group+", kind InferencePool can be measured yet",
				"%s: backend %v is a %v of group %q", plan.Target, ref["name"], ref["kind"], ref["group"])
		}
		if namespace, ok := ref["namespace"].(string); ok && namespace != plan.Namespace {
			return fmt.Errorf("%s: backend %v is in namespace %s; only pools of the route's own namespace can be measured yet", plan.Target, ref["name"], namespace)
		}
	}
	return nil
}

// arms resolves both pools, proves that their metrics can be read, and finds
// what the plan's gates are read from.
func arms(ctx context.Context, clients *kube.Clients, plan rollout.Plan, via evidence.Via) (*evidence.Arms, error) {
	stable, err := evidence.ResolvePool(ctx, clients, plan.Namespace, plan.Stable)
	if err != nil {
		return nil, err
	}
	canary, err := evidence.ResolvePool(ctx, clients, plan.Namespace, plan.Canary)
	if err != nil {
		return nil, err
	}
	exprs, err := plan.Expressions()
	if err != nil {
		return nil, err
	}
	both := evidence.New(clients, stable, canary, via)
	if err := both.Bind(ctx, exprs); err != nil {
		both.Close()
		return nil, err
	}
	return both, nil
}

// checkReady refuses a rollout between pools that cannot serve.
func checkReady(both *evidence.Arms, plan rollout.Plan) error {
	stable, canary := both.Ready()
	for _, arm := range []struct {
		name  string
		ready int
	}{{plan.Stable, stable}, {plan.Canary, canary}} {
		if arm.ready == 0 {
			return hint.Errorf("kubectl get pods -n "+plan.Namespace, "inferencepool %s/%s has no ready pod", plan.Namespace, arm.name)
		}
	}
	if need := rollout.Needed(plan.Steps[0], stable, plan.Capacity); canary < need {
		return hint.Errorf("scale the canary up, or lower --capacity", "inferencepool %s/%s has %d ready pods and needs %d for %d%%",
			plan.Namespace, plan.Canary, canary, need, plan.Steps[0])
	}
	return nil
}

// checkOwner refuses a route that somebody renders from elsewhere, who would
// put the old weights back.
func checkOwner(route *target.HTTPRoute, plan rollout.Plan, answer string) error {
	owner := route.Owner()
	if owner.Tool == "" || answer != "" {
		return nil
	}
	return hint.Errorf(owner.Suspend, "%s is owned by %s (%s), which would revert the weights", plan.Target, owner.Tool, owner.Sign)
}

// ownerNotes tell people who apply the route from a file what to change in it.
func ownerNotes(route *target.HTTPRoute, plan rollout.Plan) []string {
	owner := route.Owner()
	if owner.Tool != "" || len(owner.Managers) == 0 {
		return nil
	}
	last := plan.Steps[len(plan.Steps)-1]
	return []string{fmt.Sprintf("the rules belong to %s: once promoted, put canary share %d%% into the file it applies",
		strings.Join(owner.Managers, ", "), last)}
}
