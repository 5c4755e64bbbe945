package canary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

type runOptions struct {
	planFlags
	showSchema    bool
	onInterrupt   string
	onDrift       string
	probe         probing
	rollbackLimit time.Duration
	watch         time.Duration // of canary plan
	outputs       outputs
	wait          bool
	lock          drive.Lock
	record        recording
	gitops        string

	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
}

func newRun(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &runOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "run TYPE/NAME... --stable NAME --canary NAME [--gate GATE]",
		Short: "Move traffic to another InferencePool or LoRA adapter, step by step",
		Long: `Move traffic to another InferencePool or LoRA adapter, step by step.

The weights of an HTTPRoute move between two InferencePools, those of an
InferenceModel or InferenceModelRewrite between two target models of one pool.

Each step is written to the target, waits until the gateway has accepted it,
and is then watched: a gate that is shown to be broken restores the weights found
at the start. Several targets move one by one and count as one step; the first in
sorted order names the rollout.

The run is recorded in the ConfigMap infer-TYPE-NAME before
every act. If this process dies, traffic stays at a share the last gate approved,
or lower; the same command takes the run up again, and "canary abort" restores
the baseline from anywhere.

Exit codes: 0 promoted, 10 rolled back by a gate, 11 held, 12 interrupted and
resumable, 13 drift, 14 another process drives it, 15 rollback incomplete, 16 refused before
anything moved, 17 waiting for approval, 19 returned to the baseline by request.`,
		Example: `  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 \
    --steps 5,25,50,100 --bake 5m --gate 'errors < 1%' --gate 'ttft p95 < 800ms'

  # the same from a file: stable, canary, steps: [5, 25:approve, 100], gates, …
  kubectl infer canary run httproute/chat -f plan.yaml

  # a LoRA adapter, with the default gates, loaded by the pods that lack it
  kubectl infer canary run inferencemodel/loramodel --stable travel-helper-v1 --canary travel-helper-v2 \
    --load-adapter travel-helper-v2=/models/Qwen-TravelHelper-Lora-v2`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.onInterrupt, "on-interrupt", "hold", "what SIGINT and SIGTERM leave behind: hold the approved share, or rollback")
	o.probe.add(cmd)
	cmd.Flags().StringVar(&o.onDrift, "on-drift", "hold", "when somebody else changes the weights: hold with exit code 13, or reassert, at most three times")
	cmd.Flags().DurationVar(&o.rollbackLimit, "rollback-limit", rollout.DefaultRollbackLimit, "how long a rollback that meets errors is tried before exit code 15")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "wait at a step that needs approval; false ends there with exit code 17")
	o.lock.Add(cmd)
	cmd.Flags().StringVar(&o.gitops, "gitops", "", "for a route that Argo CD, Flux or Helm owns: suspended, or ignored (its weights)")
	cmd.Flags().StringVar(&o.record.path, "record", "", "write what every decision is made of to this new file, for canary replay")
	o.outputs.add(cmd)
	return cmd
}

func (o *runOptions) run(ctx context.Context, args []string) error {
	list, err := o.targets(args, o.streams.In)
	if err != nil {
		return err
	}
	object := list[0] // its journal, its lease
	if err := option.Choice("--on-interrupt", o.onInterrupt, "hold", "rollback"); err != nil {
		return err
	}
	if err := o.outputs.check(); err != nil {
		return err
	}
	clients, err := connect(o.flags)
	if err != nil {
		return err
	}
	plan, err := o.complete(list, clients.Namespace)
	if err != nil {
		return err
	}
	if err := o.lock.Check(); err != nil {
		return err
	}
	if err := option.Choice("--gitops", o.gitops, "", "suspended", "ignored"); err != nil {
		return err
	}
	if err := o.probe.check(); err != nil {
		return err
	}
	if err := option.Choice("--on-drift", o.onDrift, "hold", "reassert"); err != nil {
		return err
	}
	if err := o.outputs.open(o.streams.Out); err != nil {
		return err
	}
	people, began := newReporter(o.streams, time.Now), time.Now()
	ended, err := o.drive(ctx, clients, object, plan, people)
	if ended == nil {
		refused := report.Refused(plan, err, began)
		ended = &refused
	}
	o.outputs.finish(*ended, people)
	return err
}

