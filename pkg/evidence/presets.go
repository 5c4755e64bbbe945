package evidence

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// presets are the programs we can read, in the order they are looked for.
// Names are those of their sources: inference extension v0.5.1 to v1.5.0
// (pkg/epp/metrics), llm-d-router v0.9, vLLM's v1 loggers, and Envoy's cluster
// statistics.
func presets() []preset {
	return []preset{
		ours(),
		reference("llm-d", llmdRules(), "llm-d router", "llm_d_epp_", "request_running", "request_input_tokens", "request_output_tokens", map[gate.Metric]histogram{
			gate.TTFT: {family: "llm_d_epp_request_ttft_seconds", match: match{"streaming": "true"}},
			gate.TPOT: {family: "llm_d_epp_request_streaming_tpot_seconds"},
			gate.E2E:  {family: "llm_d_epp_request_duration_seconds"},
		}),
		reference("llm-d-old", llmdRules(), "llm-d router before v0.9", "llm_d_router_epp_", "running_requests", "input_tokens", "output_tokens", predicted("llm_d_router_epp_")),
		reference("gie-v1", rulesOf(kube.ModelRewrites()), "inference extension v1.1 to v1.5", "inference_objective_", "running_requests", "input_tokens", "output_tokens", predicted("inference_objective_")),
		reference("gie-v0.5", rulesOf(kube.InferenceModels()), "inference extension v0.5 and v1.0", "inference_model_", "running_requests", "input_tokens", "output_tokens", map[gate.Metric]histogram{
			gate.E2E: {family: "inference_model_request_duration_seconds"},
		}),
		vllm(),
		envoy(),
	}
}

func rulesOf(resources ...schema.GroupVersionResource) []schema.GroupResource {
	var list []schema.GroupResource
	for _, r := range resources {
		list = append(list, r.GroupResource())
	}
	return list
}

// llmdRules are what an llm-d router follows: its own group, or the older one
// where the cluster does not serve its own, which Heeds looks at.
func llmdRules() []schema.GroupResource {
	return rulesOf(kube.LLMDModelRewrites(), kube.ModelRewrites())
}

// predicted are the histograms of a picker that fills the latencies of tokens
// only with its latency predictor switched on.
func predicted(prefix string) map[gate.Metric]histogram {
	return map[gate.Metric]histogram{
		gate.TTFT: {family: prefix + "request_ttft_seconds"},
		gate.TPOT: {family: prefix + "request_tpot_seconds"},
		gate.E2E:  {family: prefix + "request_duration_seconds"},
	}
}

func ours() preset {
	const finished = "infer_picker_requests_finished_total"
	return preset{
		key: "picker", title: "kubectl-infer endpoint-picker", at: atPickers,
		marks:    []string{"infer_picker_requests_started_total", "infer_picker_ready_endpoints", "infer_picker_requests_running"},
		model:    "target_model",
		progress: "infer_picker_response_messages_total", running: []string{"infer_picker_requests_running"},
		families: []string{finished}, astray: "infer_picker_served_mismatch_total", overdue: "infer_picker_requests_unanswered",
		overflows: "infer_picker_breaker_overflows_total", rules: "infer_picker_target_unloaded", serving: "infer_picker_model_endpoints",
		count: func(page *scrape.Page, of match) (started, all, bad float64) {
			started, _ = page.Sum("infer_picker_requests_started_total", of)
			all, _ = page.Sum(finished, of)
			return started, all, sumWhere(page, finished, "code", of, serverError)
		},
		unseen: "what fails before a picker is asked",
		histograms: map[gate.Metric]histogram{
			gate.TTFT: {family: "infer_picker_ttft_seconds", match: match{"streaming": "true"}},
			gate.TPOT: {family: "infer_picker_tpot_seconds", match: match{"streaming": "true"}},
			gate.E2E:  {family: "infer_picker_request_duration_seconds"},
		},
		prompts: "infer_picker_prompt_tokens", answers: "infer_picker_output_tokens",
		edges: edges.Latency,
	}
}

// serverError says which codes are errors: 5xx, and "none" for a request whose
// stream ended before any answer came (a reset, a timeout, or a client that went
// away).
func serverError(code string) bool {
	return code == "none" || len(code) == 3 && strings.HasPrefix(code, "5")
}

