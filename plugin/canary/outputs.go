package canary

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
	"github.com/kubectl-infer/kubectl-infer/plugin/option"
	"github.com/kubectl-infer/kubectl-infer/plugin/report"
)

// outputs are what a run writes for machines beside its lines for people.
type outputs struct {
	output    string // of the result on stdout
	events    string
	junit     string
	undecided string
	summary   string

	file   *os.File
	stream *report.Events
}

func (o *outputs) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "json, or empty for a table")
	cmd.Flags().StringVar(&o.events, "events", "", "append the run as JSON lines to this file while it goes on; - is stdout, in place of the table")
	cmd.Flags().StringVar(&o.junit, "junit-file", "", "write the result as JUnit XML: a case for each gate of each step")
	cmd.Flags().StringVar(&o.undecided, "junit-undecided", string(report.UndecidedSkipped), "how the JUnit file shows what could not be judged: skipped, or error")
	cmd.Flags().StringVar(&o.summary, "summary-file", "", "append the result as Markdown, as for the summary of a pipeline's job")
}

// check refuses what does not go together.
func (o *outputs) check() error {
	if err := option.Choice("--output", o.output, "", "json"); err != nil {
		return err
	}
	if o.output != "" && o.events == "-" {
		return exit.With(exit.Usage, hint.Errorf("--events FILE", "--events - and --output %s both write to stdout", o.output))
	}
	return option.Choice("--junit-undecided", o.undecided, string(report.UndecidedSkipped), string(report.UndecidedError))
}

// open begins the stream of events.
func (o *outputs) open(stdout io.Writer) error {
	to := stdout
	switch o.events {
	case "":
		return nil
	case "-":
	default:
		file, err := os.OpenFile(o.events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return exit.With(exit.PreflightRefused, fmt.Errorf("--events: %w", err))
		}
		o.file, to = file, file
	}
	o.stream = report.NewEvents(to, time.Now, lookEvery)
	return nil
}

// reporters tells people, and the stream of events if there is one.
func (o *outputs) reporters(people *reporter) rollout.Reporter {
	if o.stream == nil {
		return people
	}
	return both{people, o.stream}
}

// print writes the result to stdout.
func (o *outputs) print(streams genericiooptions.IOStreams, result report.Result) error {
	if o.events == "-" {
		return nil
	}
	return printResult(streams.Out, o.output, result)
}

// finish writes the files, whatever became of the run. What cannot be written
// is told and changes no exit code: it is the rollout that pipelines branch on.
func (o *outputs) finish(result report.Result, people *reporter) {
	if o.stream != nil {
		o.stream.Ended(result)
		err := o.stream.Err()
		if o.file != nil {
			err = errors.Join(err, o.file.Close())
		}
		if err != nil {
			people.line("events", fmt.Sprintf("%s is not whole: %v", o.events, err))
		}
	}
	if o.junit != "" {
		var page bytes.Buffer
		err := report.WriteJUnit(&page, result, report.Undecided(o.undecided))
		if err == nil {
			err = replaceFile(o.junit, page.Bytes())
		}
		if err != nil {
			people.line("junit", fmt.Sprintf("%s was not written: %v", o.junit, err))
		}
	}
	if o.summary != "" {
		if err := appendFile(o.summary, report.Markdown(result)); err != nil {
			people.line("summary", fmt.Sprintf("%s was not written: %v", o.summary, err))
		}
	}
}

// replaceFile writes path whole or not at all.
func replaceFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

func appendFile(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, text)
	return errors.Join(err, file.Close())
}

// both is two reporters as one.
type both [2]rollout.Reporter

func (b both) Transition(record rollout.Record, why string) {
	b[0].Transition(record, why)
	b[1].Transition(record, why)
}

func (b both) Looked(state rollout.State, sample rollout.Sample) {
	b[0].Looked(state, sample)
	b[1].Looked(state, sample)
}

func (b both) Trouble(record rollout.Record, err error) {
	b[0].Trouble(record, err)
	b[1].Trouble(record, err)
}
