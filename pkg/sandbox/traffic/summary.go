package traffic

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Live is the state of a run, once a second.
type Live struct {
	Elapsed                   time.Duration
	Sent, OK, Failed, Skipped int64
	InFlight                  int
	Rate                      float64       // requests sent per second, since the last one
	P95TTFT                   time.Duration // since the last one; 0 when there was none
}

// String is the live line.
func (l Live) String() string {
	return fmt.Sprintf("%s  sent %d  ok %d  failed %d  skipped %d  in flight %d  %.1f req/s  ttft p95 %s",
		l.Elapsed.Round(time.Second), l.Sent, l.OK, l.Failed, l.Skipped, l.InFlight, l.Rate, latency(l.P95TTFT.Seconds()))
}

// Percentiles are in seconds.
type Percentiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Answer counts what one backend answered in one model's name. Both are empty
// where no response said so, as when nothing answered at all.
type Answer struct {
	Backend string `json:"backend"` // namespace/pool, from the gateway
	Model   string `json:"model"`   // from the answer
	OK      int64  `json:"ok"`
	Failed  int64  `json:"failed"`
}

// Summary is the result of a run. Sent = OK + Failed + Canceled; skipped
// arrivals were never sent.
type Summary struct {
	Seconds  float64          `json:"seconds"` // from the start to the last arrival allowed
	Rate     float64          `json:"rate"`    // sent per second
	Sent     int64            `json:"sent"`
	OK       int64            `json:"ok"`
	Failed   int64            `json:"failed"`
	Skipped  int64            `json:"skipped"`
	Canceled int64            `json:"canceled"`
	Codes    map[string]int64 `json:"codes"`  // by HTTP status
	Errors   map[string]int64 `json:"errors"` // failures without a status of their own, by kind
	TTFT     Percentiles      `json:"ttftSeconds"`
	EndToEnd Percentiles      `json:"endToEndSeconds"` // of ok requests
	Answers  []Answer         `json:"answers"`
}

// String is the summary as aligned plain text.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "requests  %d sent, %d ok, %d failed, %d skipped", s.Sent, s.OK, s.Failed, s.Skipped)
	if s.Canceled > 0 {
		fmt.Fprintf(&b, ", %d canceled", s.Canceled)
	}
	fmt.Fprintf(&b, "; %.1f req/s for %s\n", s.Rate, time.Duration(s.Seconds*float64(time.Second)).Round(100*time.Millisecond))
	if len(s.Codes) > 0 {
		fmt.Fprintf(&b, "codes     %s\n", counts(s.Codes))
	}
	if len(s.Errors) > 0 {
		fmt.Fprintf(&b, "errors    %s\n", counts(s.Errors))
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nLATENCY\tP50\tP90\tP95\tP99\tMAX\tSAMPLES\n")
	row(t, "ttft", s.TTFT)
	row(t, "end to end", s.EndToEnd)
	_ = t.Flush() // a builder does not fail
	fmt.Fprintf(t, "\nBACKEND\tMODEL\tOK\tFAILED\tSHARE\n")
	for _, a := range s.Answers {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.1f%%\n", known(a.Backend), known(a.Model), a.OK, a.Failed,
			100*float64(a.OK+a.Failed)/float64(max(1, s.OK+s.Failed)))
	}
	_ = t.Flush() // as above
	return b.String()
}

func row(t *tabwriter.Writer, name string, p Percentiles) {
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", name,
		latency(p.P50), latency(p.P90), latency(p.P95), latency(p.P99), latency(p.Max), p.Count)
}

// latency writes seconds as people read them; 0 stands for no samples.
func latency(seconds float64) string {
	switch {
	case seconds == 0:
		return "-"
	case seconds < 0.01:
		return fmt.Sprintf("%.1fms", seconds*1000)
	case seconds < 1:
		return fmt.Sprintf("%.0fms", seconds*1000)
	}
	return fmt.Sprintf("%.2fs", seconds)
}

func counts(m map[string]int64) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", key, m[key]))
	}
	return strings.Join(parts, ", ")
}

func known(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
