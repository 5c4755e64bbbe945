package modelsim

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
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

// metricRow is a row of the table in docs/simulator.md: labels and edges as
// they stand there, sorted and separated by spaces.
type metricRow struct{ kind, labels, edges string }

// table reads the rows of docs/simulator.md that begin with a metric's name,
// and resolves the names of edges by the table below it.
func table(t *testing.T) map[string]metricRow {
	t.Helper()
	text, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, edges := map[string]metricRow{}, map[string]string{"": ""}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i, c := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(c), "`")
		}
		switch {
		case len(cells) == 5 && (strings.HasPrefix(cells[0], "vllm:") || strings.HasPrefix(cells[0], "http_")):
			rows[cells[0]] = metricRow{cells[1], cells[2], cells[3]}
		case len(cells) == 2:
			edges[cells[0]] = cells[1]
		}
	}
	for name, row := range rows {
		named, ok := edges[row.edges]
		if !ok {
			t.Errorf("%s: edges %q are in no table", name, row.edges)
		}
		row.edges = named
		rows[name] = row
	}
	return rows
}

// TestMetricsFollowTheTable holds the page against docs/simulator.md, which
// holds vLLM's names, types, labels and edges, and the other way round.
func TestMetricsFollowTheTable(t *testing.T) {
	change := func(c *Config) { c.EnableLoRA, c.Adapters, c.MaxModelLen = true, []Adapter{{Name: "travel"}}, 4096 }
	inBubble(t, change, func(t *testing.T, ts *testServer) {
		ts.do("POST", "/v1/completions", `{"prompt":"x","max_tokens":3}`)
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(ts.do("GET", "/metrics", "").Body)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]metricRow{}
		for name, family := range families {
			var labels, edges []string
			for _, l := range family.Metric[0].Label {
				labels = append(labels, l.GetName())
			}
			for _, b := range family.Metric[0].GetHistogram().GetBucket() {
				if !math.IsInf(b.GetUpperBound(), 1) {
					edges = append(edges, strconv.FormatFloat(b.GetUpperBound(), 'f', -1, 64))
				}
			}
			slices.Sort(labels)
			got[name] = metricRow{strings.ToLower(family.GetType().String()), strings.Join(labels, " "), strings.Join(edges, " ")}
		}
		if diff := cmp.Diff(table(t), got, cmp.AllowUnexported(metricRow{})); diff != "" {
			t.Errorf("docs/simulator.md and the page differ (-table +page):\n%s", diff)
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
			if _, _, err := ts.loop.submit([]Job{job}); err != nil {
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
