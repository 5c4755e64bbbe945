package report

import (
	"fmt"
	"strings"
)

// MaxMarkdown bounds a summary, in bytes: pipelines refuse pages above 1 MiB.
const MaxMarkdown = 256 << 10

// Markdown is r as a section for the summary page of a pipeline's job: a
// heading, the reason, and one table of steps and gates.
func Markdown(r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s `%s/%s`: %s → %s\n\n", r.Word(), r.Namespace, r.Target, cell(r.Stable), cell(r.Canary))
	if r.Reason != "" {
		fmt.Fprintf(&b, "%s\n\n", cell(r.Reason))
	}
	fmt.Fprintf(&b, "Exit code %d; the highest share a gate approved is %d%%.\n", r.ExitCode, r.Ceiling)
	if r.RollbackSeconds > 0 {
		fmt.Fprintf(&b, "The baseline was back %.0f ms after the deciding scrape.\n", 1000*r.RollbackSeconds)
	}
	if len(r.Steps) > 0 {
		b.WriteString("\n| asked | seen | gate | value | bad | e-value | verdict | took |\n|---|---|---|---|---|---|---|---|\n")
	}
	for _, step := range r.Steps {
		rows := step.rows()
		if b.Len()+len(rows) > MaxMarkdown {
			b.WriteString("\nThe rest is cut; the result document has all of it.\n")
			break
		}
		b.WriteString(rows)
	}
	return b.String()
}

func (s Step) rows() string {
	var b strings.Builder
	asked, seen, verdict, took := fmt.Sprintf("%d%%", s.Asked), fmt.Sprintf("%.1f%%", s.Seen), s.Verdict, s.Took
	if len(s.Gates) == 0 {
		fmt.Fprintf(&b, "| %s | %s | | | | | %s | %s |\n", asked, seen, verdict, took)
	}
	for _, g := range s.Gates {
		mark := verdict
		if crossed(g) {
			mark = "**Fail**"
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %d of %d | %.2g of %.3g | %s | %s |\n",
			asked, seen, strings.ReplaceAll(g.Gate, "|", `\|`), cell(g.Value), g.Bad, g.Requests, g.EValue, g.Needed, mark, took)
		asked, seen, verdict, took = "", "", "", ""
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "| | | warning: %s | | | | | |\n", cell(w))
	}
	return b.String()
}

// cell is text that keeps a table whole.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
