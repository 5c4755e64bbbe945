package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// table writes the results as Markdown: server CPU time per request, its ratio
// to the floor, and the driver's latencies.
func table(s suite, o outcome) string {
	names, all := s.names(), o.contests
	var b strings.Builder
	if s.title != "" {
		b.WriteString("**" + s.title + "**\n\n")
	}
	b.WriteString("| case |")
	for _, name := range names {
		fmt.Fprintf(&b, " %s, CPU µs |", name)
	}
	fmt.Fprintf(&b, " %s / %s |", ours, theFloor)
	for _, name := range names {
		fmt.Fprintf(&b, " %s, p50 / p99 ms |", name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", 2*len(names)+1) + "\n")
	for i, contest := range s.contests {
		fmt.Fprintf(&b, "| %s |", contest.label)
		for _, name := range names {
			b.WriteString(cell(all[i], name, func() string {
				return fmt.Sprintf("%.0f", float64(all[i].of(name, func(s sample) time.Duration { return s.cpu }))/1e3)
			}))
		}
		fmt.Fprintf(&b, " %.2f |", all[i].ratio(ours, theFloor))
		for _, name := range names {
			b.WriteString(cell(all[i], name, func() string {
				return fmt.Sprintf("%.2f / %.2f", all[i].of(name, func(s sample) time.Duration { return s.p50 }).Seconds()*1e3,
					all[i].of(name, func(s sample) time.Duration { return s.p99 }).Seconds()*1e3)
			}))
		}
		b.WriteString("\n")
	}
	peaks, idle := make([]string, len(names)), make([]string, len(names))
	for i, name := range names {
		peaks[i] = fmt.Sprintf("%s %d MiB", name, o.standings[name].memory>>20)
		idle[i] = fmt.Sprintf("%s %.3f", name, o.standings[name].idle)
	}
	fmt.Fprintf(&b, "\nPeak resident memory over all of it: %s.\n", strings.Join(peaks, ", "))
	if s.pods > 0 {
		fmt.Fprintf(&b, "Cores used without a request: %s.\n", strings.Join(idle, ", "))
	}
	return b.String()
}

// cell is empty where the contender does not serve the case's mode.
func cell(r results, name string, text func() string) string {
	if len(r[name]) == 0 {
		return " |"
	}
	return " " + text() + " |"
}

// names lists the contenders once each, in order.
func (s suite) names() []string {
	var names []string
	for _, c := range s.contenders {
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// rewrite replaces what stands in the file at path between the marks of a suite.
func rewrite(path, suite, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	open, shut := "<!-- bench "+suite+" -->\n", "<!-- end "+suite+" -->"
	head, rest, found := strings.Cut(string(old), open)
	_, tail, closed := strings.Cut(rest, shut)
	if !found || !closed {
		return fmt.Errorf("rewrite %s: no lines %q and %q", path, strings.TrimSpace(open), shut)
	}
	return os.WriteFile(path, []byte(head+open+text+shut+tail), 0o644)
}
