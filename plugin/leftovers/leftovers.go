// Package leftovers is `kubectl infer get leftovers` and `kubectl infer delete
// --all-created`: everything that kubectl-infer ever made, found by its label,
// and the stamps that rollouts left on targets; nothing else. find.go reads,
// this file prints and deletes.
package leftovers

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// command is the command line of both verbs.
type command struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams

	all    bool
	dryRun string
}

// New are the two commands: leftovers, a verb of get, and delete.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) (list, remove *cobra.Command) {
	c := &command{flags: flags, streams: streams}
	list = &cobra.Command{
		Use:   "leftovers",
		Short: "List everything kubectl-infer made in a namespace, and stamps left on targets",
		Long: `List everything kubectl-infer made in a namespace, and stamps left on targets.

Everything it makes has the label app.kubernetes.io/managed-by=kubectl-infer. The
journal of a rollout that is not over is listed as such: delete refuses it.`,
		Example: "  kubectl infer get leftovers -n default",
		Args:    option.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.list(cmd.Context()) },
	}
	remove = &cobra.Command{
		Use:   "delete --all-created",
		Short: "Delete everything kubectl-infer made in a namespace, and nothing else",
		Long: `Delete everything kubectl-infer made in a namespace, and nothing else: what get
leftovers lists. A stamp on somebody's object is only told of. While a rollout is
not over nothing at all is deleted. One that is over cannot be undone afterwards.`,
		Example: `  # what would go
  kubectl infer delete --all-created --dry-run=client

  kubectl infer delete --all-created -n default`,
		Args: option.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.remove(cmd.Context()) },
	}
	remove.Flags().BoolVar(&c.all, "all-created", false, "must be given: everything with the label")
	remove.Flags().StringVar(&c.dryRun, "dry-run", "none", "none; client: say what would go; server: ask the API server, too")
	remove.Flags().AddFlagSet(option.Kube(flags))
	return list, remove
}

func (c *command) list(ctx context.Context) error {
	clients, err := kube.New(c.flags)
	if err != nil {
		return err
	}
	found, err := find(ctx, clients)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintf(c.streams.Out, "nothing of kubectl-infer's is in namespace %s\n", clients.Namespace)
		return nil
	}
	table := tabwriter.NewWriter(c.streams.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "OBJECT\tMADE BY\tSTATE")
	for _, f := range found {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.name, f.madeBy, f.state)
	}
	return table.Flush()
}

func (c *command) remove(ctx context.Context) error {
	switch {
	case !c.all:
		return exit.With(exit.Usage, hint.Errorf("kubectl infer delete --all-created --dry-run=client", "--all-created is not given: delete knows nothing else"))
	case !slices.Contains([]string{"none", "client", "server"}, c.dryRun):
		return exit.With(exit.Usage, hint.Errorf("--dry-run=client", "--dry-run %q is not none, client or server", c.dryRun))
	}
	clients, err := kube.New(c.flags)
	if err != nil {
		return err
	}
	found, err := find(ctx, clients)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.unfinished {
			return exit.With(exit.PreflightRefused, hint.Errorf("let it end, or kubectl infer canary abort TYPE/NAME -n "+clients.Namespace+", kubectl infer mirror stop TYPE/NAME",
				"%s: %s, so nothing is deleted", f.name, f.state))
		}
	}
	for _, f := range found {
		if f.stamp {
			fmt.Fprintf(c.streams.ErrOut, "note: %s keeps the stamp of a rollout that is over: kubectl annotate %s -n %s %s-\n", f.name, f.name, clients.Namespace, target.StampAnnotation)
			continue
		}
		if f.kept != "" {
			fmt.Fprintf(c.streams.ErrOut, "note: %s %s\n", f.name, f.kept)
			continue
		}
		if err := c.removeOne(ctx, clients, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) removeOne(ctx context.Context, clients *kube.Clients, f leftover) error {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &f.uid, ResourceVersion: f.version}}
	suffix := map[string]string{"client": " (dry run)", "server": " (server dry run)"}[c.dryRun]
	if c.dryRun == "server" {
		options.DryRun = []string{metav1.DryRunAll}
	}
	if c.dryRun != "client" {
		err := clients.Dynamic.Resource(f.resource).Namespace(clients.Namespace).Delete(ctx, f.object, options)
		if apierrors.IsConflict(err) {
			return hint.Wrap(fmt.Errorf("delete %s in namespace %s: %w", f.name, clients.Namespace, err), "it was written meanwhile; look again: kubectl infer get leftovers -n "+clients.Namespace)
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s in namespace %s: %w", f.name, clients.Namespace, err)
		}
	}
	fmt.Fprintf(c.streams.Out, "%s deleted%s\n", f.name, suffix)
	return nil
}
