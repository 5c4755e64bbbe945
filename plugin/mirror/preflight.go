package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

// prepared is everything a mirror needs, checked. Nothing was written.
type prepared struct {
	book     *journal.Mirrors
	found    engine.Record // as the journal was
	record   engine.Record
	route    route
	services services
	both     *evidence.Arms
	judge    rollout.Judge
	notes    []string
}

// prepare reads everything and refuses what cannot work.
func (o *startOptions) prepare(ctx context.Context, clients *kube.Clients, name string) (prepared, error) {
	p := prepared{book: journal.NewMirrors(clients.Core, clients.Namespace, kind, name)}
	var err error
	p.found, err = p.book.Load(ctx)
	if err := free(p.book, p.found, err, o.plan.Target); err != nil {
		return p, err
	}
	to, err := findShadow(ctx, clients, o.plan.Shadow, name)
	if err != nil {
		return p, err
	}
	o.plan.Shadow = to.name
	opened, err := target.OpenMirror(ctx, clients.Dynamic, clients.Namespace, name, target.Mirror{Rule: o.plan.Rule, Primary: o.primary, Backend: to.backend})
	if err != nil {
		return p, err
	}
	p.route, p.services = route{opened}, services{clients: clients, namespace: clients.Namespace, service: to.service, name: nameOf(to)}
	if err := o.checkRoute(ctx, p); err != nil {
		return p, err
	}
	if p.notes, err = checkGateways(ctx, clients, name, o.plan.Percent); err != nil {
		return p, err
	}
	if o.dryRun != "client" {
		if err := rehearse(ctx, p, o.plan); err != nil {
			return p, err
		}
	}
	if err := o.measure(ctx, clients, &p, to); err != nil {
		return p, err
	}
	if p.record, err = o.begin(p.found, to, opened); err != nil {
		p.both.Close()
		return p, err
	}
	p.record.Source = fmt.Sprintf("%s, %s", p.both.Source(), p.both.Via())
	if p.record.Answers, err = o.compareAnswers(ctx, p.both); err != nil {
		p.both.Close()
	}
	return p, err
}

func nameOf(to shadow) string {
	if to.service == nil {
		return ""
	}
	return to.service.Name
}

// free refuses a route that a canary or another mirror has. loadErr is what came
// of loading the journal.
func free(book *journal.Mirrors, found engine.Record, loadErr error, name string) error {
	if loadErr != nil && !errors.Is(loadErr, journal.ErrNone) {
		return loadErr
	}
	if loadErr == nil && found.Phase != engine.Done {
		return hint.Errorf("kubectl infer mirror stop "+name+"   # then begin anew",
			"%s has a mirror to %s that is not over (%s), begun by %s", name, found.Plan.Shadow, found.Phase, found.Holder)
	}
	raw := book.Beside(journal.RecordKey)
	if raw == nil {
		return nil
	}
	canary, err := journal.Decode(raw)
	if err != nil {
		return err
	}
	if !canary.Phase.Finished() {
		return hint.Errorf("kubectl infer canary status "+name+"   # or, to end it: canary abort",
			"%s has an unfinished rollout to %s; one run, canary or mirror, may have it at a time", name, canary.Plan.Canary)
	}
	return nil
}

// checkRoute refuses a route that is not served, is somebody else's, or carries
// the stamp of a run that neither record knows.
func (o *startOptions) checkRoute(ctx context.Context, p prepared) error {
	if stamp := p.route.FoundStamp(); stamp != "" && target.StampedRun(stamp) != p.found.Run {
		known := false
		if raw := p.book.Beside(journal.RecordKey); raw != nil {
			canary, err := journal.Decode(raw)
			known = err == nil && canary.Run == target.StampedRun(stamp)
		}
		if !known {
			return hint.Errorf(fmt.Sprintf("if nothing runs any more: kubectl annotate %s %s-", o.plan.Target, target.StampAnnotation),
				"%s carries the stamp of another run, %s; one run at a time may write it", o.plan.Target, target.StampedRun(stamp))
		}
	}
	if owner := p.route.Owner(); owner.Tool != "" && o.gitops == "" {
		return hint.Errorf("let it leave the route alone meanwhile, then give --gitops=suspended, or --gitops=ignored where it ignores the rules' filters",
			"%s is owned by %s (%s), which would take the filter off", o.plan.Target, owner.Tool, owner.Sign)
	}
	at, err := p.route.Read(ctx, rollout.Baseline)
	if err != nil {
		return err
	}
	if !at.Accepted {
		return hint.Errorf(fmt.Sprintf("kubectl get %s -n %s -o jsonpath='{.status.parents}'", o.plan.Target, o.plan.Namespace),
			"%s is not served as it is: %s", o.plan.Target, at.Waiting)
	}
	return nil
}

