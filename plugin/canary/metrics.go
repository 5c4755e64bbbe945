package canary

import (
	"context"
	"fmt"
	"maps"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// metricsFlags say where the metrics are and how they are reached. They belong
// to this process and not to the plan, so a run can be resumed from elsewhere.
type metricsFlags struct {
	preset, via string
	prometheus  string
	pages       []string
	backends    map[string]string
}

func (f *metricsFlags) add(set *pflag.FlagSet) {
	set.StringVar(&f.preset, "metrics", evidence.AutoMetrics, "whose metrics are read: picker, llm-d, llm-d-old, gie-v1, gie-v0.5, vllm, envoy, or auto for the endpoint pickers, else the model servers")
	set.StringVar(&f.via, "metrics-via", string(evidence.Auto), "how pods' metrics are reached: direct, pod-proxy, port-forward, or auto for the first that works")
	set.StringVar(&f.prometheus, "prometheus", "", "take the same counters from the Prometheus at this address, such as http://127.0.0.1:9090 behind kubectl port-forward, instead of from the pods")
	set.StringArrayVar(&f.pages, "metrics-url", nil, "for --metrics envoy: a page of the gateway's statistics, such as http://ADDRESS:19001/stats/prometheus; repeatable, one an instance")
	set.StringToStringVar(&f.backends, "backend-names", nil, "for --metrics envoy: POOL=CLUSTER,POOL=CLUSTER, when the clusters' names do not hold namespace and pool")
}

func (f *metricsFlags) check() error {
	if err := checkChoice("--metrics", f.preset, append([]string{evidence.AutoMetrics}, evidence.Presets()...)...); err != nil {
		return err
	}
	var ways []string
	for _, way := range evidence.Ways() {
		ways = append(ways, string(way))
	}
	return checkChoice("--metrics-via", f.via, ways...)
}

func (f *metricsFlags) options() evidence.Options {
	return evidence.Options{Metrics: f.preset, Via: evidence.Via(f.via), Pages: f.pages, Prometheus: f.prometheus, Backends: maps.Clone(f.backends)}
}

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
