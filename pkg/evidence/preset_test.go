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
