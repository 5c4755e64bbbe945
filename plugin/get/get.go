// Package get is `kubectl infer get`: pools, models and routes as a rollout sees
// them, with weights, readiness and the last run. What is shown is made of one
// snapshot by pure functions, in view.go; this file reads and prints.
package get

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/plugin/collect"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// command is the command line of all verbs.
type command struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams

	all    bool
	output string
}

// New is the command group. more are verbs that other packages add.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, more ...*cobra.Command) *cobra.Command {
	c := &command{flags: flags, streams: streams}
	get := &cobra.Command{
		Use:   "get [pools | models | routes | leftovers]",
		Short: "List pools, models and routes with weights, readiness and the last run",
		Long: `List pools, models and routes with weights, readiness and the last run.

Without a word all three are listed. Only objects are read; "kubectl infer top"
asks the pods.`,
		Example: `  kubectl infer get -n default
  kubectl infer get routes -A
  kubectl infer get pools -o json | jq '.pools[] | select(.ready == 0)'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			next := cmd.CommandPath() + " routes"
			if close := cmd.SuggestionsFor(args[0]); len(close) > 0 {
				next = cmd.CommandPath() + " " + close[0]
			}
			return exit.With(exit.Usage, hint.Errorf(next, "there are no %q to get, only pools, models, routes and leftovers", args[0]))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), pools, models, routes) },
	}
	get.SuggestionsMinimumDistance = 2
	own := []*cobra.Command{get}
	for _, kind := range []struct{ name, alias, short string }{
		{pools, "pool", "List InferencePools: pods ready, picker, share of each route"},
		{models, "model", "List InferenceModels and InferenceModelRewrites: targets, weights, last run"},
		{routes, "route", "List HTTPRoutes that lead to pools: weights, who took them, last run"},
	} {
		own = append(own, &cobra.Command{
			Use: kind.name, Aliases: []string{kind.alias}, Short: kind.short, Args: option.NoArgs,
			Example: "  kubectl infer get " + kind.name + " -n default",
			RunE:    func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), kind.name) },
		})
	}
	for _, cmd := range own {
		cmd.Flags().BoolVarP(&c.all, "all-namespaces", "A", false, "list every namespace's")
		cmd.Flags().StringVarP(&c.output, "output", "o", "", "json, or empty for tables")
	}
	get.AddCommand(own[1:]...)
	get.AddCommand(more...)
	get.PersistentFlags().AddFlagSet(option.Kube(flags))
	return get
}

func (c *command) run(ctx context.Context, kinds ...string) error {
	if err := option.Choice("--output", c.output, "", "json"); err != nil {
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
	s, err := collect.Objects(ctx, clients, namespace)
	if err != nil {
		return err
	}
	for _, u := range s.Unread {
		fmt.Fprintf(c.streams.ErrOut, "note: %s could not be read: %s\n", u.Resource, u.Why)
	}
	seen := view(s, kinds)
	if c.output == "json" {
		encoder := json.NewEncoder(c.streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(seen)
	}
	return c.print(seen, kinds, namespace)
}

func (c *command) print(l list, kinds []string, namespace string) error {
	written := false
	for _, kind := range kinds {
		rows := l.rows(kind)
		if len(rows) < 2 {
			where := "any namespace"
			if namespace != "" {
				where = "namespace " + namespace
			}
			fmt.Fprintf(c.streams.ErrOut, "no %s in %s\n", kind, where)
			continue
		}
		if written {
			fmt.Fprintln(c.streams.Out)
		}
		written = true
		if err := table(c.streams.Out, rows); err != nil {
			return err
		}
	}
	return nil
}

func table(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}
