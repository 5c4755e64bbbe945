package canary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// --load-adapter: pods that lack the canary's adapter load it before the first
// raise. Which ones is in the journal before the first is asked, so that whoever
// takes the rollout back, from any machine, can have it unloaded there, and there
// only. A promoted adapter stays.

// drained is how long after the way back an adapter is unloaded: pickers follow
// the object within milliseconds, and what they sent before has arrived by then.
const drained = 2 * time.Second

// planLoad is the preflight of --load-adapter; it loads nothing.
func (p *prepared) planLoad(ctx context.Context) error {
	name, path := p.record.Plan.Adapter()
	if !p.family.Sparse {
		return exit.With(exit.Usage, hint.Errorf("leave --load-adapter out; it is for an InferenceModel or InferenceModelRewrite",
			"--load-adapter %s: the arms of %s are pools, not adapters", name, p.record.Plan.Target))
	}
	if n := p.evidence.Engines(); n > 1 {
		return hint.Errorf("put the adapter into the pods' command (--lora-modules)",
			"--load-adapter %s: each pod runs %d engines, and only pods with one are asked to load", name, n)
	}
	servers := p.evidence.Servers()
	defer servers.Close()
	lacking, all, err := p.lacking(ctx, servers, name)
	if err == nil {
		p.notes = append(p.notes, fmt.Sprintf("adapter %s is missing on %d of %d ready pods; these load it from %s before the first raise, and pods that start later do not: put it into their command, too",
			name, len(lacking), all, path))
	}
	return err
}

// lacking are the canary's ready pods that do not list the model, of all.
func (p *prepared) lacking(ctx context.Context, servers *evidence.Servers, model string) (lacking []corev1.Pod, all int, err error) {
	pods, err := p.evidence.ReadyServers(ctx, servers)
	if err != nil {
		return nil, 0, err
	}
	for i := range pods {
		names, err := servers.Models(ctx, &pods[i])
		if err != nil {
			return nil, 0, err
		}
		if !slices.Contains(names, model) {
			lacking = append(lacking, pods[i])
		}
	}
	return lacking, len(pods), nil
}

// load has the adapter loaded where it is missing, and asks every pod for a
// token of it. When that does not work nothing has moved, and what was loaded is
// unloaded; a run that had begun to move goes on, since its gates look.
func (o *runOptions) load(ctx context.Context, clients *kube.Clients, p *prepared, report *reporter) error {
	name, path := p.record.Plan.Adapter()
	if old := p.record.Loaded; old != nil && old.Name != name { // of a run that could not unload it
		if err := takeAway(ctx, clients, o.Options().Via, p.store, &p.record, report); err != nil {
			return err
		}
	}
	if name == "" || p.done || p.record.Phase == rollout.RollingBack {
		return nil
	}
	servers := p.evidence.Servers()
	defer servers.Close()
	err := p.loadMissing(ctx, servers, name, path, report)
	if said := len(p.notes); err == nil && p.record.Phase == rollout.Ready {
		err = o.probe.ask(ctx, p)
		for _, note := range p.notes[said:] {
			report.line("note", note)
		}
	}
	switch {
	case err == nil || ctx.Err() != nil: // an interrupt is the engine's to answer
		return nil
	case p.resumed && p.record.Phase != rollout.Ready:
		report.line("warning", err.Error())
		return nil
	case p.resumed:
		return exit.With(exit.PreflightRefused, err)
	case p.record.Loaded == nil: // nothing was written
		return exit.With(exit.PreflightRefused, err)
	}
	p.record.Phase, p.record.Reason = rollout.RolledBack, err.Error()
	return exit.With(exit.PreflightRefused, hint.Wrap(errors.Join(err, takeAway(ctx, clients, o.Options().Via, p.store, &p.record, report)), hint.Of(err)))
}

