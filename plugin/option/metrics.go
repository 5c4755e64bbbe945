package option

import (
	"maps"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
)

// Metrics are flags that say where the metrics are and how they are reached.
// They belong to this process and not to the plan of a rollout, so that a run can
// be resumed from elsewhere.
type Metrics struct {
	preset, via string
	prometheus  string
	pages       []string
	backends    map[string]string
}

// Add defines the flags.
func (f *Metrics) Add(set *pflag.FlagSet) {
	set.StringVar(&f.preset, "metrics", evidence.AutoMetrics, "whose metrics are read: picker, llm-d, llm-d-old, gie-v1, gie-v0.5, vllm, envoy, or auto for the endpoint pickers, else the model servers")
	set.StringVar(&f.via, "metrics-via", string(evidence.Auto), "how pods' metrics are reached: direct, pod-proxy, port-forward, or auto for the first that works")
	set.StringVar(&f.prometheus, "prometheus", "", "take the same counters from the Prometheus at this address, such as http://127.0.0.1:9090 behind kubectl port-forward, instead of from the pods")
	set.StringArrayVar(&f.pages, "metrics-url", nil, "for --metrics envoy: a page of the gateway's statistics, such as http://ADDRESS:19001/stats/prometheus; repeatable, one an instance")
	set.StringToStringVar(&f.backends, "backend-names", nil, "for --metrics envoy: POOL=CLUSTER,POOL=CLUSTER, when the clusters' names do not hold namespace and pool")
}

// Check refuses values that there are not.
func (f *Metrics) Check() error {
	if err := Choice("--metrics", f.preset, append([]string{evidence.AutoMetrics}, evidence.Presets()...)...); err != nil {
		return err
	}
	var ways []string
	for _, way := range evidence.Ways() {
		ways = append(ways, string(way))
	}
	return Choice("--metrics-via", f.via, ways...)
}

// Options are what was typed, for package evidence.
func (f *Metrics) Options() evidence.Options {
	return evidence.Options{Metrics: f.preset, Via: evidence.Via(f.via), Pages: f.pages, Prometheus: f.prometheus, Backends: maps.Clone(f.backends)}
}
