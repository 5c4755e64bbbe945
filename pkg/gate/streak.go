package gate

import "fmt"

// A promql gate fails when so many of the latest so many answers of a step are
// not below its limit. Three of five at two seconds' distance is what a bare
// threshold can do against one odd answer; it bounds no error.
const (
	StreakBad = 3
	StreakOf  = 5
)

// Answer is what a query said at one look.
type Answer struct {
	Value float64 `json:"value"`
	// Missing says why there is no value; "" when there is one.
	Missing string `json:"missing,omitempty"`
}

// Streak judges a promql gate, StreakBad of StreakOf answers in a row. It has no
// error bound: a healthy canary whose answers stray over the limit is rolled
// back sooner or later. Streak is a value: Add returns what comes after. Make one
// with NewStreak at the begin of a step.
type Streak struct {
	expr    Expr
	latest  [StreakOf]bool // whether each of the latest answers was over, newest first
	answers uint64
	over    uint64
	last    Answer
}

// NewStreak begins a step of a promql gate.
func NewStreak(e Expr) Streak { return Streak{expr: e, last: Answer{Missing: "not asked yet"}} }

// Add takes the answer of one look. One without a value counts for nothing.
func (s Streak) Add(a Answer) Streak {
	s.last = a
	if a.Missing != "" {
		return s
	}
	over := !(a.Value < s.expr.Limit)
	copy(s.latest[1:], s.latest[:StreakOf-1])
	s.latest[0] = over
	s.answers++
	if over {
		s.over++
	}
	return s
}

// Over counts which of the latest answers were not below the limit.
func (s Streak) Over() int {
	n := 0
	for _, over := range s.latest {
		if over {
			n++
		}
	}
	return n
}

// Counts are the answers of the step, the bad ones being those over the limit.
func (s Streak) Counts() Counts { return Counts{Requests: s.answers, Bad: s.over} }

// Last is the latest answer.
func (s Streak) Last() Answer { return s.last }

// Verdict is Fail at StreakBad of the latest StreakOf answers, Pass when the
// latest look had an answer and StreakOf did not fail, else Inconclusive. The
// second result says why. A Pass only raises no objection: a gate with an error
// bound must pass the step.
func (s Streak) Verdict() (Verdict, string) {
	switch {
	case s.Over() >= StreakBad:
		return Fail, fmt.Sprintf("gate %s: %d of the latest %d answers were not below %s (no error bound)",
			s.expr, s.Over(), min(s.answers, StreakOf), s.expr.Amount(s.expr.Limit))
	case s.last.Missing != "":
		return Inconclusive, fmt.Sprintf("gate %s has no value: %s", s.expr, s.last.Missing)
	case s.answers < StreakOf:
		return Inconclusive, fmt.Sprintf("gate %s has %d of %d answers", s.expr, s.answers, StreakOf)
	default:
		return Pass, "no objection"
	}
}
