package verify

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func printSplit(out io.Writer, r *splitReport) {
	name := r.Namespace + "/" + r.Target
	if r.Rule != "" {
		name += " rule " + r.Rule
	}
	fmt.Fprintf(out, "%s  %s\n", headline(r.Verdict), name)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ARM\tPOOL\tREADY\tASKED\tSEEN\t95% INTERVAL\tREQUESTS")
	for _, arm := range r.Arms {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s to %s\t%d\n", arm.Name, arm.Pool, arm.Ready,
			percent(arm.Asked), percent(arm.Seen), percent(arm.Low), percent(arm.High), arm.Started)
	}
	_ = w.Flush()
	fmt.Fprintf(out, "share test  e-value %s of %d\n", number(r.EValue), limit)
	if !r.Passive {
		fmt.Fprintf(out, "answers     %d sent: HTTP %s\n", r.Answers.Sent, counted(r.Answers.Codes))
		if len(r.Answers.Models) > 0 {
			fmt.Fprintf(out, "models      %s\n", counted(r.Answers.Models))
		}
		if r.Others > 0 {
			fmt.Fprintf(out, "others      %d requests counted were not sent by this command\n", r.Others)
		}
	}
	fmt.Fprintf(out, "astray      %d answered by another endpoint than picked\n", r.Astray)
	if r.Copied {
		fmt.Fprintln(out, "note        a RequestMirror filter copies requests to pods, so that the right picker is asked was not checked")
	}
	for _, reason := range r.Reasons {
		fmt.Fprintf(out, "why         %s\n", reason)
	}
	if r.Next != "" {
		fmt.Fprintf(out, "next        %s\n", r.Next)
	}
}

func headline(v gate.Verdict) string {
	switch v {
	case gate.Pass:
		return "AS ASKED"
	case gate.Inconclusive:
		return "UNDECIDED"
	default:
		return "NOT AS ASKED"
	}
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + "%" }

func number(v float64) string {
	if v >= 1e6 {
		return "over 1e6"
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

func counted(m map[string]int) string {
	var parts []string
	for _, key := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s × %d", key, m[key]))
	}
	return strings.Join(parts, ", ")
}
