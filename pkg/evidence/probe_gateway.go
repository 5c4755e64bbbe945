package evidence

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// countPoll is the time between two looks at the canary's counters, and
// countLimit how long they may lag: a Prometheus scrapes seldom.
const (
	countPoll  = 250 * time.Millisecond
	countLimit = 45 * time.Second
)

// Way leads through the gateway to the canary alone: a rule of its own, known by
// a header, a host name or a path.
type Way struct {
	// URL is http://HOST:PORT, and the path before /v1 if there is one.
	URL string
	// Header goes with every request; Host in it is the host name.
	Header http.Header
	// Models are asked for; none stands for what stable's pods list, or for the
	// canary's target model.
	Models []string
}

// ProbeThrough is Probe for those who reach no pods: it asks for first tokens
// through the gateway, as many of each model as the canary has ready pods, and
// holds the answers against the canary's own counters, since a gateway may well
// answer from elsewhere. Which of the pods answered it cannot tell.
func (a *Arms) ProbeThrough(ctx context.Context, way Way) (tokens int, err error) {
	return a.probeThrough(ctx, way, countLimit)
}

func (a *Arms) probeThrough(ctx context.Context, way Way, patience time.Duration) (tokens int, err error) {
	names, err := a.asked(ctx, way)
	if err != nil {
		return 0, err
	}
	if before := a.Look(ctx).Canary; before.Blind != "" {
		return 0, hint.Errorf("--probe=none skips the question", "the canary's counters cannot be read, so nobody could say who answers: %s", before.Blind)
	}
	if tokens, err = a.tokensThrough(ctx, way, names); err != nil {
		return 0, err
	}
	counting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if seen := a.counted(counting, tokens); seen < uint64(tokens) && ctx.Err() == nil {
		return 0, hint.Errorf("a rule of its own must lead from --probe-url, with --probe-header, to the canary alone; --probe=none skips the question",
			"the gateway at %s gave %d first tokens, and the canary counted %d of them: they came from elsewhere", way.URL, tokens, seen)
	}
	return tokens, ctx.Err()
}

// tokensThrough asks for every name as often as the canary has ready pods.
func (a *Arms) tokensThrough(ctx context.Context, way Way, names []string) (tokens int, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	for _, name := range names {
		for range max(1, a.canary().pods.ready()) {
			if err := a.tokenThrough(ctx, way, name); err != nil {
				return 0, hint.Wrap(fmt.Errorf("the gateway at %s does not answer for model %q: %w", way.URL, name, err),
					"curl the same address; does a rule lead from there to the canary? --probe=none skips the question")
			}
			tokens++
		}
	}
	return tokens, nil
}

// asked are the names to ask for.
func (a *Arms) asked(ctx context.Context, way Way) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	if len(way.Models) > 0 {
		return slices.Compact(slices.Sorted(slices.Values(way.Models))), nil
	}
	if model := a.canary().pool.Model; model != "" {
		return []string{model}, nil
	}
	names, err := a.names(ctx)
	if err == nil && len(names) == 0 {
		err = hint.Errorf("--probe-model NAME", "no ready pod of stable lists a model")
	}
	if err != nil {
		return nil, hint.Wrap(err, "name what to ask for: --probe-model NAME")
	}
	return names, nil
}

// tokenThrough asks the gateway for one token of model name.
func (a *Arms) tokenThrough(ctx context.Context, way Way, name string) error {
	return firstToken(name, func(body []byte, into any) error {
		request, err := newQuestion(ctx, http.MethodPost, strings.TrimSuffix(way.URL, "/")+"/v1/completions", body)
		if err != nil {
			return err
		}
		for key, values := range way.Header {
			request.Header[key] = values
		}
		request.Host = way.Header.Get("Host")
		return answer(a.reach.direct, request, into)
	})
}

// counted waits until the canary has counted that many requests, or ctx ends,
// and says how many it did.
func (a *Arms) counted(ctx context.Context, tokens int) (seen uint64) {
	ticker := time.NewTicker(countPoll)
	defer ticker.Stop()
	for {
		if seen += a.Look(ctx).Canary.Started; seen >= uint64(tokens) {
			return seen
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return seen
		}
	}
}
