package verify

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

const (
	// look is how often counters are read while requests run.
	look = time.Second
	// lag is how long counters that are read directly may stay behind the answers.
	lag = 5 * time.Second
)

type splitOptions struct {
	asking
	rule     string
	models   []string
	requests int
	passive  bool
	duration time.Duration
}

func newSplit(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var o splitOptions
	cmd := &cobra.Command{
		Use:   "split TYPE/NAME",
		Short: "Count where requests go, and compare it with the weights",
		Long: `Count where requests go, and compare it with the weights of an HTTPRoute, an
InferenceModel or an InferenceModelRewrite.

Sends a bounded number of one-token requests through the gateway, or none with
--passive, and counts the arms by their endpoint pickers' counters, or else by
their model servers'. Exit code 0: the split is as asked; 18: it is not, answers
failed, or the requests were too few to tell.`,
		Example: `  kubectl infer verify split httproute/chat
  kubectl infer verify split httproute/chat --rule qwen --model qwen,travel-helper-v1
  kubectl infer verify split inferencemodel/loramodel --requests 500 --path chat
  kubectl infer verify split httproute/chat --passive --duration 1m -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return start(cmd, flags, streams, &o, args)
		},
	}
	cmd.Flags().StringVar(&o.rule, "rule", "", "name or index of the rule, when several split")
	o.addCounting(cmd)
	return cmd
}

// addCounting defines the flags of what is sent, or counted.
func (o *splitOptions) addCounting(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&o.models, "model", nil, "models to ask for, as NAME,NAME; they are asked in turn (default all that the rule's X-Gateway-Model-Name, or the object, names)")
	cmd.Flags().IntVar(&o.requests, "requests", 200, "requests to send")
	cmd.Flags().BoolVar(&o.passive, "passive", false, "send nothing, and count the requests that come by themselves")
	cmd.Flags().DurationVar(&o.duration, "duration", 30*time.Second, "how long --passive counts")
	o.add(cmd)
}

func (o *splitOptions) check() error {
	if o.requests < 1 || o.requests > 100000 || o.duration <= 0 {
		return exit.With(exit.Usage, hint.Errorf("--requests 200", "--requests %d and --duration %v: from 1 to 100000 requests, and a time above 0", o.requests, o.duration))
	}
	return o.asking.check()
}

func (o *splitOptions) run(ctx context.Context, clients *kube.Clients, streams genericiooptions.IOStreams, s subject) error {
	object, err := read(ctx, clients, s)
	if err != nil {
		return err
	}
	split, err := s.kind.Split(object, o.rule)
	if err != nil {
		return err
	}
	isRoute := s.kind.Resource == kube.HTTPRoutes()
	resolve := modelsIn
	if isRoute {
		resolve = poolsOf
	}
	pools, err := resolve(ctx, clients, s, split.Shares)
	if err != nil {
		return err
	}
	report := &splitReport{
		APIVersion: apiVersion, Kind: "VerifySplit", Target: s.String(), Namespace: clients.Namespace,
		Rule: split.Rule, Passive: o.passive, byModel: !isRoute, enough: allCounted,
	}
	if isRoute {
		route, err := typedRoute(object)
		if err != nil {
			return err
		}
		report.Copied = copies(route)
	}
	for i, share := range split.Shares {
		report.Arms = append(report.Arms, armReport{Name: share.Name, Pool: pools[i].Namespace + "/" + pools[i].Name, Asked: split.Percent(i)})
	}
	var through *passage
	if !o.passive {
		if through, err = o.passage(ctx, clients, object, split, pools[0], isRoute); err != nil {
			return err
		}
		report.Gateway, report.Models = through.base, through.models
	}
	tally := evidence.NewTally(clients, pools, o.Metrics.Options())
	defer tally.Close()
	if err := tally.Start(ctx); err != nil {
		return err
	}
	report.Source = tally.Source()
	var served *servers
	if !report.Copied {
		served = o.servers(ctx, clients, pools, tally)
	}
	defer served.close()
	if err := o.count(ctx, streams, tally, through, report); err != nil {
		return err
	}
	served.fill(context.WithoutCancel(ctx), report)
	if err := report.judge(); err != nil {
		return err
	}
	return o.conclude(streams, report)
}

func (o *splitOptions) conclude(streams genericiooptions.IOStreams, report *splitReport) error {
	if o.output == "json" {
		if err := printJSON(streams.Out, report); err != nil {
			return err
		}
	} else {
		printSplit(streams.Out, report)
	}
	if report.Verdict != gate.Pass {
		return failed(string(report.Verdict))
	}
	return nil
}

// passage is how requests get to the split.
type passage struct {
	base   string
	models []string
	calls  []call
}

func (o *splitOptions) passage(ctx context.Context, clients *kube.Clients, object *unstructured.Unstructured, split target.Split, pool evidence.Pool, isRoute bool) (*passage, error) {
	p := &passage{base: o.gateway, models: o.models}
	var route *gatewayv1.HTTPRoute
	var err error
	rule := split.Index
	if isRoute {
		route, err = typedRoute(object)
	} else {
		if name := modelNamed(object, split.Index); len(p.models) == 0 && name != "" {
			p.models = []string{name}
		}
		if len(p.models) > 0 {
			route, rule, err = routeTo(ctx, clients, pool, p.models[0])
		}
	}
	if err != nil {
		return nil, err
	}
	if len(p.models) == 0 && isRoute {
		p.models = modelsOf(route.Spec.Rules[rule])
	}
	if len(p.models) == 0 {
		return nil, hint.Errorf("--model NAME, one that the pools serve (GET /v1/models of a model server lists them)",
			"%s %s: rule %s names no model to ask for", object.GetKind(), object.GetName(), split.Rule)
	}
	if p.base == "" {
		if p.base, err = gatewayOf(ctx, clients, route); err != nil {
			return nil, err
		}
	}
	p.calls, err = calls(route, rule, o.kinds(), o.extra())
	return p, err
}

// modelNamed is the model name that an InferenceModel, or a rule of an
// InferenceModelRewrite, is about; "" for every one.
func modelNamed(object *unstructured.Unstructured, rule int) string {
	if name, ok, _ := unstructured.NestedString(object.Object, "spec", "modelName"); ok {
		return name
	}
	rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
	if rule >= len(rules) {
		return ""
	}
	one, _ := rules[rule].(map[string]any)
	matches, _ := one["matches"].([]any)
	for _, match := range matches {
		m, _ := match.(map[string]any)
		if name, _, _ := unstructured.NestedString(m, "model", "value"); name != "" {
			return name
		}
	}
	return ""
}

// count sends, or waits, and reads the counters meanwhile and after.
func (o *splitOptions) count(ctx context.Context, streams genericiooptions.IOStreams, tally *evidence.Tally, through *passage, report *splitReport) error {
	if through == nil {
		fmt.Fprintf(streams.ErrOut, "counting for %v what comes by itself (%s)\n", o.duration, report.Source)
		waiting, cancel := context.WithTimeout(ctx, o.duration)
		defer cancel()
		watch(waiting, tally)
		return fill(context.WithoutCancel(ctx), tally, report)
	}
	ask := newAsker(through.base, o.rate, o.timeout)
	defer ask.close()
	fmt.Fprintf(streams.ErrOut, "sending %d requests for %s to %s, %s a second at most (counted by %s)\n",
		o.requests, naming(through.models), through.base, strconv.FormatFloat(o.rate, 'g', -1, 64), report.Source)
	first := ask.one(ctx, through.calls[0], through.models[0])
	if err := reachable(through.base, first); err != nil {
		return err
	}
	sent := make(chan answers, 1)
	running, done := context.WithCancel(ctx)
	go func() {
		defer done()
		sent <- ask.many(ctx, through.calls, through.models, o.requests-1)
	}()
	watch(running, tally)
	report.Answers = <-sent
	report.Answers.add(first)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fill(ctx, tally, report)
}

// naming is a list of models in a sentence.
func naming(models []string) string {
	if len(models) == 1 {
		return "model " + models[0]
	}
	return "models " + strings.Join(models, ", ")
}

// allCounted says that every answer was counted on some arm.
func allCounted(r *splitReport) bool {
	total := uint64(0)
	for _, arm := range r.Arms {
		total += arm.Started
	}
	return total >= uint64(r.Answers.OK)
}

// watch reads the counters until ctx ends, so that a process which restarts or
// goes away loses little.
func watch(ctx context.Context, tally *evidence.Tally) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _, _ = tally.Read(ctx) // the last reading tells
		}
	}
}

// fill takes the counts into the report once they caught up with the answers.
func fill(ctx context.Context, tally *evidence.Tally, report *splitReport) error {
	behind, err := tally.Lag(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, lag+behind)
	defer cancel()
	tick := time.NewTicker(lag / 20)
	defer tick.Stop()
	for {
		counts, astray, err := tally.Read(ctx)
		if err != nil {
			return err
		}
		for i, c := range counts {
			report.Arms[i].Started, report.Arms[i].Ready, report.Arms[i].Overflows = c.Started, c.Ready, c.Overflows
		}
		report.Astray = astray
		if report.enough(report) {
			return nil
		}
		select {
		case <-waiting.Done():
			return nil
		case <-tick.C:
		}
	}
}
