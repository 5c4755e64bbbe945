// Package doctor is `kubectl infer doctor`: it looks at the cluster once and says
// what is wrong with it. What is wrong is decided by package pkg/doctor, a pure
// function; this package reads what it needs, prints, and ends with exit code 18
// when there is an error or a warning.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/collect"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// command is the command line.
type command struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams

	all    bool
	gates  []string
	offPod bool
	output string
	option.Metrics
}

// New is the command.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	c := &command{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "doctor [TYPE/NAME...]",
		Short: "Say what is wrong with routes, pools, models, pickers and rollouts, and how to mend it",
		Long: `Say what is wrong with routes, pools, models, pickers and rollouts, and how to mend it.

Nothing is written. Objects of the namespace are read, pickers and model servers
are asked what they serve, and it is asked whether you may do what a rollout of
each route and model takes; of those named, if any are, even if you may list none.
What cannot be read is a note, and is held against nothing.

Each finding is an error (requests fail, or a rollout would be judged wrongly), a
warning (the next rollout is refused, or ends badly) or a note. The exit code is 18
when there is an error or a warning, else 0. docs/doctor.md lists the checks.`,
		Example: `  kubectl infer doctor -n default

  # may I roll this out, and can these limits be judged?
  kubectl infer doctor httproute/chat --gate 'ttft p95 < 800ms' --gate 'errors < 1%'

  # errors of all namespaces, for a script
  kubectl infer doctor -A -o json | jq -r '.findings[] | select(.severity == "error") | .why'`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	cmd.Flags().AddFlagSet(option.Kube(flags))
	cmd.Flags().BoolVarP(&c.all, "all-namespaces", "A", false, "look into every namespace")
	cmd.Flags().StringArrayVar(&c.gates, "gate", nil, "a gate you are about to use: can it be judged, and are its limits where a bucket ends? Repeatable (default those of canary run)")
	cmd.Flags().BoolVar(&c.offPod, "objects-only", false, "ask no pod: look at objects alone")
	cmd.Flags().StringVarP(&c.output, "output", "o", "", "json, or empty for text")
	c.Add(cmd.Flags())
	return cmd
}

func (c *command) run(ctx context.Context, args []string) error {
	if err := errors.Join(option.Choice("--output", c.output, "", "json"), c.Check()); err != nil {
		return err
	}
	exprs, err := c.expressions()
	if err != nil {
		return err
	}
	named, err := parse(args)
	if err != nil {
		return err
	}
	clients, err := kube.New(c.flags)
	if err != nil {
		return err
	}
	namespace := clients.Namespace
	if c.all {
		namespace = ""
	}
	for i := range named {
		named[i].Namespace = clients.Namespace
	}
	s, err := c.snapshot(ctx, clients, namespace, named, exprs)
	if err != nil {
		return err
	}
	findings := doctor.Check(s)
	if err := c.print(s, namespace, findings); err != nil {
		return err
	}
	if doctor.Sick(findings) {
		return &exit.Error{Code: exit.CheckFailed, Err: fmt.Errorf("%d findings", len(findings)), Quiet: true}
	}
	return nil
}

func (c *command) expressions() ([]gate.Expr, error) {
	texts := c.gates
	if len(texts) == 0 {
		texts = rollout.DefaultGates()
	}
	var exprs []gate.Expr
	for _, text := range texts {
		expr, err := gate.Parse(text)
		if err != nil {
			return nil, exit.With(exit.Usage, err)
		}
		exprs = append(exprs, expr)
	}
	return exprs, nil
}

// parse reads TYPE/NAME arguments.
func parse(args []string) ([]collect.Mover, error) {
	var movers []collect.Mover
	for _, arg := range args {
		typed, name, ok := strings.Cut(arg, "/")
		kind, known := target.KindOf(typed)
		if !ok || name == "" || !known || strings.Contains(name, "/") {
			return nil, exit.With(exit.Usage, hint.Errorf("kubectl infer doctor httproute/chat", "%q is not TYPE/NAME of something whose weights can be moved", arg))
		}
		movers = append(movers, collect.Mover{Kind: kind, Name: name})
	}
	return movers, nil
}

// snapshot reads everything that the checks look at.
func (c *command) snapshot(ctx context.Context, clients *kube.Clients, namespace string, named []collect.Mover, exprs []gate.Expr) (doctor.Snapshot, error) {
	s, err := collect.Objects(ctx, clients, namespace)
	if err == nil {
		err = collect.Cluster(ctx, clients, &s)
	}
	if err != nil {
		return s, err
	}
	movers := named
	if len(movers) == 0 {
		movers = collect.Movable(s)
	}
	if err := collect.Rights(ctx, clients, &s, movers); err != nil || c.offPod {
		return s, err
	}
	if err := collect.Ask(ctx, clients, &s, c.Options()); err != nil {
		return s, err
	}
	collect.Gates(ctx, clients, &s, movers, exprs, c.Options())
	return s, ctx.Err()
}

// document is what -o json prints.
type document struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Namespace  string           `json:"namespace,omitempty"` // none for all
	Looked     looked           `json:"looked"`
	Findings   []doctor.Finding `json:"findings"`
}

// looked counts what was looked at.
type looked struct {
	Routes   int `json:"routes"`
	Pools    int `json:"pools"`
	Models   int `json:"models"`
	Pods     int `json:"pods"`
	Gateways int `json:"gateways"`
	Rollouts int `json:"rollouts"`
}

func (c *command) print(s doctor.Snapshot, namespace string, findings []doctor.Finding) error {
	count := looked{len(s.Routes), len(s.Pools), len(s.Models), len(s.Pods), len(s.Gateways), len(s.Journals)}
	if c.output == "json" {
		encoder := json.NewEncoder(c.streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(document{
			APIVersion: "kubectl-infer.github.io/v1alpha1", Kind: "Diagnosis", Namespace: namespace, Looked: count,
			Findings: append([]doctor.Finding{}, findings...),
		})
	}
	printFindings(c.streams.Out, findings)
	where := "all namespaces"
	if namespace != "" {
		where = "namespace " + namespace
	}
	fmt.Fprintf(c.streams.ErrOut, "%s: looked at %d routes, %d pools, %d models, %d pods, %d gateways and %d rollouts; %s\n", where,
		count.Routes, count.Pools, count.Models, count.Pods, count.Gateways, count.Rollouts, summary(findings))
	return nil
}

// printFindings writes three lines for each finding.
func printFindings(out io.Writer, findings []doctor.Finding) {
	for _, f := range findings {
		object := f.Object
		if f.Namespace != "" {
			object = f.Namespace + "/" + object
		}
		fmt.Fprintf(out, "%-8s %s  (%s)\n  why  %s\n  fix  %s\n", strings.ToUpper(string(f.Severity)), object, f.Check,
			strings.ReplaceAll(f.Why, "\n", "\n       "), strings.ReplaceAll(f.Fix, "\n", "\n       "))
	}
}

func summary(findings []doctor.Finding) string {
	if len(findings) == 0 {
		return "nothing is wrong"
	}
	n := map[doctor.Severity]int{}
	for _, f := range findings {
		n[f.Severity]++
	}
	return fmt.Sprintf("%d errors, %d warnings, %d notes", n[doctor.Error], n[doctor.Warning], n[doctor.Note])
}
