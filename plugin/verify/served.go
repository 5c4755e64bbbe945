package verify

import (
	"context"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// servers counts what the pools' model servers answer, beside what their pickers
// are asked for. It is nil when the split is not between pools, is counted by the
// model servers already, when they cannot be read, or when copies of a mirror reach
// them too: then one count must do.
type servers struct{ tally *evidence.Tally }

func (o *splitOptions) servers(ctx context.Context, clients *kube.Clients, pools []evidence.Pool, asked *evidence.Tally) *servers {
	options := o.Metrics.Options()
	if pools[0].Model != "" || !asked.ByPicker() || options.Prometheus != "" {
		return nil
	}
	options.Metrics = "vllm"
	tally := evidence.NewTally(clients, pools, options)
	if err := tally.Start(ctx); err != nil {
		tally.Close()
		return nil
	}
	return &servers{tally}
}

func (s *servers) close() {
	if s != nil {
		s.tally.Close()
	}
}

// fill takes the counts into the report, if they could be read.
func (s *servers) fill(ctx context.Context, report *splitReport) {
	if s == nil {
		return
	}
	counts, _, err := s.tally.Read(ctx)
	if err != nil {
		return
	}
	for i, c := range counts {
		served := c.Started
		report.Arms[i].Served = &served
	}
}
