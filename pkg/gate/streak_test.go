package gate_test

import (
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

func TestAStreakOfAnswers(t *testing.T) {
	t.Parallel()
	e, err := gate.Parse(`promql "q" < 5`)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		answers string // a digit is a value, '-' a look without one
		want    gate.Verdict
		why     string
	}{
		"nothing asked decides nothing":                 {"", gate.Inconclusive, "not asked yet"},
		"four good answers are too few":                 {"1111", gate.Inconclusive, "4 of 5 answers"},
		"five good ones raise no objection":             {"11111", gate.Pass, ""},
		"the limit itself is over":                      {"555", gate.Fail, "3 of the latest 3 answers were not below 5 (no error bound)"},
		"two of five over do not fail":                  {"19191", gate.Pass, ""},
		"three of five over fail":                       {"91919", gate.Fail, "3 of the latest 5"},
		"three over far apart do not":                   {"911119111191111", gate.Pass, ""},
		"a look without a value fails nothing":          {"99---", gate.Inconclusive, "has no value: away"},
		"and passes nothing":                            {"11111-", gate.Inconclusive, "has no value: away"},
		"nor does it make old answers older":            {"99--9", gate.Fail, "3 of the latest 3"},
		"what failed is over once enough are good":      {"999111", gate.Pass, ""},
		"looks without a value do not count as answers": {"1-1-1-1", gate.Inconclusive, "4 of 5 answers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := gate.NewStreak(e)
			for _, a := range tt.answers {
				answer := gate.Answer{Value: float64(a - '0')}
				if a == '-' {
					answer = gate.Answer{Missing: "away"}
				}
				s = s.Add(answer)
			}
			if got, why := s.Verdict(); got != tt.want || !strings.Contains(why, tt.why) {
				t.Errorf("%s, %q; want %s, %q", got, why, tt.want, tt.why)
			}
		})
	}
}
