package server

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/picker/score"
)

// The configuration files that the reference's charts write unless told otherwise.
const (
	chartConfigV10 = `apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
  - pluginRef: kv-cache-utilization-scorer
  - pluginRef: prefix-cache-scorer
`
	chartConfigV15 = `apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: metrics-data-source
  parameters:
    scheme: "http"
    path: "/metrics"
    insecureSkipVerify: true
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
`
	chartConfigPredicted = `apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: predicted-latency-producer
- name: strict-affinity-filter
  type: prefix-cache-affinity-filter
  parameters:
    affinityThreshold: 0.99
- type: latency-scorer
- type: weighted-random-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: predicted-latency-producer
  - pluginRef: strict-affinity-filter
  - pluginRef: latency-scorer
  - pluginRef: weighted-random-picker
`
)

// chart is what a version's chart renders, and what we make of it.
type chart struct {
	config      string
	args        [][]string
	meaningless []string
	unused      []string
	weights     score.Weights
	queue       string // name of the queue's metric
}

// The command line of every chart, and the scorers that most configure.
func chartStart() []string  { return []string{"--pool-name", "p", "--pool-namespace", "ns"} }
func chartConfig() []string { return []string{"--zap-encoder", "json", "--config-file", "CONFIG"} }
func usualWeights() score.Weights {
	return score.Weights{"requests": 1, "queue": 1, "kv-cache": 1, "lora": 1, "prefix": 1}
}

// charts of the reference, v1.0 to v1.5: the arguments in their order, and the
// file that comes with them as CONFIG. Source: config/charts of each version's
// module.
func charts() map[string]chart {
	v10 := score.Weights{"requests": 1, "queue": 1.125, "kv-cache": 1.125, "lora": 1, "prefix": 0.75}
	triton := []string{
		"--total-queued-requests-metric", "nv_trt_llm_request_metrics{request_type=waiting}",
		"--kv-cache-usage-percentage-metric", "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}", "--lora-info-metric", "",
	}
	found := map[string]chart{
		"v1.0": {
			chartConfigV10,
			[][]string{chartStart(), chartConfig(), {"--v", "1"}},
			[]string{"--zap-encoder"},
			nil, v10, "vllm:num_requests_waiting",
		},
		"v1.0, Triton": {
			chartConfigV10,
			[][]string{chartStart(), chartConfig(), {"--v", "1"}, triton},
			[]string{"--zap-encoder"},
			nil, v10, "nv_trt_llm_request_metrics",
		},
		"v1.1, a pool of v1alpha2, two replicas": {
			chartConfigV15,
			[][]string{chartStart(), {"--pool-group", "inference.networking.x-k8s.io"}, chartConfig(), {"--ha-enable-leader-election", "--v", "1", "--tracing", "false", "--metrics-endpoint-auth=false"}},
			[]string{"--ha-enable-leader-election", "--metrics-endpoint-auth", "--tracing", "--zap-encoder"},
			nil, usualWeights(), "vllm:num_requests_waiting",
		},
		"v1.2": {
			chartConfigV15,
			[][]string{chartStart(), chartConfig(), {"--v", "1", "--tracing=false", "--metrics-endpoint-auth=false"}},
			[]string{"--metrics-endpoint-auth", "--tracing", "--zap-encoder"},
			nil, usualWeights(), "vllm:num_requests_waiting",
		},
		"v1.3, flags of one's own": {
			chartConfigV15,
			[][]string{chartStart(), chartConfig(), {"--v", "4", "--refresh-metrics-interval", "50ms", "--metrics-staleness-threshold", "2s", "--enable-pprof", "false", "--tracing=true"}},
			[]string{"--enable-pprof", "--tracing", "--zap-encoder"},
			nil, usualWeights(), "vllm:num_requests_waiting",
		},
		"v1.4, SGLang, with the chart's quotes": {
			chartConfigV15,
			[][]string{chartStart(), {`--total-queued-requests-metric="sglang:num_queue_reqs"`, `--kv-cache-usage-percentage-metric="sglang:token_usage"`}, chartConfig(), {"--tracing=false"}},
			[]string{"--tracing", "--zap-encoder"},
			nil, usualWeights(), "sglang:num_queue_reqs",
		},
	}
	maps.Copy(found, laterCharts())
	return found
}

