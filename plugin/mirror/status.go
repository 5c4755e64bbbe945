package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	engine "github.com/kubectl-infer/kubectl-infer/pkg/mirror"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// readOptions is the command line of status and report.
type readOptions struct {
	output  string
	flags   *genericclioptions.ConfigFlags
	streams genericiooptions.IOStreams
}

func newStatus(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &readOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "status httproute/NAME",
		Short: "Show how far a mirror came, from its journal and the live route",
		Example: `  kubectl infer mirror status httproute/chat
  kubectl infer mirror status httproute/chat -o json | jq .live`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.status(cmd.Context(), args) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "json, or empty for a table")
	return cmd
}

func newReport(flags *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	o := &readOptions{flags: flags, streams: streams}
	cmd := &cobra.Command{
		Use:   "report httproute/NAME",
		Short: "Print the verdict of the last mirror",
		Long: `Print the verdict of the last mirror, from its journal.

Exit codes are the mirror's: 0 no gate shows harm, 18 worse, 11 undecided, and 11
while it is not over.`,
		Example: `  kubectl infer mirror report httproute/chat
  kubectl infer mirror report httproute/chat -o json | jq .verdict`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.report(cmd.Context(), args) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "json, or empty for a table")
	return cmd
}

func (o *readOptions) open(ctx context.Context, args []string) (*kube.Clients, engine.Record, error) {
	name, err := parseRoute(args)
	if err == nil {
		err = option.Choice("--output", o.output, "", "json")
	}
	if err != nil {
		return nil, engine.Record{}, err
	}
	clients, err := kube.New(o.flags)
	if err != nil {
		return nil, engine.Record{}, err
	}
	record, err := load(ctx, journal.NewMirrors(clients.Core, clients.Namespace, kind, name), name, clients.Namespace)
	return clients, record, err
}

func (o *readOptions) status(ctx context.Context, args []string) error {
	clients, record, err := o.open(ctx, args)
	if err != nil {
		return err
	}
	left, err := resume(clients, record)
	if err != nil {
		return err
	}
	live := standing{}
	at, err := left.Read(ctx, record.Goal())
	live.Percent, live.AsRecorded, live.Accepted, live.Waiting = at.Share, at.AtGoal, at.Accepted, at.Waiting
	if err != nil {
		live.Problem = err.Error()
	}
	if o.output == "json" {
		encoder := json.NewEncoder(o.streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(statusDocument{APIVersion: apiVersion, Kind: "MirrorStatus", Phase: record.Phase, Report: documentOf(record), Live: live})
	}
	printStatus(o.streams.Out, record, live, time.Now())
	return nil
}

func (o *readOptions) report(ctx context.Context, args []string) error {
	_, record, err := o.open(ctx, args)
	if err != nil {
		return err
	}
	if err := show(o.streams, o.output, record); err != nil {
		return err
	}
	if record.Phase != engine.Done {
		return exit.With(exit.Held, hint.Errorf("kubectl infer mirror status "+record.Plan.Target, "%s: the mirror is not over, it is %s", record.Plan.Target, record.Phase))
	}
	return judged(record)
}

// judged is the error that carries a verdict's exit code.
func judged(record engine.Record) error {
	code := codeOf(record.Verdict)
	if code == exit.OK {
		return nil
	}
	return &exit.Error{Code: code, Err: fmt.Errorf("%s: %s", record.Plan.Target, record.Reason), Quiet: true}
}
