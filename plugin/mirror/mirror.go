// Package mirror is `kubectl infer mirror`: it copies a part of a route's
// requests to a shadow, compares both sides by the counters of their model
// servers, and takes the copying away again. Start at start.go; preflight.go
// refuses what cannot work, render.go tells what happens. What decides is
// package pkg/mirror.
package mirror

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/pkg/target"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// kind is the only one that can be mirrored.
const kind = "httproute"

// New is the command group.
func New(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mirror",
		Short: "Copy live requests to a shadow, compare both sides, and end in a verdict",
		Example: `  kubectl infer mirror start httproute/chat --to inferencepool/qwen-v2 --percent 20 --max-tokens-per-second 2000
  kubectl infer mirror report httproute/chat
  kubectl infer mirror stop httproute/chat`,
	}
	cmd.PersistentFlags().AddFlagSet(option.Kube(flags))
	cmd.AddCommand(newStart(flags, streams), newStatus(flags, streams), newReport(flags, streams), newStop(flags, streams))
	return cmd
}

// parseRoute reads the one route that a verb takes.
func parseRoute(args []string) (name string, err error) {
	wanted := "write the route as httproute/NAME"
	if len(args) != 1 {
		return "", exit.With(exit.Usage, hint.Errorf(wanted, "name one route as httproute/NAME, got %d arguments", len(args)))
	}
	typed, name, ok := strings.Cut(args[0], "/")
	if found, known := target.KindOf(typed); !ok || name == "" || strings.Contains(name, "/") || !known || found.Name != kind {
		return "", exit.With(exit.Usage, hint.Errorf(wanted, "%q: only requests of an httproute can be copied", args[0]))
	}
	return name, nil
}

// load reads a mirror's record that must exist.
func load(ctx context.Context, book *journal.Mirrors, name, namespace string) (engine.Record, error) {
	record, err := book.Load(ctx)
	if errors.Is(err, journal.ErrNone) {
		next := "kubectl infer mirror start " + kind + "/" + name + " --to … --percent … --max-tokens-per-second …"
		if book.Beside(journal.RecordKey) != nil {
			next = "its journal has a canary: kubectl infer canary status " + kind + "/" + name
		}
		return record, hint.Errorf(next, "%s/%s in namespace %s: no mirror is recorded", kind, name, namespace)
	}
	return record, err
}

func resume(clients *kube.Clients, record engine.Record) (route, error) {
	_, name, _ := strings.Cut(record.Plan.Target, "/")
	o, err := target.ResumeMirror(clients.Dynamic, record.Plan.Namespace, name, target.Mirror{Backend: record.Backend, Primary: record.Plan.Primary}, record.Baseline)
	return route{o}, err
}

// route is a mirrored HTTPRoute as the engine sees it: one that is gone is
// another route by now.
type route struct{ *target.Object }

func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return errors.Join(rollout.ErrDrift, err)
	}
	return err
}

// Seize implements rollout.Target.
func (r route) Seize(ctx context.Context, stamp string) error {
	return gone(r.Object.Seize(ctx, stamp))
}

// Read implements rollout.Target.
func (r route) Read(ctx context.Context, goal rollout.Goal) (rollout.Standing, error) {
	at, err := r.Object.Read(ctx, goal)
	return at, gone(err)
}

// Move implements rollout.Target.
func (r route) Move(ctx context.Context, from, goal rollout.Goal) error {
	return gone(r.Object.Move(ctx, from, goal))
}

// Release implements rollout.Target.
func (r route) Release(ctx context.Context) error { return gone(r.Object.Release(ctx)) }