// loadMissing writes down which pods lack the adapter, and has them load it.
func (p *prepared) loadMissing(ctx context.Context, servers *evidence.Servers, name, path string, report *reporter) error {
	pods, all, err := p.lacking(ctx, servers, name)
	if err != nil || len(pods) == 0 {
		return err
	}
	loaded := rollout.Loaded{Name: name, Port: servers.Port()}
	if p.record.Loaded != nil {
		loaded = *p.record.Loaded
	}
	for i := range pods {
		loaded = *loaded.With(rollout.LoadedPod{Name: pods[i].Name, UID: string(pods[i].UID)})
	}
	p.record.Loaded = &loaded
	if err := save(ctx, p.store, &p.record); err != nil {
		return err
	}
	errs := make([]error, len(pods))
	var wg sync.WaitGroup
	for i := range pods {
		wg.Go(func() { errs[i] = servers.Load(ctx, &pods[i], name, path) })
	}
	wg.Wait()
	for i := range pods {
		if errs[i] != nil {
			return hint.Wrap(errors.Join(errs...), hint.Of(errs[i]))
		}
	}
	report.line("load", fmt.Sprintf("adapter %s on %d pods, from %s", name, len(pods), path))
	return p.evidence.Noticed(ctx, all)
}

// save writes the record outside the engine.
func save(ctx context.Context, store *journal.Store, record *rollout.Record) error {
	record.Write++
	record.Updated = time.Now()
	return store.Save(ctx, *record)
}

// takeAway unloads what the run had loaded, unless somebody else sends requests
// there by now, and notes what it could not reach.
func takeAway(ctx context.Context, clients *kube.Clients, via evidence.Via, store *journal.Store, record *rollout.Record, report *reporter) error {
	ctx = context.WithoutCancel(ctx)
	loaded := record.Loaded
	if record.Ceiling > 0 { // it had a share
		drive.Clock{}.Wait(ctx, drained)
	}
	if others := senders(ctx, clients, record.Plan, loaded.Name); len(others) > 0 {
		report.line("adapter", fmt.Sprintf("%s stays loaded: %s sends requests to it", loaded.Name, strings.Join(others, ", ")))
		record.Loaded = nil
		return save(ctx, store, record)
	}
	left, err := unload(ctx, clients, via, record.Plan.Namespace, *loaded)
	if record.Loaded = nil; len(left) > 0 {
		loaded.Pods = left
		record.Loaded = loaded
	} else {
		report.line("adapter", loaded.Name+" is unloaded where this rollout had it loaded")
	}
	if err != nil {
		err = hint.Wrap(err, "kubectl infer canary abort "+record.Plan.Target+" -n "+record.Plan.Namespace+"   # tries it again")
	}
	return errors.Join(err, save(ctx, store, record))
}

// unload has those of the pods that are still there unload an adapter; left are
// those that did not.
func unload(ctx context.Context, clients *kube.Clients, via evidence.Via, namespace string, loaded rollout.Loaded) (left []rollout.LoadedPod, err error) {
	servers := evidence.NewServers(clients, namespace, loaded.Port, via)
	defer servers.Close()
	pods, err := servers.Ready(ctx, nil)
	if err != nil {
		return loaded.Pods, err
	}
	var errs []error
	for i := range pods {
		name := rollout.LoadedPod{Name: pods[i].Name, UID: string(pods[i].UID)}
		if !slices.Contains(loaded.Pods, name) {
			continue
		}
		_, err := servers.Models(ctx, &pods[i]) // finds the way
		if err == nil {
			err = servers.Unload(ctx, &pods[i], loaded.Name)
		}
		if err != nil {
			left, errs = append(left, name), append(errs, err)
		}
	}
	return left, errors.Join(errs...)
}

// senders are the objects beside the rollout's own that name a model as a
// target. A kind that is not there, or may not be read, names none.
func senders(ctx context.Context, clients *kube.Clients, plan rollout.Plan, model string) []string {
	var names []string
	for _, kind := range target.Kinds() {
		if !kind.Sparse {
			continue
		}
		found, err := clients.Dynamic.Resource(kind.Resource).Namespace(plan.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range found.Items {
			name := kind.Name + "/" + found.Items[i].GetName()
			if !slices.Contains(plan.Targets(), name) && kind.Sends(&found.Items[i], model) {
				names = append(names, name)
			}
		}
	}
	return names
}

// unwanted takes away what a run that went back had loaded. Traffic is at the
// baseline by then: what does not work is told, and tried again by abort.
func unwanted(ctx context.Context, clients *kube.Clients, via evidence.Via, store *journal.Store, record *rollout.Record, report *reporter) {
	if !record.Unwanted() {
		return
	}
	if err := takeAway(ctx, clients, via, store, record, report); err != nil {
		report.line("adapter", err.Error())
		if next := hint.Of(err); next != "" {
			report.line("hint", next)
		}
	}
}
