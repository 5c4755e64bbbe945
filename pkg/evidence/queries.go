package evidence

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/prometheus"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// wired refuses promql gates where there is no Prometheus to ask.
func (o Options) wired(queries []gate.Expr) error {
	if len(queries) == 0 || o.Prometheus != "" {
		return nil
	}
	return hint.Errorf("name the server: --prometheus http://ADDRESS, which then feeds every gate; or leave the gate out",
		"gate %s: there is no Prometheus to ask", queries[0])
}

// bindQueries asks every query of a promql gate once: what can never be one
// number is refused. A query without a value now may have one once the canary
// has traffic.
func (a *Arms) bindQueries(ctx context.Context, queries []gate.Expr) error {
	a.queries = queries
	for _, e := range queries {
		_, err := a.reach.server.Value(ctx, e.Query)
		switch {
		case errors.Is(err, prometheus.ErrRefused), errors.Is(err, prometheus.ErrNotOne):
			return hint.Errorf("try the query on the page /graph of the server; sum(…) makes one number of many", "gate %s: %w", e, err)
		case errors.Is(err, prometheus.ErrNoValue):
			a.notes = append(a.notes, fmt.Sprintf("%s: %v yet; a step does not pass without one", e, err))
		case err != nil:
			return fmt.Errorf("gate %s: %w", e, err)
		}
	}
	return nil
}

// answers asks every query at once.
func (a *Arms) answers(ctx context.Context) []gate.Answer {
	answers := make([]gate.Answer, len(a.queries))
	var wg sync.WaitGroup
	for i, e := range a.queries {
		wg.Go(func() {
			value, err := a.reach.server.Value(ctx, e.Query)
			answers[i].Value = value
			if err != nil {
				answers[i] = gate.Answer{Missing: err.Error()}
			}
		})
	}
	wg.Wait()
	if len(answers) == 0 {
		return nil
	}
	return answers
}