// drive carries the plan out. There is no result when the run ended before it
// watched anything.
func (o *runOptions) drive(ctx context.Context, clients *kube.Clients, object object, plan rollout.Plan, people *reporter) (*report.Result, error) {
	lease := o.lock.Lease(clients, object.Name, object.name)
	ready, err := o.begin(ctx, clients, object, plan, lease, people)
	if err != nil {
		return nil, err
	}
	defer drive.Release(ctx, lease, people.line)
	defer ready.close()
	if ready.done {
		people.line("done", fmt.Sprintf("%s: this plan was already promoted, by run %s", plan.Target, ready.record.Run))
	}
	if !ready.done {
		people.opening(ready)
	}
	if err := o.load(ctx, clients, &ready, people); err != nil {
		return nil, err
	}
	if err := o.record.open(ready); err != nil {
		return nil, err
	}
	defer o.record.close(people)
	result := rollout.Run(ctx, rollout.Begin(ready.record, ready.judge), rollout.Deps{
		Targets: ready.targets.group(), Journal: ready.store, Evidence: ready.evidence, Clock: drive.Wake(ctx, ready.targets...),
		Reporter:            o.outputs.reporters(people),
		RollBackOnInterrupt: o.onInterrupt == "rollback", ReassertDrift: o.onDrift == "reassert",
		RollbackLimit: o.rollbackLimit, NoWait: !o.wait, Lock: lease, Trace: o.record.trace(),
	})
	unwanted(ctx, clients, o.Options().Via, ready.store, &result.Record, people)
	ended := report.Of(result)
	if err := o.outputs.print(o.streams, ended); err != nil {
		return &ended, err
	}
	return &ended, ending(ctx, result, ready.targets)
}

// begin prepares, takes the lease, and prepares again if the journal changed
// meanwhile. A refusal comes before the lease, so that it writes nothing.
func (o *runOptions) begin(ctx context.Context, clients *kube.Clients, object object, plan rollout.Plan, lease *journal.Lease, report *reporter) (prepared, error) {
	ready, err := o.prepare(ctx, clients, object, plan)
	if err != nil {
		return prepared{}, exit.With(refusal(err), err)
	}
	if err := drive.Acquire(ctx, lease, object.String(), report.line); err != nil {
		ready.close()
		return prepared{}, err
	}
	lease.Keep(ctx)
	now, err := ready.store.Load(ctx)
	if errors.Is(err, journal.ErrNone) {
		err = nil
	}
	if err == nil && (now.Run != ready.found.Run || now.Epoch != ready.found.Epoch || now.Write != ready.found.Write) {
		ready.close()
		ready, err = o.prepare(ctx, clients, object, plan)
	}
	if err != nil {
		drive.Release(ctx, lease, report.line)
		return prepared{}, exit.With(refusal(err), err)
	}
	return ready, nil
}

// prepare is the preflight, with the question whose route this is.
func (o *runOptions) prepare(ctx context.Context, clients *kube.Clients, object object, plan rollout.Plan) (prepared, error) {
	p, err := prepare(ctx, clients, object, plan, o.Options())
	if err != nil || p.done || p.resumed {
		return p, err
	}
	if err := p.targets.checkOwners(o.gitops); err != nil {
		p.close()
		return prepared{}, err
	}
	p.notes = append(p.notes, p.targets.ownerNotes(plan)...)
	if plan.LoadAdapter != "" {
		err = p.planLoad(ctx) // the pods are asked once they have it
	} else {
		err = o.probe.ask(ctx, &p)
	}
	if err != nil {
		p.close()
		return prepared{}, err
	}
	return p, nil
}

// prepared is everything a run needs, checked.
type prepared struct {
	family   family
	targets  targets
	store    *journal.Store
	record   rollout.Record
	found    rollout.Record // as the journal was
	judge    rollout.Judge
	evidence *evidence.Arms
	resumed  bool
	done     bool // the last run of this plan was promoted, and the targets are still there
	notes    []string
}

func (p prepared) close() {
	if p.evidence != nil {
		p.evidence.Close()
	}
}

