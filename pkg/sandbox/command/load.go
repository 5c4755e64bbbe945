package command

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/traffic"
)

// quietEvery is the seconds between live lines where they cannot be overwritten.
const quietEvery = 5

func (c *cli) load() *cobra.Command {
	o := traffic.Options{}
	var models []string
	var output string
	var failOnError bool
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Drive OpenAI-style traffic at the sandbox's gateway and say what came back",
		Example: `  kubectl infer sandbox load --model qwen=1 --rate 20 --duration 30s
  kubectl infer sandbox load --model qwen=3 --model travel-helper-v1=1 --streaming 0.5 --fail-on-error`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var err error
			if o.Mix, err = parseMix(models); err != nil {
				return usageError{err}
			}
			if o.URL == "" {
				state, err := c.findRunning()
				if err != nil {
					return err
				}
				o.URL = "http://" + state.Gateway
			}
			summary, err := traffic.Run(cmd.Context(), o, c.liveLine())
			if err != nil {
				return usageError{err}
			}
			if err := c.printSummary(summary, output); err != nil {
				return err
			}
			if failOnError && summary.Failed > 0 {
				return hint.Errorf("see kubectl infer sandbox logs access", "%d of %d requests failed", summary.Failed, summary.Sent)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&models, "model", nil, "MODEL=WEIGHT of the mix; repeat for several (required)")
	f.Float64Var(&o.Rate, "rate", 10, "mean arrivals per second")
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "how long requests arrive; 0 is until interrupted")
	f.Float64Var(&o.StreamingShare, "streaming", 0.5, "share of requests that stream, 0 to 1")
	f.Uint64Var(&o.Seed, "seed", 1, "makes arrivals, mix and lengths repeatable")
	f.IntVar(&o.Concurrency, "concurrency", 256, "requests in flight at most; an arrival beyond is skipped and counted")
	f.DurationVar(&o.Timeout, "timeout", time.Minute, "of one request, whole")
	f.StringVar(&o.URL, "url", "", "drive this instead of the sandbox's gateway")
	f.StringVar(&o.Host, "host", "", "Host header (default: the URL's)")
	f.BoolVar(&o.AllowRemote, "allow-remote", false, "permit a --url that is not on this machine")
	f.BoolVar(&failOnError, "fail-on-error", false, "exit 1 when a request failed")
	f.StringVarP(&output, "output", "o", "", "output format: json")
	return cmd
}

// parseMix reads MODEL or MODEL=WEIGHT. Model names may hold = themselves.
func parseMix(words []string) ([]traffic.ModelShare, error) {
	if len(words) == 0 {
		return nil, hint.Errorf("name what the route serves, as in --model qwen=1", "no --model given")
	}
	mix := make([]traffic.ModelShare, 0, len(words))
	for _, word := range words {
		share := traffic.ModelShare{Model: word, Weight: 1}
		if i := strings.LastIndex(word, "="); i >= 0 {
			weight, err := strconv.ParseFloat(word[i+1:], 64)
			if err != nil {
				return nil, hint.Errorf("write --model NAME=WEIGHT, as in --model qwen=1", "--model %s: weight %q is not a number", word, word[i+1:])
			}
			share = traffic.ModelShare{Model: word[:i], Weight: weight}
		}
		mix = append(mix, share)
	}
	return mix, nil
}

// liveLine overwrites one line of a terminal, and writes one now and then elsewhere.
func (c *cli) liveLine() func(traffic.Live) {
	terminal := isTerminal(c.ErrOut)
	n := 0
	return func(l traffic.Live) {
		switch n++; {
		case terminal:
			fmt.Fprintf(c.ErrOut, "\r\033[K%s", l)
		case n%quietEvery == 0:
			fmt.Fprintln(c.ErrOut, l)
		}
	}
}

func (c *cli) printSummary(summary traffic.Summary, output string) error {
	if isTerminal(c.ErrOut) {
		fmt.Fprint(c.ErrOut, "\r\033[K")
	}
	if output == "json" {
		return writeJSON(c.Out, summary)
	}
	_, err := fmt.Fprint(c.Out, summary)
	return err
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
