package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

type startOptions struct {
	plan        engine.Plan
	primary     string
	gitops      string
	probe       string
	compare     int
	keepAnswers string
	dryRun      string
	output      string
	removeLimit time.Duration
	lock        drive.Lock
	option.Metrics

	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
}

func newStart(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &startOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "start httproute/NAME --to SERVICE|POOL --percent N --max-tokens-per-second N",
		Short: "Copy requests to a shadow until there is a verdict",
		Long: `Copy requests to a shadow until there is a verdict.

The primary is watched alone first; then one RequestMirror filter is added to one
rule of the route, and the shadow's model servers are compared with the primary's:
time to first token, time of the whole request, errors and tokens. A gate that is
shown to be broken ends it at once. However it ends, the filter is taken away
first, then the Service that was made for a pool. In gates, stable is the primary.

Clients never see an answer of the shadow. Each copy costs what a request costs,
so the percentage and the token budget must both be given: a shadow that spends
more over ten seconds ends the mirror, undecided. Copies carry their headers and
prompts, credentials included.

If this process is killed the copying goes on; "mirror stop" ends it from anywhere.

Exit codes: 0 no gate shows harm, 18 worse, 11 undecided or interrupted, 14
another process drives a run of this route, 15 the filter could not be taken away,
16 refused before anything was written.`,
		Example: `  kubectl infer mirror start httproute/chat --to inferencepool/qwen-v2 --percent 20 --max-tokens-per-second 2000

  # a Service that is there, one rule of several, gates of your own
  kubectl infer mirror start httproute/chat --rule qwen --to service/qwen-v2 --percent 5 \
    --max-tokens-per-second 500 --duration 30m --gate 'ttft p95 < 1.2x stable' --gate 'errors < 1%'`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	o.add(cmd)
	return cmd
}

func (o *startOptions) add(cmd *cobra.Command) {
	set, p := cmd.Flags(), &o.plan
	set.StringVar(&p.Shadow, "to", "", "what gets the copies, of the route's namespace: service/NAME[:PORT], inferencepool/NAME (a plain Service is made before its pods), or NAME")
	set.IntVar(&p.Percent, "percent", 0, "percentage of the rule's requests to copy; must be given")
	set.IntVar(&p.MaxTokensPerSecond, "max-tokens-per-second", 0, "what the copies may spend, prompts and answers, over any ten seconds; must be given")
	set.DurationVar(&p.Duration, "duration", engine.DefaultDuration, "how long both sides are compared")
	set.StringVar(&p.Rule, "rule", "", "name or index of the route's rule, when several have backends")
	set.StringVar(&o.primary, "primary", "", "which InferencePool of the rule to compare with, when several serve")
	set.StringArrayVar(&p.Gates, "gate", nil, "what the shadow must keep; repeatable (default '"+strings.Join(engine.DefaultGates(), "', '")+"')")
	set.IntVar(&p.MinRequests, "min-requests", rollout.DefaultMinRequests, "copies each gate must have seen for a verdict")
	set.Float64Var(&p.Alpha, "alpha", rollout.DefaultAlpha, "bound on the probability of calling a shadow worse that keeps every gate")
	set.DurationVar(&p.Calibrate, "calibrate", engine.DefaultCalibrate, "how long the primary is watched before anything is copied")
	set.DurationVar(&p.Settle, "settle", rollout.DefaultSettle, "what is discarded after the first copy")
	set.DurationVar(&p.ScrapeInterval, "scrape-interval", rollout.DefaultScrapeInterval, "time between two looks at the metrics")
	set.IntVar(&p.MaxRestarts, "max-restarts", rollout.DefaultMaxRestarts, "shadow container restarts that are tolerated")
	set.StringVar(&o.probe, "probe", "auto", "before anything is copied, ask every shadow pod for a first token of every model that the primary lists: auto where pods are reached, pod, or none")
	set.IntVar(&o.compare, "compare-answers", 0, "ask both sides this many prompts of ours at temperature 0, and report how similar the answers are")
	set.StringVar(&o.keepAnswers, "keep-answers", "", "with --compare-answers: write prompts and answers to this new file; they are kept nowhere else")
	set.StringVar(&o.gitops, "gitops", "", "for a route that Argo CD, Flux or Helm owns: suspended, or ignored (its filters)")
	set.DurationVar(&o.removeLimit, "remove-limit", engine.DefaultRemoveLimit, "how long taking the filter away is tried before exit code 15")
	set.StringVar(&o.dryRun, "dry-run", "none", "none; client: check everything and write nothing; server: have the API server check the writes, too")
	set.StringVarP(&o.output, "output", "o", "", "json, or empty for a table")
	o.lock.Add(cmd)
	o.Add(set)
}

