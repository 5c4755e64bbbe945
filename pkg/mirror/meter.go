package mirror

import (
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// meterSpan is what a rate of tokens is taken over. Model servers count a
// request's tokens when it ends, so a shorter span would see bursts.
const meterSpan = 10 * time.Second

// meter knows what one side spent. It is a value.
type meter struct {
	first time.Time
	last  time.Time
	total uint64
	spent []spending // of the last meterSpan
}

type spending struct {
	at     time.Time
	tokens uint64
}

// add takes a look in. What the first one shows is from before it.
func (m meter) add(now time.Time, arm rollout.Arm) meter {
	m.last = now
	if m.first.IsZero() {
		m.first = now
		return m
	}
	tokens := arm.PromptTokens + arm.AnswerTokens
	m.total += tokens
	recent := []spending{{now, tokens}}
	for _, s := range m.spent {
		if now.Sub(s.at) < meterSpan {
			recent = append(recent, s)
		}
	}
	m.spent = recent
	return m
}

// rate is the tokens a second over the last meterSpan.
func (m meter) rate(now time.Time) float64 {
	sum := uint64(0)
	for _, s := range m.spent {
		if now.Sub(s.at) < meterSpan {
			sum += s.tokens
		}
	}
	return float64(sum) / meterSpan.Seconds()
}

// mean is the tokens a second since the first look; 0 before the second.
func (m meter) mean() float64 {
	if seconds := m.last.Sub(m.first).Seconds(); seconds > 0 {
		return float64(m.total) / seconds
	}
	return 0
}
