package verify

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

type routeOptions struct {
	asking
	models []string
}

func newRoute(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var o routeOptions
	cmd := &cobra.Command{
		Use:   "route httproute/NAME",
		Short: "Ask for every model of a route, and see which pool answers",
		Long: `Ask for every model of a route once by chat and once by completions, and see
which pool answers. Exit code 0: each model is answered by a pool of the rule
that names it; 18: one is not.`,
		Example: `  kubectl infer verify route httproute/inference-route
  kubectl infer verify route httproute/inference-route --model qwen,deepseek-r1 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return start(cmd, flags, streams, &o, args, "httproute")
		},
	}
	cmd.Flags().StringSliceVar(&o.models, "model", nil, "model names to ask for, separated by commas (default those that the rules' X-Gateway-Model-Name name)")
	o.add(cmd)
	return cmd
}

// routeReport is what `verify route -o json` prints.
type routeReport struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Target     string       `json:"target"`
	Namespace  string       `json:"namespace"`
	Gateway    string       `json:"gateway"`
	Source     string       `json:"source"`
	Models     []modelCheck `json:"models"`
	Verdict    gate.Verdict `json:"verdict"`
	Next       string       `json:"next,omitempty"`
}

// modelCheck is one request for one model.
type modelCheck struct {
	Model    string   `json:"model"`
	Path     string   `json:"path"`
	Rule     string   `json:"rule"`
	Code     string   `json:"code"`
	Answered string   `json:"answered"` // the model that the answer names
	Asked    []string `json:"asked"`    // pools of the rule with a weight
	Served   []string `json:"served"`   // pools that counted a request
	Problem  string   `json:"problem,omitempty"`
}

// ruleFor is the rule that a model's requests should take: one that names the
// model, else one that takes every model; -1 if there is none.
func ruleFor(route *gatewayv1.HTTPRoute, model string) int {
	named := slices.IndexFunc(route.Spec.Rules, func(rule gatewayv1.HTTPRouteRule) bool { return slices.Contains(modelsOf(rule), model) })
	if named >= 0 {
		return named
	}
	return slices.IndexFunc(route.Spec.Rules, openToAll)
}

func (o *routeOptions) run(ctx context.Context, clients *kube.Clients, streams genericiooptions.IOStreams, s subject) error {
	object, err := read(ctx, clients, s)
	if err != nil {
		return err
	}
	route, err := typedRoute(object)
	if err != nil {
		return err
	}
	models := o.models
	if len(models) == 0 {
		for _, rule := range route.Spec.Rules {
			models = append(models, modelsOf(rule)...)
		}
	}
	if len(models) == 0 {
		return hint.Errorf("--model NAME,NAME", "%s: no rule names a model by X-Gateway-Model-Name", s)
	}
	splits := s.kind.Splits(object)
	pools, err := poolsOf(ctx, clients, s, every(splits))
	if err != nil {
		return err
	}
	report := &routeReport{APIVersion: apiVersion, Kind: "VerifyRoute", Target: s.String(), Namespace: clients.Namespace, Gateway: o.gateway, Verdict: gate.Pass}
	if report.Gateway == "" {
		if report.Gateway, err = gatewayOf(ctx, clients, route); err != nil {
			return err
		}
	}
	tally := evidence.NewTally(clients, pools, o.Metrics.Options())
	defer tally.Close()
	if err := tally.Start(ctx); err != nil {
		return err
	}
	report.Source = tally.Source()
	fmt.Fprintf(streams.ErrOut, "asking %s for %d models (counted by %s)\n", report.Gateway, len(models), report.Source)
	ask := newAsker(report.Gateway, o.rate, o.timeout)
	defer ask.close()
	for _, model := range models {
		checks, err := o.model(ctx, ask, tally, route, splits, pools, model)
		if err != nil {
			return err
		}
		report.Models = append(report.Models, checks...)
	}
	return o.conclude(streams, report)
}

// every lists each pool behind a route once.
func every(splits []target.Split) []target.Share {
	var all []target.Share
	for _, split := range splits {
		for _, share := range split.Shares {
			share.Weight = 0
			if !slices.Contains(all, share) {
				all = append(all, share)
			}
		}
	}
	return all
}

// model asks for one model by every path.
func (o *routeOptions) model(ctx context.Context, ask *asker, tally *evidence.Tally, route *gatewayv1.HTTPRoute, splits []target.Split, pools []evidence.Pool, model string) ([]modelCheck, error) {
	rule := ruleFor(route, model)
	if rule < 0 {
		return []modelCheck{{Model: model, Problem: "no rule names it"}}, nil
	}
	var asked []string
	for _, share := range splits[rule].Shares {
		if share.Weight > 0 {
			asked = append(asked, share.Namespace+"/"+share.Name)
		}
	}
	list, err := calls(route, rule, o.kinds(), o.extra())
	if err != nil {
		return nil, err
	}
	var checks []modelCheck
	for _, c := range list {
		before, _, err := tally.Read(ctx)
		if err != nil {
			return nil, err
		}
		got := ask.one(ctx, c, model)
		if err := reachable(ask.base, got); err != nil {
			return nil, err
		}
		served, err := grown(ctx, tally, before, pools, got.ok())
		if err != nil {
			return nil, err
		}
		check := modelCheck{Model: model, Path: c.path, Rule: ruleLabel(route, rule), Code: got.code, Answered: got.model, Asked: asked, Served: served}
		check.Problem = check.judge()
		checks = append(checks, check)
	}
	return checks, nil
}

// judge says what is wrong with one answer; "" if nothing is.
func (c modelCheck) judge() string {
	answered := slices.ContainsFunc(c.Asked, func(pool string) bool { return slices.Contains(c.Served, pool) })
	switch {
	case c.Code == "404" && len(c.Served) == 0:
		return "no rule takes it, though rule " + c.Rule + " names it"
	case !strings.HasPrefix(c.Code, "2"):
		return "HTTP " + c.Code
	case len(c.Asked) == 0:
		return "rule " + c.Rule + " has no backend with a weight"
	case !answered && len(c.Served) == 0:
		return "answered by none of the route's pools"
	case !answered:
		return "answered by " + strings.Join(c.Served, ", ") + ", not by " + strings.Join(c.Asked, ", ")
	}
	return ""
}

// grown are the pools that counted a request since before. When one was
// answered, some pool should have; counters may be a little behind.
func grown(ctx context.Context, tally *evidence.Tally, before []evidence.Count, pools []evidence.Pool, expect bool) ([]string, error) {
	behind, err := tally.Lag(ctx)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, lag+behind)
	defer cancel()
	tick := time.NewTicker(lag / 20)
	defer tick.Stop()
	for {
		now, _, err := tally.Read(ctx)
		if err != nil {
			return nil, err
		}
		var served []string
		for i, pool := range pools {
			if now[i].Started > before[i].Started {
				served = append(served, pool.Namespace+"/"+pool.Name)
			}
		}
		if len(served) > 0 || !expect {
			return served, nil
		}
		select {
		case <-waiting.Done():
			return nil, nil
		case <-tick.C:
		}
	}
}

func (o *routeOptions) conclude(streams genericiooptions.IOStreams, report *routeReport) error {
	for _, check := range report.Models {
		if check.Problem != "" {
			report.Verdict = gate.Fail
			report.Next = "kubectl get httproutes -n " + report.Namespace + " -o yaml   # which rule takes the requests; kubectl infer sandbox logs body-router, or your gateway's"
		}
	}
	if o.output == "json" {
		if err := printJSON(streams.Out, report); err != nil {
			return err
		}
	} else {
		printRoute(streams.Out, report)
	}
	if report.Verdict != gate.Pass {
		return failed(string(report.Verdict))
	}
	return nil
}

func printRoute(out io.Writer, r *routeReport) {
	fmt.Fprintf(out, "%s  %s/%s\n", headline(r.Verdict), r.Namespace, r.Target)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODEL\tPATH\tRULE\tHTTP\tANSWERED BY\tASKED POOL\tSERVED BY\tRESULT")
	for _, c := range r.Models {
		result := "ok"
		if c.Problem != "" {
			result = c.Problem
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Model, dash(c.Path), dash(c.Rule), dash(c.Code), dash(c.Answered),
			dash(strings.Join(c.Asked, ",")), dash(strings.Join(c.Served, ",")), result)
	}
	_ = w.Flush()
	if r.Next != "" {
		fmt.Fprintf(out, "next  %s\n", r.Next)
	}
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
