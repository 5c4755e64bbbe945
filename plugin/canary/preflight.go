package canary

import (
	"context"
	"fmt"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// check refuses targets that are not in order before anything moved.
func (t targets) check(ctx context.Context, f family, plan rollout.Plan) error {
	for _, o := range t {
		if err := f.check(o, plan); err != nil {
			return err
		}
		if err := o.CheckSteps(plan.Steps); err != nil {
			return err
		}
		at, err := o.Read(ctx, rollout.Baseline)
		if err != nil {
			return err
		}
		if !at.Accepted {
			return hint.Errorf(fmt.Sprintf("kubectl get %s -n %s -o jsonpath='{.status.parents}'", o.Name(), plan.Namespace),
				"%s is not served as it is: %s", o.Name(), at.Waiting)
		}
	}
	return nil
}

// checkMirror refuses a target whose requests are being copied: one run, canary
// or mirror, has an object at a time.
func checkMirror(store *journal.Store, target, namespace string) error {
	if at, ok := journal.Mirrored(store); ok {
		return hint.Errorf(fmt.Sprintf("kubectl infer mirror status %s -n %s   # or, to end it: mirror stop", target, namespace),
			"%s has a mirror to %s that is not over (%s), begun by %s; one run, canary or mirror, may have it at a time", target, at.Plan.Shadow, at.Phase, at.Holder)
	}
	return nil
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

// checkOwners refuses a target that somebody renders from elsewhere, who would
// put the old weights back.
func (t targets) checkOwners(answer string) error {
	for _, o := range t {
		if owner := o.Owner(); owner.Tool != "" && answer == "" {
			return hint.Errorf(owner.Suspend, "%s is owned by %s (%s), which would revert the weights", o.Name(), owner.Tool, owner.Sign)
		}
	}
	return nil
}

// ownerNotes tell people who apply a target from a file what to change in it.
func (t targets) ownerNotes(plan rollout.Plan) []string {
	var notes []string
	for _, o := range t {
		owner := o.Owner()
		if owner.Tool != "" || len(owner.Managers) == 0 {
			continue
		}
		notes = append(notes, fmt.Sprintf("the rules of %s belong to %s: once promoted, put canary share %d%% into the file it applies",
			o.Name(), strings.Join(owner.Managers, ", "), plan.Steps[len(plan.Steps)-1]))
	}
	return notes
}
