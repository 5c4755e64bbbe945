package canary

import (
	"context"
	"fmt"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// checkInterval refuses a plan that looks or settles faster than a Prometheus
// scrapes: a look would see nothing new and a window could span a move.
func checkInterval(ctx context.Context, both *evidence.Arms, plan rollout.Plan) error {
	every, err := both.Interval(ctx)
	if err != nil {
		return err
	}
	if plan.ScrapeInterval < every || plan.Settle < 2*every {
		return hint.Errorf(fmt.Sprintf("--scrape-interval %v --settle %v, or let it scrape more often", every, 2*every),
			"prometheus scrapes the arms every %v: too slow for --scrape-interval %v and --settle %v", every, plan.ScrapeInterval, plan.Settle)
	}
	return nil
}
