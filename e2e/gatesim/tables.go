package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate/simulate"
)

func percent(t simulate.Tally, judge string) string {
	rate, _ := t.Rate(judge)
	return fmt.Sprintf("%.1f %%", 100*rate)
}

func printHealthy(w io.Writer, s section, c *campaign) {
	peers := simulate.Peers()
	fmt.Fprintf(w, "\n### %s\n\n| traffic | runs | looks | φ, median (95 %%) | rolled back | ≤ (95 %%) | %s |\n|---|---|---|---|---|---|%s\n",
		s.title, strings.Join(peers, " | "), strings.Repeat("---|", len(peers)))
	var all simulate.Tally
	row := func(name string, t simulate.Tally) {
		if t.Runs == 0 {
			return
		}
		_, upper := t.Rate(simulate.Ours)
		fmt.Fprintf(w, "| %s | %d | %d | %.2f (%.1f) | %d | %.2f %% |", name, t.Runs, t.Looks,
			t.PhiQuantile(0.5), t.PhiQuantile(0.95), t.Alarm[simulate.Ours], 100*upper)
		for _, p := range peers {
			fmt.Fprintf(w, " %s |", percent(t, p))
		}
		fmt.Fprintln(w)
	}
	for _, what := range s.cases {
		t := c.tally(what.Name)
		all = all.Plus(t)
		row(what.Name, t)
	}
	row("**all**", all)
}

func printHarm(w io.Writer, s section, c *campaign) {
	judges := append([]string{simulate.Ours}, simulate.Peers()...)
	fmt.Fprintf(w, "\n### %s\n\nCanary requests from the begin of the harm, median / p90 of all runs; — not found in so many.\n\n| harm | runs | φ | %s |\n|---|---|---|%s\n",
		s.title, strings.Join(judges, " | "), strings.Repeat("---|", len(judges)))
	for _, what := range s.cases {
		t := c.tally(what.Name)
		if t.Runs == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s | %d | %.2f |", what.Name, t.Runs, t.PhiQuantile(0.5))
		for _, judge := range judges {
			fmt.Fprintf(w, " %s / %s |", needed(t, judge, 0.5), needed(t, judge, 0.9))
		}
		fmt.Fprintln(w)
	}
}

func needed(t simulate.Tally, judge string, q float64) string {
	if n, ok := t.Needed(judge, q); ok {
		return fmt.Sprint(n)
	}
	return "—"
}
