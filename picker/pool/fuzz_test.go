package pool

import (
	"math"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// Whatever a model server writes, a load that is believed is a load that can be
// compared: finite, not negative, and bounded.
func FuzzPage(f *testing.F) {
	for _, page := range []string{
		idlePage, "", "\x00", "vllm:num_requests_running 1e308\nvllm:num_requests_running{a=\"b\"} 1e308\n",
		"vllm:num_requests_running NaN\nvllm:num_requests_waiting -Inf\n", "vllm:num_requests_running{} 1 2 3\n",
		"vllm:num_requests_running 1\nvllm:lora_requests_info{running_lora_adapters=\"a,b\",waiting_lora_adapters=\",,\",max_lora=\"-4\"} 1.7e9\n",
		"vllm:num_requests_running 1\nvllm:lora_requests_info{running_lora_adapters=\"" + strings.Repeat("x,", 4000) + "\",max_lora=\"99999999999999999999\"} 1\n",
		"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1 # EOF\n# EOF\n",
	} {
		f.Add(page, "")
		f.Add(page, "application/openmetrics-text; version=1.0.0")
	}
	source := vllm()
	source.Adapters = Series{Name: "vllm:lora_requests_info"}
	f.Fuzz(func(t *testing.T, text, contentType string) {
		page, err := scrape.Parse(strings.NewReader(text), contentType, source.families(), scrape.Limits{Bytes: 1 << 20, Lines: 1000, Series: 100})
		if err != nil {
			return
		}
		var load picker.Load
		if err := source.read(page, &load); err != nil {
			return
		}
		for _, v := range []float64{load.Running, load.Waiting, load.KVCache} {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Fatalf("believed %+v of %q", load, text)
			}
		}
		if len(load.ActiveAdapters) > maxModels || len(load.QueuedAdapters) > maxModels {
			t.Fatalf("%d and %d adapters", len(load.ActiveAdapters), len(load.QueuedAdapters))
		}
	})
}