// reference is the shape that the inference extension's picker and its
// descendants share. Requests are counted as finished when they begin, because
// nothing counts their ends alike in every version: a window's errors are then
// held against the requests begun in it. Refused bad requests are no errors.
func reference(key string, heeds []schema.GroupResource, title, prefix, running, prompts, answers string, histograms map[gate.Metric]histogram) preset {
	total, failed := prefix+"request_total", prefix+"request_error_total"
	return preset{
		key: key, title: title, at: atPickers, heeds: heeds,
		marks:    []string{total, prefix + running, prefix + "ready_endpoints"},
		model:    "target_model_name",
		progress: prefix + "request_duration_seconds_count", running: []string{prefix + running},
		families: []string{failed, prefix + "request_duration_seconds"},
		count: func(page *scrape.Page, of match) (started, finished, bad float64) {
			n, _ := page.Sum(total, of)
			return n, n, sumWhere(page, failed, "error_code", of, func(code string) bool { return code != "BadRequest" })
		},
		unseen:     "what fails before a picker is asked; a model server's 4xx counts as an error",
		histograms: histograms, prompts: prefix + prompts, answers: prefix + answers,
	}
}

// vllm are the model servers themselves. Their HTTP counters have no model, so
// adapters look alike.
func vllm() preset {
	const requests, success = "http_requests_total", "vllm:request_success_total"
	return preset{
		key: "vllm", title: "vLLM model servers", at: atServers,
		marks:    []string{"vllm:num_requests_running", success},
		model:    "model_name",
		progress: "vllm:generation_tokens_total", running: []string{"vllm:num_requests_running", "vllm:num_requests_waiting"},
		families: []string{requests, success, "vllm:time_to_first_token_seconds"}, counted: requests,
		count: func(page *scrape.Page, of match) (started, finished, bad float64) {
			started, _ = page.Sum("vllm:time_to_first_token_seconds_count", of)
			for _, handler := range page.Values(requests, "handler") {
				if !inference(handler) {
					continue
				}
				n, _ := page.Sum(requests, match{"handler": handler, "method": "POST"})
				failed, _ := page.Sum(requests, match{"handler": handler, "method": "POST", "status": "5xx"})
				finished, bad = finished+n, bad+failed
			}
			return started, finished, bad
		},
		unseen: "what never reaches a model server or breaks off inside an answer: refused connections, dead pods, the gateway's timeouts, 503s of gateway and picker",
		histograms: map[gate.Metric]histogram{
			gate.TTFT: {family: "vllm:time_to_first_token_seconds"},
			gate.TPOT: {
				family: "vllm:request_time_per_output_token_seconds", instead: "vllm:time_per_output_token_seconds",
				because: "it counts every token, and the tokens of one request are not independent",
			},
			gate.E2E: {family: "vllm:e2e_request_latency_seconds"},
		},
		prompts: "vllm:request_prompt_tokens", answers: "vllm:request_generation_tokens",
	}
}

// inference tells the handlers that run a model from those that list or load
// one.
func inference(handler string) bool {
	return strings.HasPrefix(handler, "/v1/") && handler != "/v1/models" && !strings.Contains(handler, "lora_adapter")
}

// envoy are a gateway's statistics by upstream cluster. Envoy charges its own
// resets, timeouts and breaker overflow to the cluster as 5xx; requests sent
// again count again.
func envoy() preset {
	const classes = "envoy_cluster_upstream_rq_xx"
	return preset{
		key: "envoy", title: "Envoy clusters", at: atGateway,
		marks:    []string{"envoy_cluster_upstream_rq_total"},
		backend:  "envoy_cluster_name",
		progress: "envoy_cluster_upstream_cx_rx_bytes_total", running: []string{"envoy_cluster_upstream_rq_active"},
		families: []string{classes}, overflows: "envoy_cluster_upstream_rq_pending_overflow",
		count: func(page *scrape.Page, of match) (started, finished, bad float64) {
			started, _ = page.Sum("envoy_cluster_upstream_rq_total", of)
			finished, _ = page.Sum(classes, of)
			bad, _ = page.Sum(classes, of.and(match{"envoy_response_code_class": "5"}))
			return started, finished, bad
		},
		unseen: "answers that break off after their headers",
		histograms: map[gate.Metric]histogram{
			gate.E2E: {family: "envoy_cluster_upstream_rq_time", unit: 1e-3},
		},
	}
}

// sumWhere adds up the samples whose label has a value that counts.
func sumWhere(page *scrape.Page, family, label string, of match, counts func(string) bool) float64 {
	sum := 0.0
	for _, value := range page.Values(family, label) {
		if counts(value) {
			n, _ := page.Sum(family, of.and(match{label: value}))
			sum += n
		}
	}
	return sum
}

// choose are the presets that a name allows, "auto" or "" all of those at a
// pool's own pods.
func choose(key string) []preset {
	return slices.DeleteFunc(presets(), func(p preset) bool {
		if key == "" || key == AutoMetrics {
			return p.at == atGateway
		}
		return p.key != key
	})
}

// AutoMetrics looks at the endpoint pickers first, then at the model servers.
const AutoMetrics = "auto"
