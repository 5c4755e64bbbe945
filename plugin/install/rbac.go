package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// rbac is the command line of install rbac and uninstall rbac.
type rbac struct {
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams

	targets        []string
	serviceAccount string
	user, group    string
	via            string
	mirror         bool
	apply          apply.Options
}

func newRBAC(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	r := &rbac{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "rbac --for httproute/NAME (--service-account NAME | --user-name NAME | --group-name NAME)",
		Short: "Let somebody roll out one target, and nothing else",
		Long: `Let somebody roll out one target, and nothing else.

Makes a Role with every verb that the verbs of canary use on this target, a
RoleBinding, and the rollout's journal (a ConfigMap) and Lease, so that no right
to create is needed. All are called infer-TYPE-NAME. Needs the right to make
roles. Repeating it is safe: a journal that is there is left as it is.`,
		Example: `  # for a CI job that runs as ServiceAccount ci
  kubectl infer install rbac --for httproute/chat --service-account ci

  # to read first, or to keep in Git
  kubectl infer install rbac --for httproute/chat --service-account ci --dry-run=client -o yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.install(cmd.Context()) },
	}
	r.add(cmd)
	set := cmd.Flags()
	set.StringVar(&r.serviceAccount, "service-account", "", "ServiceAccount of the namespace that gets the role, or NAMESPACE:NAME")
	set.StringVar(&r.user, "user-name", "", "user that gets the role")
	set.StringVar(&r.group, "group-name", "", "group that gets the role")
	set.StringVar(&r.via, "metrics-via", string(evidence.Direct), "how the rollout reaches metrics: direct needs no right, pod-proxy, port-forward, or auto for both")
	set.BoolVar(&r.mirror, "mirror", false, "let the role mirror the route, too: make a Service, delete its own, read Gateways")
	r.apply.Add(set)
	return cmd
}

func (r *rbac) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&r.targets, "for", nil, "TYPE/NAME to roll out; repeat it for targets that move together")
}

func newRemoveRBAC(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	r := &rbac{flags: flags, streams: streams, via: string(evidence.Direct)}
	cmd := &cobra.Command{
		Use:     "rbac --for httproute/NAME",
		Short:   "Take away a rollout's role, journal and lease",
		Example: "  kubectl infer uninstall rbac --for httproute/chat",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return r.uninstall(cmd.Context()) },
	}
	r.add(cmd)
	return cmd
}

// request reads the flags.
func (r *rbac) request(namespace string) (request, error) {
	q := request{namespace: namespace, via: evidence.Via(r.via), mirror: r.mirror}
	if !slices.Contains(evidence.Ways(), q.via) {
		return q, exit.With(exit.Usage, hint.Errorf("--metrics-via direct", "--metrics-via %q is not one of %q", r.via, evidence.Ways()))
	}
	if len(r.targets) == 0 {
		return q, exit.With(exit.Usage, hint.Errorf("--for httproute/chat", "no target is named"))
	}
	for _, text := range r.targets {
		typed, name, ok := strings.Cut(text, "/")
		kind, known := target.KindOf(typed)
		if !ok || name == "" || !known {
			return q, exit.With(exit.Usage, hint.Errorf("--for httproute/chat", "target %q is not TYPE/NAME of something whose weights can be moved", text))
		}
		if q.kind.Name != "" && q.kind.Name != kind.Name {
			return q, exit.With(exit.Usage, hint.Errorf("make one role for each kind", "targets of a %s and a %s cannot move together", q.kind.Name, kind.Name))
		}
		q.kind, q.names = kind, append(q.names, name)
	}
	slices.Sort(q.names)
	q.names = slices.Compact(q.names)
	if q.mirror && q.kind.Resource != kube.HTTPRoutes() {
		return q, exit.With(exit.Usage, hint.Errorf("--mirror with --for httproute/NAME", "only requests of an httproute can be mirrored, not those of a %s", q.kind.Name))
	}
	return q, nil
}

// subject is who gets the role.
func (r *rbac) subject(namespace string) (rbacv1.Subject, error) {
	var given []rbacv1.Subject
	if r.serviceAccount != "" {
		s := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: r.serviceAccount}
		if other, name, ok := strings.Cut(r.serviceAccount, ":"); ok {
			s.Namespace, s.Name = other, name
		}
		given = append(given, s)
	}
	if r.user != "" {
		given = append(given, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: r.user})
	}
	if r.group != "" {
		given = append(given, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: r.group})
	}
	if len(given) != 1 {
		return rbacv1.Subject{}, exit.With(exit.Usage, hint.Errorf("--service-account ci", "name one of --service-account, --user-name and --group-name, got %d", len(given)))
	}
	return given[0], nil
}

func (r *rbac) install(ctx context.Context) error {
	if err := r.apply.Check(); err != nil {
		return err
	}
	clients, err := kube.New(r.flags)
	if err != nil {
		return err
	}
	q, err := r.request(clients.Namespace)
	if err != nil {
		return err
	}
	if q.subject, err = r.subject(clients.Namespace); err != nil {
		return err
	}
	return r.apply.Run(ctx, clients.Dynamic, r.streams.Out, q.objects())
}

func (r *rbac) uninstall(ctx context.Context) error {
	clients, err := kube.New(r.flags)
	if err != nil {
		return err
	}
	q, err := r.request(clients.Namespace)
	if err != nil {
		return err
	}
	at := q.kind.Name + "/" + q.names[0]
	book := journal.New(clients.Core, q.namespace, q.kind.Name, q.names[0])
	record, err := book.Load(ctx)
	if running, ok := journal.Mirrored(book); ok {
		return exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer mirror stop "+at+" -n "+q.namespace, "%s: the mirror is not over, it is %s", at, running.Phase))
	}
	switch {
	case errors.Is(err, journal.ErrNone):
	case err != nil:
		return err
	case !record.Phase.Finished():
		return exit.With(exit.PreflightRefused, hint.Errorf("kubectl infer canary abort "+at+" -n "+q.namespace,
			"%s: the rollout is not over, it is %s at %s", at, record.Phase, record.Goal))
	}
	list := q.objects()
	slices.Reverse(list)
	for _, o := range list {
		kind := o.GetObjectKind().GroupVersionKind().GroupKind()
		name := strings.ToLower(kind.String()) + "/" + q.name()
		at, _ := apply.Resource(kind)
		err := clients.Dynamic.Resource(at).Namespace(q.namespace).Delete(ctx, q.name(), metav1.DeleteOptions{})
		switch {
		case apierrors.IsNotFound(err):
			fmt.Fprintln(r.streams.Out, name, "is not there")
		case err != nil:
			return fmt.Errorf("delete %s in namespace %s: %w", name, q.namespace, err)
		default:
			fmt.Fprintln(r.streams.Out, name, "deleted")
		}
	}
	return nil
}