// prepare is the preflight: it reads everything, refuses what cannot work, and
// writes nothing.
func prepare(ctx context.Context, clients *kube.Clients, object object, plan rollout.Plan, from evidence.Options) (prepared, error) {
	store := journal.New(clients.Core, plan.Namespace, object.Name, object.name)
	old, err := store.Load(ctx)
	if err != nil && !errors.Is(err, journal.ErrNone) {
		return prepared{}, err
	}
	recorded := err == nil
	if err := checkMirror(store, plan.Target, plan.Namespace); err != nil {
		return prepared{}, err
	}
	digest, err := plan.Digest()
	if err != nil {
		return prepared{}, err
	}
	unfinished := recorded && !old.Phase.Finished()
	if unfinished && old.PlanDigest != digest {
		return prepared{}, hint.Errorf(fmt.Sprintf("kubectl infer canary status %s -n %s   # then repeat its command, or: canary abort", plan.Target, plan.Namespace),
			"%s has an unfinished rollout to %s with another plan, begun by %s", plan.Target, old.Plan.Canary, old.Holder)
	}
	if recorded && old.Phase == rollout.Promoted && old.PlanDigest == digest {
		if p, err := promoted(ctx, clients, old); err != nil || p.done {
			p.store, p.found = store, old
			return p, err
		}
	}
	p := prepared{family: object.family, store: store, found: old, resumed: unfinished}
	if unfinished {
		p.record = resume(old)
		p.targets, err = resumeTargets(clients, old)
	} else {
		err = p.begin(ctx, clients, plan, digest)
	}
	if err != nil {
		return prepared{}, err
	}
	return p, p.measure(ctx, clients, plan, from)
}

// begin opens and checks the targets of a new run, and makes its record.
func (p *prepared) begin(ctx context.Context, clients *kube.Clients, plan rollout.Plan, digest string) error {
	var err error
	if p.targets, err = openTargets(ctx, clients, plan); err != nil {
		return err
	}
	if err := p.targets.checkStamps(plan.Namespace, p.found.Run); err != nil {
		return err
	}
	if err := p.targets.check(ctx, p.family, plan); err != nil {
		return err
	}
	p.record, err = fresh(p.targets, plan, digest, p.found)
	return err
}

// promoted takes up the last run, of the same plan, if its end still stands:
// all that may be left to do is to take its stamp away.
func promoted(ctx context.Context, clients *kube.Clients, old rollout.Record) (prepared, error) {
	list, err := resumeTargets(clients, old)
	if err != nil {
		return prepared{}, err
	}
	at, err := list.group().Read(ctx, old.Goal)
	if errors.Is(err, rollout.ErrDrift) {
		return prepared{}, nil // another object by now: a new run judges it
	}
	list.adopt(old.Stamp())
	return prepared{targets: list, record: old, done: at.AtGoal}, err
}

// measure opens the evidence and the judge.
func (p *prepared) measure(ctx context.Context, clients *kube.Clients, plan rollout.Plan, from evidence.Options) error {
	if p.record.Phase == rollout.RollingBack {
		return nil
	}
	both, err := p.family.arms(ctx, clients, p.targets, plan, from)
	if err != nil {
		return err
	}
	p.evidence = both
	if err := both.CheckInterval(ctx, plan.ScrapeInterval, plan.Settle); err != nil {
		both.Close()
		return err
	}
	if err := checkReady(both, plan); err != nil && !p.resumed {
		both.Close()
		return err
	}
	if !p.resumed {
		p.record.StableReady, _ = both.Ready()
	}
	p.record.Source = fmt.Sprintf("%s, %s", both.Source(), both.Via())
	judge, err := rollout.NewGates(plan, both.Edges(), p.record.Gates)
	if err != nil {
		both.Close()
		return err
	}
	p.judge, p.notes = judge, append(append(p.notes, both.Notes()...), judge.Notes()...)
	return nil
}

// fresh is the record of a run that begins now. Its epoch goes on from the
// last run's, so that a process that slept through that one cannot write.
func fresh(list targets, plan rollout.Plan, digest string, old rollout.Record) (rollout.Record, error) {
	now := time.Now()
	record := rollout.Record{
		Format: rollout.RecordFormat, Run: uuid.NewString(), Epoch: old.Epoch + 1, Write: old.Write + 1,
		Holder: drive.Holder(), Plan: plan, PlanDigest: digest,
		Phase: rollout.Ready, Goal: rollout.Baseline, From: rollout.Baseline, Started: now, Updated: now,
	}
	if old.Run != "" {
		record.Previous = old.Summarise()
	}
	if old.Unwanted() {
		record.Loaded = old.Loaded
	}
	err := list.record(&record)
	return record, err
}

// resume takes over the record of a process that is gone.
func resume(old rollout.Record) rollout.Record {
	old.Epoch++
	old.Write++
	old.Holder, old.Updated = drive.Holder(), time.Now()
	return old
}

// refusal is the exit code of an error before anything moved: what the user
// can mend is a refusal, the rest a failure.
func refusal(err error) exit.Code {
	if errors.Is(err, context.Canceled) {
		return exit.Interrupted
	}
	if hint.Of(err) != "" {
		return exit.PreflightRefused
	}
	return exit.Failure
}