// rehearse has the API server check both writes. A definition of HTTPRoute that
// does not know percent would drop it, and every request be copied.
func rehearse(ctx context.Context, p prepared, plan engine.Plan) error {
	there, err := p.route.Rehearse(ctx, rollout.Goal(plan.Percent))
	if err != nil {
		return err
	}
	if !there {
		return hint.Errorf("install Gateway API v1.3 or newer in the experimental channel, or v1.4 or newer", "this cluster's HTTPRoute keeps no percent of a RequestMirror filter: every request would be copied")
	}
	if p.services.service == nil {
		return nil
	}
	return p.services.make(ctx, []string{"All"})
}

// measure opens the counters of both sides, and asks the shadow what it serves.
func (o *startOptions) measure(ctx context.Context, clients *kube.Clients, p *prepared, to shadow) error {
	ref, _ := p.route.Entries()
	group, _ := ref["group"].(string)
	poolName, _ := ref["name"].(string)
	if !evidence.KnownPools(group) || ref["kind"] != "InferencePool" {
		return hint.Errorf("only a primary of kind InferencePool can be measured yet", "%s: backend %v is a %v of group %q", o.plan.Target, ref["name"], ref["kind"], group)
	}
	if namespace, ok := ref["namespace"].(string); ok && namespace != o.plan.Namespace {
		return hint.Errorf("mirror from the pool's namespace", "%s: backend %s is in namespace %s; only pools of the route's own namespace can be measured yet", o.plan.Target, poolName, namespace)
	}
	primary, err := evidence.ResolvePool(ctx, clients, o.plan.Namespace, evidence.PoolRef{Group: group, Name: poolName})
	if err != nil {
		return err
	}
	o.plan.Primary = poolName
	if primary.Servers.String() == to.pods.Servers.String() {
		return hint.Errorf("--to another pool or Service", "%s selects the pods of the primary, %s: both sides would be the same", to.pods, primary)
	}
	exprs, err := o.plan.Judging().Expressions()
	if err != nil {
		return err
	}
	p.both = evidence.New(clients, primary, to.pods, o.sources())
	if err = p.both.Bind(ctx, exprs); err == nil {
		err = o.examine(ctx, p, primary, to)
	}
	if err != nil {
		p.both.Close()
	}
	return err
}

// examine looks at both sides once they can be read.
func (o *startOptions) examine(ctx context.Context, p *prepared, primary evidence.Pool, to shadow) error {
	for i, pool := range []evidence.Pool{primary, to.pods} {
		ready, other := p.both.Ready()
		if i == 1 {
			ready = other
		}
		if ready == 0 {
			return hint.Errorf("kubectl get pods -n "+o.plan.Namespace, "%s has no ready pod", pool)
		}
	}
	if err := p.both.CheckInterval(ctx, o.plan.ScrapeInterval, o.plan.Settle); err != nil {
		return err
	}
	judge, err := rollout.NewGates(o.plan.Judging(), p.both.Edges(), nil)
	if err != nil {
		return err
	}
	p.judge, p.notes = judge, append(append(p.notes, p.both.Notes()...), judge.Notes()...)
	switch {
	case o.probe == "none":
		return nil
	case o.probe == "auto" && !p.both.Reached():
		p.notes = append(p.notes, "no shadow pod was asked for a token, since the metrics come from elsewhere: --probe=pod asks")
		return nil
	}
	// No model name is rewritten on the way of a copy, so the shadow must know
	// every name itself.
	tokens, err := p.both.Probe(ctx)
	if err == nil {
		p.notes = append(p.notes, fmt.Sprintf("every ready shadow pod answers for every model of the primary (%d first tokens)", tokens))
	}
	return err
}
