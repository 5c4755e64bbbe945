package canary

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// planFlags are the flags that make a plan.
type planFlags struct {
	plan  rollout.Plan
	steps string
	file  string
	from  *planFile      // what was read of it
	own   *pflag.FlagSet // those of the plan: each is a field of a plan file too
	option.Metrics
}

func (f *planFlags) add(cmd *cobra.Command) {
	set := pflag.NewFlagSet("plan", pflag.ContinueOnError)
	f.own = set
	p := &f.plan
	set.StringVar(&p.Stable, "stable", "", "InferencePool, or for an InferenceModel or InferenceModelRewrite the target model, that serves now")
	set.StringVar(&p.Canary, "canary", "", "InferencePool, or target model, to move traffic to")
	set.StringVar(&f.steps, "steps", "5,25,50,100", "canary shares in percent, rising; 25:approve waits there for canary promote")
	set.StringArrayVar(&p.Gates, "gate", nil, "what every step must keep, such as 'errors < 1%' or 'ttft p95 < 1.5x stable'; repeatable (default "+quoted(rollout.DefaultGates())+")")
	set.DurationVar(&p.Bake, "bake", rollout.DefaultBake, "how long each step is watched; only scraped time counts")
	set.DurationVar(&p.Calibrate, "calibrate", 0, "how long stable is watched before the first raise (default two bakes)")
	set.StringVar((*string)(&p.PromoteOn), "promote-on", string(rollout.PromoteOnBake), "when a step passes: bake, if no gate shows harm at its end; or evidence, if every gate is shown kept too")
	set.StringVar((*string)(&p.OnInconclusive), "on-inconclusive", string(rollout.Hold), "at the deadline of a step that cannot be judged: hold (exit code 11), or rollback")
	set.StringVar((*string)(&p.OnBlind), "on-blind", string(rollout.Hold), "when metrics cannot be read for longer than --blind-limit: hold, or rollback")
	set.DurationVar(&p.BlindLimit, "blind-limit", rollout.DefaultBlindLimit, "how long metrics may be missing before --on-blind=rollback goes back")
	set.DurationVar(&p.Settle, "settle", rollout.DefaultSettle, "what is discarded after every move")
	set.DurationVar(&p.StepDeadline, "step-deadline", 0, "when a step that cannot be judged ends with exit code 11 (default the larger of 10 bakes and 30m)")
	set.DurationVar(&p.ScrapeInterval, "scrape-interval", rollout.DefaultScrapeInterval, "time between two looks at the metrics")
	set.IntVar(&p.MinRequests, "min-requests", rollout.DefaultMinRequests, "canary requests each gate must have seen before a step passes")
	set.Float64Var(&p.Alpha, "alpha", rollout.DefaultAlpha, "bound on the probability of rolling back a canary that keeps every gate")
	set.IntVar(&p.MaxRestarts, "max-restarts", rollout.DefaultMaxRestarts, "canary container restarts a step tolerates")
	set.Float64Var(&p.Capacity, "capacity", rollout.DefaultCapacity, "part of stable's ready endpoints, times the share, that the canary must have ready before each raise; 0 asks for none")
	set.BoolVar(&p.IgnoreShare, "ignore-share", false, "let a step pass whatever share of requests the canary gets: for pools that other routes send traffic to as well")
	set.StringVar(&p.Rule, "rule", "", "name or index of the route's rule, when several hold both pools")
	set.BoolVar(&p.AddBackend, "add-backend", false, "insert the canary at weight 0 when the rule does not list it")
	set.StringVar(&p.LoadAdapter, "load-adapter", "", "NAME=PATH of the canary's LoRA adapter: ready pods without it load it before the first raise (vLLM's /v1/load_lora_adapter; PATH is as they see it), and unload it when the rollout goes back")
	cmd.Flags().AddFlagSet(set)
	f.Metrics.Add(cmd.Flags())
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "a plan file with these settings (see canary plan --schema), or - for stdin")
}

func quoted(texts []string) string {
	return "'" + strings.Join(texts, "', '") + "'"
}

// targets reads the plan file, if there is one, and says what moves: the
// arguments, or else what the file names.
func (f *planFlags) targets(args []string, in io.Reader) ([]object, error) {
	if f.file == "" {
		return parseTargets(args)
	}
	var err error
	if f.from, err = f.read(in); err != nil {
		return nil, err
	}
	if len(f.from.targets) == 0 {
		return parseTargets(args)
	}
	if len(args) > 0 {
		return nil, f.from.at(f.from.lines["targets"], hint.Errorf("say it in one place", "targets are in the file and on the command line"))
	}
	list, err := parseTargets(f.from.targets)
	if err != nil {
		return nil, f.from.at(f.from.lines["targets"], err)
	}
	return list, nil
}

// complete makes the plan of what was typed.
func (f *planFlags) complete(list []object, namespace string) (rollout.Plan, error) {
	if err := f.Metrics.Check(); err != nil {
		return rollout.Plan{}, err
	}
	steps, approve, err := rollout.ParseSteps(f.steps)
	if err != nil {
		return rollout.Plan{}, exit.With(exit.Usage, err)
	}
	plan := f.plan
	plan.Target, plan.Namespace, plan.Steps, plan.Approve = list[0].String(), namespace, steps, approve
	for _, o := range list[1:] {
		plan.Also = append(plan.Also, o.String())
	}
	if len(plan.Gates) == 0 {
		plan.Gates = rollout.DefaultGates()
	}
	if !f.own.Lookup("calibrate").Changed {
		plan.Calibrate = rollout.CalibrateBakes * plan.Bake
	}
	if err := plan.Validate(); err != nil {
		return rollout.Plan{}, f.from.locate(err)
	}
	exprs, err := plan.Expressions()
	if err != nil {
		return rollout.Plan{}, exit.With(exit.Usage, err)
	}
	plan.Gates = plan.Gates[:0:0]
	for _, e := range exprs {
		plan.Gates = append(plan.Gates, e.String())
	}
	return plan.Complete(), nil
}

func connect(flags *genericclioptions.ConfigFlags) (*kube.Clients, error) {
	return kube.New(flags)
}
