package evidence

import (
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

const llmdPage = `# TYPE llm_d_epp_request_total counter
llm_d_epp_request_total{model_name="m",target_model_name="m",priority="0"} 10
# TYPE inference_objective_request_total counter
inference_objective_request_total{model_name="m",target_model_name="m"} 10
# TYPE llm_d_epp_request_error_total counter
llm_d_epp_request_error_total{model_name="m",target_model_name="m",error_code="Internal"} 2
# TYPE llm_d_epp_request_running gauge
llm_d_epp_request_running{model_name="m"} 3
# TYPE llm_d_epp_request_ttft_seconds histogram
llm_d_epp_request_ttft_seconds_bucket{model_name="m",streaming="true",le="0.4"} 4
llm_d_epp_request_ttft_seconds_bucket{model_name="m",streaming="true",le="0.8"} 5
llm_d_epp_request_ttft_seconds_bucket{model_name="m",streaming="true",le="+Inf"} 7
llm_d_epp_request_ttft_seconds_sum{model_name="m",streaming="true"} 5
llm_d_epp_request_ttft_seconds_count{model_name="m",streaming="true"} 7
# TYPE llm_d_epp_request_duration_seconds histogram
llm_d_epp_request_duration_seconds_bucket{model_name="m",le="1"} 6
llm_d_epp_request_duration_seconds_bucket{model_name="m",le="+Inf"} 8
llm_d_epp_request_duration_seconds_sum{model_name="m"} 9
llm_d_epp_request_duration_seconds_count{model_name="m"} 8
`

func read(t *testing.T, p preset, page *scrape.Page, gauges ...gauge) []float64 {
	t.Helper()
	values, err := p.reading(page, nil, gauges)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func parsed(t *testing.T, text string) *scrape.Page {
	t.Helper()
	page, err := scrape.Parse(strings.NewReader(text), "text/plain; version=0.0.4", families(), scrape.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestWhichPickerWroteThePages(t *testing.T) {
	t.Parallel()
	v1 := "# TYPE inference_objective_request_total counter\ninference_objective_request_total{model_name=\"m\"} 4\n"
	v05 := "# TYPE inference_model_running_requests gauge\ninference_model_running_requests{model_name=\"m\"} 0\n"
	ours := "# TYPE infer_picker_ready_endpoints gauge\ninfer_picker_ready_endpoints 2\n"
	tests := map[string]struct {
		pages []string
		want  string
	}{
		"ours, before the first request":                       {[]string{ours, ours}, "kubectl-infer endpoint-picker"},
		"llm-d's, though it still exports the older names":     {[]string{llmdPage}, "llm-d router"},
		"the inference extension's, since v1.0":                {[]string{v1}, "inference extension v1.1 to v1.5"},
		"the inference extension's v0.5, before any request":   {[]string{v05}, "inference extension v0.5 and v1.0"},
		"an unknown one is refused":                            {[]string{"# TYPE up gauge\nup 1\n"}, ""},
		"two different ones are refused, as they count unlike": {[]string{ours, v1}, ""},
		"no page at all is refused":                            {nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pages []*scrape.Page
			for _, text := range tt.pages {
				pages = append(pages, parsed(t, text))
			}
			got, err := detect(pages, presets())
			if got.title != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got %q, %v; want %q", got.title, err, tt.want)
			}
		})
	}
}

func TestAReferencePickersPageIsReadByItsNames(t *testing.T) {
	t.Parallel()
	page := parsed(t, llmdPage)
	p, err := detect([]*scrape.Page{page}, presets())
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.gauge([]*scrape.Page{page}, gate.TTFT)
	if err != nil {
		t.Fatal(err)
	}
	w := split(read(t, p, page, g), []gauge{g})
	if w.started != 10 || w.errors != 2 || w.progress != 8 {
		t.Errorf("window %+v", w)
	}
	if got, want := w.buckets[0], []uint64{4, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("ttft buckets %d, want %d", got, want)
	}
	if got, want := split(read(t, p, page, gauge{}), []gauge{{}}).buckets[0], []uint64{8, 2}; !slices.Equal(got, want) {
		t.Errorf("good and bad %d, want %d", got, want)
	}
	if _, err := p.gauge([]*scrape.Page{page}, gate.TPOT); err == nil {
		t.Error("a histogram that is not on the page has edges")
	}
}

// TestTheInferenceExtensionsPageHasTheNamesItsProgramWrites holds the preset
// against the names and labels of cmd/epp v1.5.0 after three requests (see
// docs/evidence.md): running requests have no target model, and the latencies of
// tokens are not there without the latency predictor.
func TestTheInferenceExtensionsPageHasTheNamesItsProgramWrites(t *testing.T) {
	t.Parallel()
	both := `model_name="m",target_model_name="m"`
	page := parsed(t, "# TYPE inference_objective_request_total counter\n"+
		"inference_objective_request_total{"+both+`,priority="0"} 3`+"\n"+
		"# TYPE inference_objective_running_requests gauge\n"+`inference_objective_running_requests{model_name="m"} 2`+"\n"+
		"# TYPE inference_objective_input_tokens histogram\n"+
		"inference_objective_input_tokens_sum{"+both+"} 21\ninference_objective_input_tokens_count{"+both+"} 3\n"+
		"# TYPE inference_objective_output_tokens histogram\n"+
		"inference_objective_output_tokens_sum{"+both+"} 9\ninference_objective_output_tokens_count{"+both+"} 3\n"+
		"# TYPE inference_objective_request_duration_seconds histogram\n"+
		"inference_objective_request_duration_seconds_bucket{"+both+`,le="0.1"} 2`+"\n"+
		"inference_objective_request_duration_seconds_bucket{"+both+`,le="+Inf"} 3`+"\n"+
		"inference_objective_request_duration_seconds_sum{"+both+"} 1\ninference_objective_request_duration_seconds_count{"+both+"} 3\n")
	p, err := detect([]*scrape.Page{page}, presets())
	if err != nil || p.key != "gie-v1" {
		t.Fatal(p.key, err)
	}
	e2e, err := p.gauge([]*scrape.Page{page}, gate.E2E)
	if err != nil {
		t.Fatal(err)
	}
	w := split(read(t, p, page, gauge{}, e2e), []gauge{{}, e2e})
	if w.started != 3 || w.errors != 0 || w.promptTokens != 21 || w.answerTokens != 9 || w.answers != 3 || w.progress != 3 {
		t.Errorf("window %+v", w)
	}
	if !slices.Equal(w.buckets[1], []uint64{2, 1}) {
		t.Errorf("duration buckets %d", w.buckets[1])
	}
	if running, _ := page.Sum(p.running[0], nil); running != 2 {
		t.Errorf("%v running", running)
	}
	for _, metric := range []gate.Metric{gate.TTFT, gate.TPOT} {
		if _, err := p.gauge([]*scrape.Page{page}, metric); err == nil {
			t.Errorf("a gate on %s is fed by a page that does not have it", metric)
		}
	}
}
