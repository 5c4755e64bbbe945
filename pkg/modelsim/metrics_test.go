package modelsim

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// page is the metrics page without comments.
func page(ts *testServer) string {
	var lines []string
	for line := range strings.Lines(ts.do("GET", "/metrics", "").Body.String()) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestMetricsAreVLLMs(t *testing.T) {
	change := func(c *Config) { c.EnableLoRA, c.Adapters = true, []Adapter{{Name: "travel"}} }
	inBubble(t, change, func(t *testing.T, ts *testServer) {
		ts.do("POST", "/v1/completions", `{"prompt":"12345678","max_tokens":11,"ignore_eos":true}`)
		ts.do("POST", "/v1/completions", `{"model":"nope","prompt":"x"}`)
		ts.do("GET", "/v1/other", "")
		got := page(ts)
		const labels = `engine="0",model_name="qwen"`
		for _, want := range []string{
			`vllm:num_requests_running{` + labels + `} 0`,
			`vllm:num_requests_waiting{` + labels + `} 0`,
			`vllm:kv_cache_usage_perc{` + labels + `} 0`,
			`vllm:cache_config_info{block_size="16",enable_prefix_caching="True",engine="0",num_gpu_blocks="8192"} 1`,
			`vllm:request_success_total{engine="0",finished_reason="length",model_name="qwen"} 1`,
			`vllm:request_success_total{engine="0",finished_reason="stop",model_name="qwen"} 0`,
			`vllm:prompt_tokens_total{` + labels + `} 2`,
			`vllm:generation_tokens_total{` + labels + `} 11`,
			`vllm:time_to_first_token_seconds_bucket{` + labels + `,le="0.06"} 1`,
			`vllm:time_to_first_token_seconds_bucket{` + labels + `,le="0.04"} 0`,
			`vllm:request_time_per_output_token_seconds_bucket{` + labels + `,le="0.01"} 1`,
			`vllm:e2e_request_latency_seconds_count{` + labels + `} 1`,
			`http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 1`,
			`http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 1`,
			`http_requests_total{handler="none",method="GET",status="4xx"} 1`,
		} {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("the page lacks %s", want)
			}
		}
		if !regexp.MustCompile(`vllm:lora_requests_info\{max_lora="1",running_lora_adapters="",waiting_lora_adapters=""\} \d`).MatchString(got) {
			t.Error("the page lacks the LoRA series")
		}
		if t.Failed() {
			t.Log(got)
		}
	})
}

func TestHistogramEdgesAreVLLMs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, ts *testServer) {
		got := page(ts)
		for name, edges := range map[string]string{
			"time_to_first_token_seconds":           "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560 +Inf",
			"request_time_per_output_token_seconds": "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80 +Inf",
			"e2e_request_latency_seconds":           "0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680 +Inf",
		} {
			var found []string
			for _, m := range regexp.MustCompile(`vllm:`+name+`_bucket\{.*le="([^"]+)"`).FindAllStringSubmatch(got, -1) {
				found = append(found, m[1])
			}
			if strings.Join(found, " ") != edges {
				t.Errorf("%s has the edges %v", name, found)
			}
		}
	})
}

func TestGaugesShowWhatRuns(t *testing.T) {
	change := func(c *Config) {
		c.EnableLoRA, c.Adapters, c.Faults.Hang = true, []Adapter{{Name: "a"}, {Name: "b"}}, true
	}
	inBubble(t, change, func(t *testing.T, ts *testServer) {
		for _, name := range []string{"a", "b", "a"} {
			job := Job{Adapter: name, PromptTokens: 16 * 819, OutputTokens: 1}
			if _, _, err := ts.loop.submit(job); err != nil {
				t.Fatal(err)
			}
		}
		got := page(ts)
		for _, want := range []string{
			`vllm:num_requests_running{engine="0",model_name="qwen"} 2`,
			`vllm:num_requests_waiting{engine="0",model_name="qwen"} 1`,
			fmt.Sprintf(`vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} %v`, 2*819./8192),
			`vllm:lora_requests_info{max_lora="1",running_lora_adapters="a",waiting_lora_adapters="b"}`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("the page lacks %s:\n%s", want, got)
			}
		}
	})
}
