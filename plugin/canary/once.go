package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/drive"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

// onceOptions judge a canary that somebody else moves.
type onceOptions struct {
	plan rollout.Plan
	option.Metrics
	once   bool
	output string

	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
}

// NewGate is the `gate` command.
func NewGate(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &onceOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "gate TYPE/NAME --once --stable NAME --canary NAME [--gate GATE]",
		Short: "Judge a canary that something else moves, once, and write nothing",
		Long: `Judge a canary that something else moves, once, and write nothing.

Stable is watched first, then both arms, at the share they have now. For tools
that move traffic themselves and ask others whether it goes well: Argo Rollouts
runs it as a Job, Flagger behind a webhook (docs/ci). Each call has its own error
bound: a healthy canary is called worse with probability at most --alpha in one.

Exit codes: 0 no gate shows harm and each has its floor of requests, 18 worse,
11 undecided, 16 refused, since it could not be judged.`,
		Example: `  kubectl infer gate httproute/chat --once --stable qwen-v1 --canary qwen-v2 --gate 'errors < 1%' -o json
  kubectl infer gate httproute/chat --once --stable qwen-v1 --canary qwen-v2 --calibrate 1m --bake 5m`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	set, p := cmd.Flags(), &o.plan
	set.AddFlagSet(option.Kube(flags))
	set.BoolVar(&o.once, "once", false, "one verdict, and the end")
	set.StringVar(&p.Stable, "stable", "", "InferencePool or target model that serves")
	set.StringVar(&p.Canary, "canary", "", "InferencePool or target model that is judged")
	set.StringArrayVar(&p.Gates, "gate", nil, "what the canary must keep; repeatable (default "+quoted(rollout.DefaultGates())+")")
	set.DurationVar(&p.Calibrate, "calibrate", 30*time.Second, "how long stable is watched before the canary is judged, for edges and spreads")
	set.DurationVar(&p.Bake, "bake", time.Minute, "how long both are watched")
	set.DurationVar(&p.ScrapeInterval, "scrape-interval", rollout.DefaultScrapeInterval, "time between two looks at the metrics")
	set.IntVar(&p.MinRequests, "min-requests", rollout.DefaultMinRequests, "canary requests each gate must have seen before it can pass")
	set.Float64Var(&p.Alpha, "alpha", rollout.DefaultAlpha, "bound on the probability of calling a healthy canary worse")
	set.IntVar(&p.MaxRestarts, "max-restarts", rollout.DefaultMaxRestarts, "canary container restarts that are no harm")
	set.StringVar(&p.Rule, "rule", "", "name or index of the route's rule, when several hold both pools")
	set.StringVarP(&o.output, "output", "o", "", "json, or empty for a table")
	o.Add(set)
	return cmd
}

func (o *onceOptions) run(ctx context.Context, args []string) error {
	object, err := parseObject(args)
	if err != nil {
		return err
	}
	if !o.once {
		return exit.With(exit.Usage, hint.Errorf("kubectl infer gate "+object.String()+" --once …", "gate gives one verdict at a time: say --once"))
	}
	if err := option.Choice("--output", o.output, "", "json"); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return err
	}
	clients, err := connect(o.flags)
	if err != nil {
		return err
	}
	o.plan.Target, o.plan.Namespace, o.plan.Steps, o.plan.IgnoreShare = object.String(), clients.Namespace, []int{1}, true
	if len(o.plan.Gates) == 0 {
		o.plan.Gates = rollout.DefaultGates()
	}
	if err := o.plan.Validate(); err != nil {
		return exit.With(exit.Usage, err)
	}
	o.plan = o.plan.Complete()
	p, err := o.prepare(ctx, clients, object)
	if err != nil {
		return exit.With(refusal(err), err)
	}
	defer p.close()
	people := newReporter(o.streams, time.Now)
	for _, note := range p.notes {
		people.line("note", note)
	}
	people.line("gate", fmt.Sprintf("%s at %d%%: stable alone for %v, then both for %v", object, o.plan.Steps[0], o.plan.Calibrate, o.plan.Bake))
	return o.conclude(judgeOnce(ctx, o.plan, p.judge, p.evidence, drive.Clock{}))
}

// prepare opens the target at the share it has, and both arms' metrics.
func (o *onceOptions) prepare(ctx context.Context, clients *kube.Clients, object object) (prepared, error) {
	p := prepared{family: object.family}
	var err error
	if p.targets, err = openTargets(ctx, clients, o.plan); err != nil {
		return p, err
	}
	if err := p.family.check(p.targets[0], o.plan); err != nil {
		return p, err
	}
	at, err := p.targets[0].Read(ctx, rollout.Baseline)
	if err != nil {
		return p, err
	}
	if at.Share == 0 {
		return p, hint.Errorf("give it a share first, or see what would happen: kubectl infer canary plan "+object.String(), "%s gives %s no traffic: there is nothing to judge", object, o.plan.Canary)
	}
	o.plan.Steps = []int{int(min(max(math.Round(at.Share), 1), 100))}
	return p, p.measure(ctx, clients, o.plan, o.Options())
}

