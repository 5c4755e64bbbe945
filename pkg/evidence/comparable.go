package evidence

import "fmt"

// What must differ before arms are called hard to compare. A mean of 200
// lengths that spread as much as they are long is within a tenth of the truth,
// two times in three; a quarter is 2.5 times that.
const (
	longer      = 1.25 // times the other arm's mean tokens
	lengths     = 200  // requests of each arm
	busier      = 1.5  // times the other arm's requests per endpoint
	busierBy    = 1.0  // and this many more
	busierLooks = 20
)

// traffic is what an arm was given since weights last moved.
type traffic struct {
	promptTokens, prompts uint64
	answerTokens, answers uint64
	running, ready        uint64 // summed over looks
	looks                 int
	overdue               uint64 // at the last look
}

// overdue says which arm has requests that no bucket will show for long.
func overdue(name string, of traffic) []string {
	if of.overdue == 0 {
		return nil
	}
	return []string{fmt.Sprintf("unanswered: %d requests of %s have waited for longer than any bucket of its latencies shows; no latency gate has counted them yet", of.overdue, name)}
}

func (t *traffic) add(w increments, running int64, ready int) {
	t.promptTokens += w.promptTokens
	t.prompts += w.prompts
	t.answerTokens += w.answerTokens
	t.answers += w.answers
	t.running += uint64(max(running, 0))
	t.ready += uint64(ready)
	t.looks++
}

// incomparable says how the arms' traffic differs, so that a difference in
// latency may not be the canary's doing. It warns, and decides nothing.
func incomparable(stable, canary traffic) []string {
	var warnings []string
	for _, l := range []struct {
		what           string
		sum, n         uint64 // canary
		otherSum, othN uint64 // stable
	}{
		{"prompts", canary.promptTokens, canary.prompts, stable.promptTokens, stable.prompts},
		{"answers", canary.answerTokens, canary.answers, stable.answerTokens, stable.answers},
	} {
		if min(l.n, l.othN) < lengths {
			continue
		}
		c, s := float64(l.sum)/float64(l.n), float64(l.otherSum)/float64(l.othN)
		if c > longer*s || s > longer*c {
			warnings = append(warnings, fmt.Sprintf("not comparable: the canary's %s have %.3g tokens on average, stable's %.3g", l.what, c, s))
		}
	}
	if min(canary.looks, stable.looks) < busierLooks || canary.ready == 0 || stable.ready == 0 {
		return warnings
	}
	c, s := float64(canary.running)/float64(canary.ready), float64(stable.running)/float64(stable.ready)
	if c > busier*s && c-s >= busierBy || s > busier*c && s-c >= busierBy {
		warnings = append(warnings, fmt.Sprintf("not comparable: each canary endpoint runs %.2g requests at a time, each of stable's %.2g", c, s))
	}
	return warnings
}
