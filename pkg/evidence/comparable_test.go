package evidence

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestArmsThatGetOtherTrafficAreCalledNotComparable(t *testing.T) {
	t.Parallel()
	like := traffic{promptTokens: 100_000, prompts: 500, answerTokens: 50_000, answers: 500, running: 120, ready: 60, looks: 30}
	for rule, tc := range map[string]struct {
		canary func(*traffic)
		says   string
	}{
		"alike: nothing to say":                   {func(*traffic) {}, ""},
		"a fifth longer: nothing to say":          {func(c *traffic) { c.promptTokens = 120_000 }, ""},
		"longer prompts":                          {func(c *traffic) { c.promptTokens = 200_000 }, "canary's prompts have 400 tokens on average, stable's 200"},
		"shorter answers":                         {func(c *traffic) { c.answerTokens = 25_000 }, "canary's answers have 50 tokens on average, stable's 100"},
		"too few requests to tell":                {func(c *traffic) { c.promptTokens, c.prompts = 80_000, 199 }, ""},
		"a program that counts no tokens":         {func(c *traffic) { *c = traffic{running: 120, ready: 60, looks: 30} }, ""},
		"fuller endpoints":                        {func(c *traffic) { c.running = 600 }, "each canary endpoint runs 10 requests at a time, each of stable's 2"},
		"emptier endpoints":                       {func(c *traffic) { c.running = 30 }, "runs 0.5 requests"},
		"half as many again are no difference":    {func(c *traffic) { c.running = 180 }, ""},
		"more requests on as many more endpoints": {func(c *traffic) { c.running, c.ready = 480, 240 }, ""},
		"too few looks to tell":                   {func(c *traffic) { c.running, c.looks = 600, 19 }, ""},
		"no ready endpoint is no load to compare": {func(c *traffic) { c.ready = 0 }, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			canary := like
			tc.canary(&canary)
			got := strings.Join(incomparable(like, canary), "; ")
			if (tc.says == "") != (got == "") || !strings.Contains(got, tc.says) {
				t.Errorf("got %q, want %q", got, tc.says)
			}
		})
	}
}

// TestLikeArmsAreSeldomCalledNotComparable draws lengths that spread as widely as
// they are long, from one distribution, at the fewest requests that count.
func TestLikeArmsAreSeldomCalledNotComparable(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 8))
	draw := func() (tokens uint64) {
		for range lengths {
			tokens += uint64(1 + r.ExpFloat64()*300)
		}
		return tokens
	}
	wrong := 0
	for range 2000 {
		arms := [2]traffic{{promptTokens: draw(), prompts: lengths}, {promptTokens: draw(), prompts: lengths}}
		wrong += len(incomparable(arms[0], arms[1]))
	}
	if wrong > 80 { // 2.4 % expected
		t.Errorf("%d of 2000 pairs of like arms", wrong)
	}
}