func (o *startOptions) check() error {
	if len(o.plan.Gates) == 0 {
		o.plan.Gates = engine.DefaultGates()
	}
	for _, err := range []error{
		exit.With(exit.Usage, o.plan.Validate()), o.lock.Check(), o.Check(),
		option.Choice("--output", o.output, "", "json"), option.Choice("--dry-run", o.dryRun, "none", "client", "server"),
		option.Choice("--gitops", o.gitops, "", "suspended", "ignored"), option.Choice("--probe", o.probe, "auto", "pod", "none"),
	} {
		if err != nil {
			return err
		}
	}
	if o.compare < 0 || o.compare > maxPrompts || o.keepAnswers != "" && o.compare == 0 {
		return exit.With(exit.Usage, hint.Errorf("--compare-answers 20", "--compare-answers %d is from 0 to %d, and --keep-answers needs some", o.compare, maxPrompts))
	}
	exprs, err := o.plan.Judging().Expressions()
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	o.plan.Gates = o.plan.Gates[:0:0]
	for _, e := range exprs {
		o.plan.Gates = append(o.plan.Gates, e.String())
	}
	return nil
}

// sources are the model servers' pages, unless others are asked for: no picker
// is asked for copies.
func (o *startOptions) sources() evidence.Options {
	from := o.Options()
	if from.Metrics == evidence.AutoMetrics {
		from.Metrics = "vllm"
	}
	return from
}

func (o *startOptions) run(ctx context.Context, args []string) error {
	name, err := parseRoute(args)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return err
	}
	clients, err := kube.New(o.flags)
	if err != nil {
		return err
	}
	o.plan.Target, o.plan.Namespace = kind+"/"+name, clients.Namespace
	report := &reporter{out: o.streams.ErrOut, now: time.Now}
	ready, err := o.prepare(ctx, clients, name)
	if apierrors.IsForbidden(err) && hint.Of(err) == "" {
		err = hint.Wrap(err, "somebody who may: kubectl infer install rbac --mirror --for "+o.plan.Target+" -n "+clients.Namespace+" --user-name YOU")
	}
	if err != nil {
		return exit.With(refusal(err), err)
	}
	defer ready.both.Close()
	report.opening(ready)
	if o.dryRun != "none" {
		fmt.Fprintf(o.streams.Out, "%s: would copy %d%% of the requests to %s (dry run)\n", o.plan.Target, o.plan.Percent, o.plan.Shadow)
		return nil
	}
	lease := o.lock.Lease(clients, kind, name)
	if err := drive.Acquire(ctx, lease, o.plan.Target, report.line); err != nil {
		return err
	}
	defer drive.Release(ctx, lease, report.line)
	lease.Keep(ctx)
	if err := ready.fresh(ctx, o.plan.Target); err != nil {
		return exit.With(refusal(err), err)
	}
	end := engine.Run(ctx, engine.Begin(ready.record, ready.judge), engine.Deps{
		Target: ready.route, Shadow: ready.services, Journal: ready.book, Evidence: ready.both,
		Clock: drive.Wake(ctx, ready.route), Reporter: report, Lock: lease, RemoveLimit: o.removeLimit,
	})
	return conclude(o.streams, o.output, end, ready.route)
}

// fresh reads the journal again under the lease: another process may have begun
// a run, or ended one, since the preflight.
func (p prepared) fresh(ctx context.Context, name string) error {
	now, err := p.book.Load(ctx)
	if err != nil && !errors.Is(err, journal.ErrNone) {
		return err
	}
	if now.Run != p.found.Run || now.Epoch != p.found.Epoch {
		return hint.Errorf("repeat the command", "%s: another run began since the preflight", name)
	}
	return free(p.book, now, err, name)
}

// begin is the record of a mirror that begins now.
func (o *startOptions) begin(found engine.Record, to shadow, route *target.Object) (engine.Record, error) {
	now := time.Now()
	record := engine.Record{
		Format: engine.RecordFormat, Run: uuid.NewString(), Epoch: found.Epoch + 1, Write: found.Write + 1, Holder: drive.Holder(),
		Plan: o.plan, Backend: to.backend, Phase: engine.Ready, Started: now, Updated: now,
	}
	if to.service != nil {
		record.Made = to.service.Name
	}
	var err error
	record.Baseline, err = route.Record()
	record.BaselineDigest = target.Digest(record.Baseline)
	return record, err
}

// refusal is the exit code of an error before anything was written.
func refusal(err error) exit.Code {
	var coded *exit.Error
	switch {
	case errors.As(err, &coded):
		return coded.Code
	case errors.Is(err, context.Canceled):
		return exit.Interrupted
	case hint.Of(err) != "":
		return exit.PreflightRefused
	}
	return exit.Failure
}
