// Package complete offers live names to the shell: objects for TYPE/NAME
// arguments, backends of the named route for --stable and --canary, namespaces,
// and what the kubeconfig has. Attach puts it on a whole command tree, by what a
// command's usage line asks for and by the names of flags, so that a new verb is
// completed like the others.
//
// A shell waits for the answer: one look at the cluster, bounded by Limit. What
// cannot be found out offers nothing, and says why only to who debugs it
// (BASH_COMP_DEBUG_FILE, see cobra).
package complete

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
)

// Limit bounds the wait for the cluster.
const Limit = 3 * time.Second

// completion is a function that cobra calls with what is typed so far.
type completion = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// completer asks the cluster that flags name.
type completer struct {
	flags *genericclioptions.ConfigFlags
}

// Attach completes every command below root.
func Attach(root *cobra.Command, flags *genericclioptions.ConfigFlags) {
	c := &completer{flags: flags}
	for _, cmd := range root.Commands() {
		Attach(cmd, flags)
	}
	if root.ValidArgsFunction == nil && !root.HasSubCommands() {
		root.ValidArgsFunction = c.arguments(root.Use)
	}
	byFlag := map[string]completion{
		"namespace": c.namespaces, "context": c.contexts, "cluster": c.clusters, "user": c.users,
		"stable": c.backends, "canary": c.backends, "rule": c.rules, "for": c.objects(target.Kinds()),
		"pool": c.pools, "metrics": words(append([]string{evidence.AutoMetrics}, evidence.Presets()...)...),
		"metrics-via": words(ways()...), "provider": words(provider.Names()...),
	}
	complete := func(flag *pflag.Flag) {
		if fn := byFlag[flag.Name]; fn != nil && flag.Value.Type() != "bool" {
			_ = root.RegisterFlagCompletionFunc(flag.Name, fn) // an error says that it has one
		}
	}
	root.LocalNonPersistentFlags().VisitAll(complete)
	root.PersistentFlags().VisitAll(complete)
}

// arguments are what a usage line asks for.
func (c *completer) arguments(use string) completion {
	switch {
	case strings.Contains(use, " TYPE/NAME") || strings.Contains(use, "[TYPE/NAME"):
		return c.objects(target.Kinds())
	case strings.Contains(use, " httproute/NAME") && !strings.Contains(use, "--for"):
		return c.objects(target.Kinds()[:1])
	case strings.Contains(use, " FILE"):
		return nil // the shell knows
	}
	return cobra.NoFileCompletions
}

func words(list ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

func ways() []string {
	var list []string
	for _, way := range evidence.Ways() {
		list = append(list, string(way))
	}
	return list
}

// ask calls look with clients, and sorts and narrows what it found.
func (c *completer) ask(cmd *cobra.Command, typed string, look func(ctx context.Context, clients *kube.Clients) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	clients, err := kube.New(c.flags)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, err := look(ctx, clients)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	found = slices.DeleteFunc(found, func(name string) bool { return !strings.HasPrefix(name, typed) })
	slices.Sort(found)
	return slices.Compact(found), cobra.ShellCompDirectiveNoFileComp
}

// objects offers TYPE/NAME of the kinds that fit what is typed.
func (c *completer) objects(kinds []target.Kind) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		return c.ask(cmd, typed, func(ctx context.Context, clients *kube.Clients) ([]string, error) {
			var found []string
			var last error
			for _, kind := range kinds {
				written, _, slash := strings.Cut(typed, "/")
				if !slash {
					written = kind.Name
				}
				if asked, ok := target.KindOf(written); !ok || asked.Name != kind.Name {
					continue
				}
				list, err := clients.Dynamic.Resource(kind.Resource).Namespace(clients.Namespace).List(ctx, metav1.ListOptions{})
				if err != nil {
					last = err
					continue
				}
				for _, o := range list.Items {
					if name := written + "/" + o.GetName(); !slices.Contains(args, name) {
						found = append(found, name)
					}
				}
			}
			return found, last
		})
	}
}

// splits are those of the object that the first argument names.
func splits(ctx context.Context, clients *kube.Clients, args []string) ([]target.Split, error) {
	if len(args) == 0 {
		return nil, nil
	}
	typed, name, _ := strings.Cut(args[0], "/")
	kind, ok := target.KindOf(typed)
	if !ok || name == "" {
		return nil, nil
	}
	object, err := clients.Dynamic.Resource(kind.Resource).Namespace(clients.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return kind.Splits(object), nil
}

// backends offers the arms of the named object, but for the one that the other
// flag has taken.
func (c *completer) backends(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.ask(cmd, typed, func(ctx context.Context, clients *kube.Clients) ([]string, error) {
		list, err := splits(ctx, clients, args)
		var names []string
		for _, s := range list {
			for _, share := range s.Shares {
				names = append(names, share.Name)
			}
		}
		for _, flag := range []string{"stable", "canary"} {
			if f := cmd.Flag(flag); f != nil && f.Changed {
				names = slices.DeleteFunc(names, func(name string) bool { return name == f.Value.String() })
			}
		}
		return names, err
	})
}

func (c *completer) rules(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.ask(cmd, typed, func(ctx context.Context, clients *kube.Clients) ([]string, error) {
		list, err := splits(ctx, clients, args)
		var names []string
		for _, s := range list {
			names = append(names, s.Rule)
		}
		return names, err
	})
}

func (c *completer) pools(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.ask(cmd, typed, func(ctx context.Context, clients *kube.Clients) ([]string, error) {
		list, err := clients.Dynamic.Resource(kube.InferencePools()).Namespace(clients.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, o := range list.Items {
			names = append(names, o.GetName())
		}
		return names, nil
	})
}

func (c *completer) namespaces(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	return c.ask(cmd, typed, func(ctx context.Context, clients *kube.Clients) ([]string, error) {
		list, err := clients.Core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, n := range list.Items {
			names = append(names, n.Name)
		}
		return names, nil
	})
}