func laterCharts() map[string]chart {
	return map[string]chart{
		"v1.4, standalone": {
			chartConfigV15,
			[][]string{{"--endpoint-selector", "app=vllm", "--endpoint-target-ports", "8000,8001"}, chartConfig(), {"--tracing=false"}},
			[]string{"--tracing", "--zap-encoder"},
			nil, usualWeights(), "vllm:num_requests_waiting",
		},
		"v1.5": {
			chartConfigV15,
			[][]string{chartStart(), {"--pool-group", "inference.networking.k8s.io"}, chartConfig(), {"--v", "1", "--tracing=false"}},
			[]string{"--tracing", "--zap-encoder"},
			nil, usualWeights(), "vllm:num_requests_waiting",
		},
		"v1.5, TensorRT-LLM, with the chart's quotes": {
			chartConfigV15,
			[][]string{chartStart(), {
				`--total-queued-requests-metric="trtllm_num_requests_waiting"`, `--total-running-requests-metric="trtllm_num_requests_running"`,
				`--kv-cache-usage-percentage-metric="trtllm_kv_cache_utilization"`, `--cache-info-metric="trtllm_cache_config_info"`,
				`--model-server-metrics-path="/prometheus/metrics"`, "--lora-info-metric", "",
			}, chartConfig(), {"--tracing=false"}},
			[]string{"--cache-info-metric", "--tracing", "--zap-encoder"},
			nil, usualWeights(), "trtllm_num_requests_waiting",
		},
		"v1.5, predicted latency: what is not here is named": {
			chartConfigPredicted,
			[][]string{chartStart(), chartConfig(), {"--tracing=false"}},
			[]string{"--tracing", "--zap-encoder"},
			[]string{"latency-scorer", "predicted-latency-producer", "prefix-cache-affinity-filter"},
			score.Weights{"requests": 1, "queue": 0, "kv-cache": 0, "lora": 1, "prefix": 0},
			"vllm:num_requests_waiting",
		},
	}
}

func TestArgumentsOfTheReferenceAreAccepted(t *testing.T) {
	t.Parallel()
	for rule, tc := range charts() {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "plugins.yaml")
			if err := os.WriteFile(path, []byte(tc.config), 0o600); err != nil {
				t.Fatal(err)
			}
			args := slices.Concat(tc.args...)
			args[slices.Index(args, "CONFIG")] = path
			o, err := parse(args, &bytes.Buffer{}, env())
			if err != nil {
				t.Fatal(err)
			}
			if got := o.command.Meaningless(); !slices.Equal(got, tc.meaningless) {
				t.Errorf("said to be without effect: %q", got)
			}
			if !slices.Equal(o.unused, tc.unused) || !maps.Equal(o.weights, tc.weights) {
				t.Errorf("unused %q, weights %v", o.unused, o.weights)
			}
			if o.source.Waiting.Name != tc.queue {
				t.Errorf("queue read from %q", o.source.Waiting.Name)
			}
			if rule == "v1.5, TensorRT-LLM, with the chart's quotes" && o.source.Path != "/prometheus/metrics" {
				t.Errorf("path %s", o.source.Path)
			}
		})
	}
}

func TestASelectorStandsForAPool(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--endpoint-selector=app=vllm,tier=gpu", "--endpoint-target-ports=8000,8001"}, &bytes.Buffer{}, env())
	if err != nil {
		t.Fatal(err)
	}
	if got := o.fixed; len(got.Selector.MatchLabels) != 2 || got.Selector.MatchLabels["tier"] != "gpu" || len(got.TargetPorts) != 2 || got.TargetPorts[1].Number != 8001 {
		t.Errorf("got %+v", got)
	}
}

func TestFlagsThatAreSetCountMoreThanTheFile(t *testing.T) {
	t.Parallel()
	text := chartConfigV15 + "saturationDetector: {queueDepthThreshold: 9, kvCacheUtilThreshold: 0.9}\n"
	o, err := parse([]string{"--pool-name=p", "--config-text", text, "--shed-queue-threshold=5", "--scorer-weights=prefix=0,queue=2"}, &bytes.Buffer{}, env())
	if err != nil {
		t.Fatal(err)
	}
	if o.shedQueue != 5 || o.shedKVCache != 0.9 || o.weights["prefix"] != 0 || o.weights["queue"] != 2 || o.weights["kv-cache"] != 1 {
		t.Errorf("%v %v %v", o.shedQueue, o.shedKVCache, o.weights)
	}
}
