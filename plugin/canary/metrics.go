package canary

import (
	"maps"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
)

// metricsFlags say where the metrics are and how they are reached. They belong
// to this process and not to the plan, so a run can be resumed from elsewhere.
type metricsFlags struct {
	preset, via string
	pages       []string
	backends    map[string]string
}

func (f *metricsFlags) add(set *pflag.FlagSet) {
	set.StringVar(&f.preset, "metrics", evidence.AutoMetrics, "whose metrics are read: picker, llm-d, llm-d-old, gie-v1, gie-v0.5, vllm, envoy, or auto for the endpoint pickers, else the model servers")
	set.StringVar(&f.via, "metrics-via", string(evidence.Auto), "how pods' metrics are reached: direct, pod-proxy, port-forward, or auto for the first that works")
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
	return evidence.Options{Metrics: f.preset, Via: evidence.Via(f.via), Pages: f.pages, Backends: maps.Clone(f.backends)}
}