// once is a verdict, and the step it was given over.
type once struct {
	verdict gate.Verdict
	why     string
	step    rollout.StepResult
}

// judgeOnce watches stable until it showed enough, for twice --calibrate at most;
// then both arms, until harm is shown or the bake is over. What cannot be read is
// Blind.
func judgeOnce(ctx context.Context, plan rollout.Plan, judge rollout.Judge, evidence rollout.Evidence, clock rollout.Clock) once {
	evidence.Look(ctx) // what was counted before is nobody's
	judge, lacking := judge.Survey(rollout.Sample{Stable: rollout.Arm{Blind: "not looked at"}})
	for began := clock.Now(); lacking != "" && ctx.Err() == nil; {
		clock.Wait(ctx, plan.ScrapeInterval)
		sample := evidence.Look(ctx)
		judge, lacking = judge.Survey(sample)
		if clock.Now().Sub(began) < 2*plan.Calibrate {
			continue
		}
		if sample.Stable.Blind != "" {
			return once{verdict: gate.Blind, why: "stable: " + sample.Stable.Blind}
		}
		break
	}
	if lacking != "" {
		return once{verdict: gate.Inconclusive, why: "stable alone: " + lacking}
	}
	judge = judge.Enter(0)
	began, found := clock.Now(), rollout.Finding{}
	end := once{verdict: gate.Inconclusive, step: rollout.StepResult{Asked: plan.Steps[0]}}
	for found.Harm == "" && clock.Now().Sub(began) < plan.Bake && ctx.Err() == nil {
		clock.Wait(ctx, plan.ScrapeInterval)
		sample := evidence.Look(ctx)
		judge, found = judge.Weigh(clock.Now(), sample, true)
		end.step.CanaryStarted += sample.Canary.Started
		end.step.StableStarted += sample.Stable.Started
		end.step.Requests += sample.Canary.Finished
		end.step.Warnings = sample.Warnings
	}
	if all := end.step.CanaryStarted + end.step.StableStarted; all > 0 {
		end.step.Seen = 100 * float64(end.step.CanaryStarted) / float64(all)
	}
	end.step.Gates, end.step.Took = judge.Results(), clock.Now().Sub(began)
	switch {
	case found.Harm != "":
		end.verdict, end.why = gate.Fail, found.Harm
	case ctx.Err() != nil:
		end.why = "interrupted"
	case found.Blind != "":
		end.verdict, end.why = gate.Blind, found.Blind
	case found.Pass:
		end.verdict, end.why = gate.Pass, fmt.Sprintf("no gate shows harm after %d canary requests", end.step.Requests)
	default:
		end.why = found.Missing
	}
	end.step.Verdict = string(end.verdict)
	return end
}

// verdictView is what -o json prints.
type verdictView struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Verdict    gate.Verdict `json:"verdict"`
	ExitCode   int          `json:"exitCode"`
	Reason     string       `json:"reason,omitempty"`
	Namespace  string       `json:"namespace"`
	Target     string       `json:"target"`
	Stable     string       `json:"stable"`
	Canary     string       `json:"canary"`
	Step       report.Step  `json:"step"`
}

func (o *onceOptions) conclude(end once) error {
	code := map[gate.Verdict]exit.Code{gate.Pass: exit.OK, gate.Fail: exit.CheckFailed}[end.verdict]
	if end.verdict != gate.Pass && end.verdict != gate.Fail {
		code = exit.Held
	}
	if err := o.print(o.streams.Out, end, code); err != nil {
		return err
	}
	if code == exit.OK {
		return nil
	}
	return &exit.Error{Code: code, Err: fmt.Errorf("%s: %s", end.verdict, end.why), Quiet: true}
}

func (o *onceOptions) print(out io.Writer, end once, code exit.Code) error {
	if o.output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(verdictView{
			APIVersion: report.APIVersion, Kind: "GateVerdict", Verdict: end.verdict, ExitCode: int(code), Reason: end.why,
			Namespace: o.plan.Namespace, Target: o.plan.Target, Stable: o.plan.Stable, Canary: o.plan.Canary,
			Step: report.Steps([]rollout.StepResult{end.step})[0],
		})
	}
	fmt.Fprintf(out, "%s  %s/%s  %s beside %s\n%s\n", strings.ToUpper(string(end.verdict)), o.plan.Namespace, o.plan.Target, o.plan.Canary, o.plan.Stable, end.why)
	if end.step.Took > 0 {
		printSteps(out, []rollout.StepResult{end.step})
	}
	return nil
}
