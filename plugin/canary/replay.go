package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/record"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
)

// recording is the file of --record; the zero value records nothing.
type recording struct {
	path   string
	file   *os.File
	writer *record.Writer
}

// open begins the file. An old one is left alone: two runs in one file could
// not be replayed.
func (r *recording) open(p prepared) error {
	if r.path == "" || p.done || p.evidence == nil {
		return nil
	}
	file, err := os.OpenFile(r.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return exit.With(exit.PreflightRefused, hint.Errorf("name a new file, one for each process", "--record %s: the file exists", r.path))
	}
	if err != nil {
		return exit.With(exit.PreflightRefused, fmt.Errorf("--record: %w", err))
	}
	journal := p.record
	journal.Baseline, journal.Previous = nil, nil // nothing is decided by them
	r.file = file
	r.writer = record.NewWriter(file, record.Header{
		Started: p.record.Updated, Plan: p.record.Plan, Edges: p.evidence.Edges(), Source: p.record.Source, Journal: &journal,
	})
	return r.writer.Err()
}

// trace is nil when nothing is recorded.
func (r *recording) trace() func(rollout.Observation, rollout.State, rollout.Action) {
	if r.writer == nil {
		return nil
	}
	return r.writer.Trace
}

// close reports, and does not fail the run, when the file is not whole.
func (r *recording) close(report *reporter) {
	if r.writer == nil {
		return
	}
	if err := errors.Join(r.writer.Err(), r.file.Close()); err != nil {
		report.line("record", fmt.Sprintf("%s is not whole: %v", r.path, err))
	}
}

func newReplay(streams genericiooptions.IOStreams) *cobra.Command {
	var gates []string
	var output string
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Make the decisions of a recorded run again, or those of other gates on it",
		Long: `Make the decisions of a recorded run again, or those of other gates on it.

FILE is what canary run --record wrote, or JSON lines of your own (docs/record.md).
Nothing is asked of a cluster. Without --gate a recorded run must come out
exactly as it was decided, and the first difference is an error. With --gate the
windows are judged by these gates instead, up to where the recorded run stood
elsewhere than they would have.

Exit codes: 0 replayed, 1 the record differs or cannot be read, 2 usage.`,
		Example: `  kubectl infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 --record chat.jsonl
  kubectl infer canary replay chat.jsonl
  kubectl infer canary replay chat.jsonl --gate 'errors < 0.5%' --gate 'ttft p99 < 2s'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.With(exit.Usage, hint.Errorf("kubectl infer canary replay FILE", "name one recorded file, got %d arguments", len(args)))
			}
			if err := option.Choice("--output", output, "", "json"); err != nil {
				return err
			}
			for _, text := range gates {
				if _, err := gate.Parse(text); err != nil {
					return exit.With(exit.Usage, err)
				}
			}
			return replay(streams, args[0], gates, output)
		},
	}
	cmd.Flags().StringArrayVar(&gates, "gate", nil, "judge by this gate instead of the recorded ones; repeatable")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or empty for text")
	return cmd
}

func replay(streams genericiooptions.IOStreams, path string, gates []string, output string) error {
	file, err := os.Open(path)
	if err != nil {
		return hint.Wrap(err, "canary run … --record FILE writes one")
	}
	defer file.Close() //nolint:errcheck // it was only read
	run, err := record.Read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	result, err := record.Replay(run, gates)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if output == "json" {
		encoder := json.NewEncoder(streams.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			record.Replayed
		}{"kubectl-infer.github.io/v1alpha1", "CanaryReplay", result})
	}
	printReplay(streams.Out, result)
	return nil
}

func printReplay(out io.Writer, r record.Replayed) {
	fmt.Fprintf(out, "%s/%s  %s → %s, %d windows\n", r.Plan.Namespace, r.Plan.Target, r.Plan.Stable, r.Plan.Canary, r.Windows)
	for _, g := range r.Plan.Gates {
		fmt.Fprintf(out, "gate %s\n", g)
	}
	for _, d := range r.Decisions {
		if d.Why == "" {
			continue // the end of one that was told
		}
		fmt.Fprintf(out, "  %s  %-11s %-8s %s\n", d.At.Local().Format(time.TimeOnly), d.Phase, d.Goal, d.Why)
	}
	printSteps(out, r.Steps)
	switch {
	case r.Ended == "":
		fmt.Fprintf(out, "open: %s\n", r.Open)
	case r.Exact:
		fmt.Fprintf(out, "%s: every decision as recorded\n", r.Ended)
	default:
		fmt.Fprintf(out, "%s\n", r.Ended)
	}
}
