// Command pickersim compares ways to choose a model server by simulation and prints
// the table of docs/picker-quality.md. Start with picker/simulate, which does the work.
//
//	go run ./e2e/pickersim --seeds 5
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/picker/score"
	"github.com/kubectl-infer/kubectl-infer/picker/simulate"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("pickersim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	seeds := flags.Uint64("seeds", 5, "traces of each scenario")
	from := flags.Uint64("from", 1, "the first seed")
	only := flags.String("only", "", "scenarios whose name has this in it")
	requests := flags.Int("requests", 0, "in each trace; 0: as many as the scenario has")
	against := flags.String("kinds", "", "ways to choose whose name has this in it")
	weights := flags.String("scorer-weights", "", "of our picker, as in queue=2,prefix=0")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	debug.SetGCPercent(400) // many short-lived small slices
	chosen, err := parseWeights(*weights)
	if err != nil {
		return err
	}
	ours, err := simulate.Ours(chosen)
	if err != nil {
		return err
	}
	kinds := slices.DeleteFunc(append(simulate.Peers(), ours), func(k simulate.Kind) bool { return !strings.Contains(k.Name, *against) })
	printHead(stdout, kinds)
	for _, s := range simulate.Scenarios() {
		if !strings.Contains(s.Name, *only) {
			continue
		}
		if *requests > 0 {
			s.Requests = *requests
		}
		fmt.Fprintln(stderr, s.Name)
		results := make([]simulate.Result, len(kinds))
		for seed := *from; seed < *from+*seeds; seed++ {
			trace := s.Trace(seed)
			for i, k := range kinds {
				results[i] = results[i].Plus(s.Serve(k, trace, seed))
			}
		}
		printRow(stdout, s.Name, results)
	}
	return nil
}

func parseWeights(text string) (score.Weights, error) {
	weights := score.Weights{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		weight, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("--scorer-weights %s: not name=number", pair)
		}
		weights[name] = weight
	}
	return weights, nil
}

func printHead(w io.Writer, kinds []simulate.Kind) {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	fmt.Fprintf(w, "\nTTFT p50 / p90 / p99 in ms; under it requests of the busiest server in means of all, and prompt tokens found in caches.\n\n")
	fmt.Fprintf(w, "| scenario | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
}

func printRow(w io.Writer, name string, results []simulate.Result) {
	fmt.Fprintf(w, "| %s |", name)
	for _, r := range results {
		fmt.Fprintf(w, " %d / %d / %d · %.2f · %.0f %% |", r.Quantile(0.5).Milliseconds(), r.Quantile(0.9).Milliseconds(),
			r.Quantile(0.99).Milliseconds(), r.Herding(), 100*float64(r.Held)/float64(max(1, r.Prompts)))
		if r.Refused > 0 {
			fmt.Fprintf(w, " %d refused |", r.Refused)
		}
	}
	fmt.Fprintln(w)
}
