package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
)

// targets are the objects of one rollout, the one with the journal first.
type targets []*target.Object

func selection(p rollout.Plan) target.Selection {
	return target.Selection{Rule: p.Rule, Stable: p.Stable, Canary: p.Canary, AddBackend: p.AddBackend}
}

// openTargets reads every target and takes it as it is for the baseline.
func openTargets(ctx context.Context, clients *kube.Clients, plan rollout.Plan) (targets, error) {
	var list targets
	for _, name := range plan.Targets() {
		o, err := parseTarget(name)
		if err != nil {
			return nil, err
		}
		opened, err := target.Open(ctx, clients.Dynamic, o.Kind, plan.Namespace, o.name, selection(plan))
		if err != nil {
			return nil, err
		}
		list = append(list, opened)
	}
	return list, nil
}

// resumeTargets takes up the targets whose baselines record keeps.
func resumeTargets(clients *kube.Clients, record rollout.Record) (targets, error) {
	baselines := append([]json.RawMessage{record.Baseline}, record.Also...)
	names := record.Plan.Targets()
	if len(names) != len(baselines) {
		return nil, fmt.Errorf("journal of %s keeps %d baselines for %d targets", record.Plan.Target, len(baselines), len(names))
	}
	var list targets
	for i, name := range names {
		o, err := parseTarget(name)
		if err != nil {
			return nil, err
		}
		taken, err := target.Resume(clients.Dynamic, o.Kind, record.Plan.Namespace, o.name, selection(record.Plan), baselines[i])
		if err != nil {
			return nil, err
		}
		list = append(list, taken)
	}
	return list, nil
}

// group is the targets as the engine moves them.
func (t targets) group() rollout.Group {
	var g rollout.Group
	for _, o := range t {
		g = append(g, o)
	}
	return g
}

// adopt takes stamp as ours on every target without writing it.
func (t targets) adopt(stamp string) {
	for _, o := range t {
		o.Adopt(stamp)
	}
}

// record puts the targets' baselines into a record.
func (t targets) record(into *rollout.Record) error {
	var all []json.RawMessage
	for _, o := range t {
		raw, err := o.Record()
		if err != nil {
			return err
		}
		all = append(all, raw)
	}
	into.Baseline, into.BaselineDigest = all[0], target.Digest(all...)
	if len(all) > 1 {
		into.Also = all[1:]
	}
	return nil
}

// checkStamps refuses a target that another rollout has stamped. The stamp of
// the last run in this journal, which is run, is ours to replace.
func (t targets) checkStamps(namespace, run string) error {
	for _, o := range t {
		stamp := o.FoundStamp()
		if stamp == "" || target.StampedRun(stamp) == run {
			continue
		}
		next := fmt.Sprintf("if nothing runs any more: kubectl annotate %s -n %s %s-", o.Name(), namespace, target.StampAnnotation)
		if first := stampedTarget(stamp); first != "" {
			next = "kubectl infer canary status " + first + " -n " + namespace
		}
		if target.StampedKind(stamp) == "mirror" {
			next = "kubectl infer mirror stop " + o.Name()
		}
		return hint.Errorf(next, "%s carries the stamp of another run, %s; one rollout at a time may move it", o.Name(), target.StampedRun(stamp))
	}
	return nil
}

// manualRestore are the commands that restore every baseline with nothing but
// kubectl.
func (t targets) manualRestore() string {
	var lines []string
	for _, o := range t {
		lines = append(lines, o.ManualRestore())
	}
	return strings.Join(lines, "\n")
}

// suspend is what keeps a GitOps owner's hands off the weights; "" when none is
// recognised, or nobody answers in time.
func (t targets) suspend(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drive.ReleaseLimit)
	defer cancel()
	for _, o := range t {
		if owner, err := o.ReadOwner(ctx); err == nil && owner.Suspend != "" {
			return owner.Suspend
		}
	}
	return ""
}

// leader is the target that o moves with and whose name the journal has, by o's
// stamp; "" if o carries none of that kind.
func leader(ctx context.Context, clients *kube.Clients, o object, namespace string) string {
	found, err := clients.Dynamic.Resource(o.Resource).Namespace(namespace).Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return stampedTarget(found.GetAnnotations()[target.StampAnnotation])
}

// stampedTarget is the target a stamp names, where several carry it.
func stampedTarget(stamp string) string {
	var s struct {
		Target string `json:"target"`
	}
	if json.Unmarshal([]byte(stamp), &s) != nil {
		return ""
	}
	return s.Target
}
