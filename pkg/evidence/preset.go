package evidence

import (
	"strings"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/edges"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// preset says which series of a picker's page mean what. All sums are over the
// whole page: a picker serves one pool.
type preset struct {
	// name is said in preflight; prefix is what its families begin with, and
	// tells one picker from another.
	name, prefix string
	started      string // counter of requests begun
	finished     string // counter, or histogram's _count, of requests ended well or badly
	progress     string // counter that grows while answers are running; "" if there is none
	running      string // gauge of requests begun and not ended
	errors       func(page *scrape.Page) float64
	histograms   map[gate.Metric]histogram
	// edges are the bucket edges before anything was counted; nil if not known.
	edges func() []float64
}

// histogram is where a latency is read: time to first token is meant for
// streaming answers only, for the others it is the whole duration.
type histogram struct {
	family string
	match  map[string]string
}

// bornFamily tells two processes in one pod apart.
const bornFamily = "process_start_time_seconds"

// noAnswer is the code of a request whose stream ended before any answer came:
// a reset, a timeout, or a client that went away.
const noAnswer = "none"

// presets are the pickers we can read, in the order they are looked for. The
// names of llm-d's and the inference extension's series are those of their
// documentation: llm-d-router since v0.9 (llm_d_epp_), inference extension v1.0
// to v1.5 (inference_objective_) and v0.5 (inference_model_). Theirs count an
// answer with an error status once in request_error_total.
func presets() []preset {
	return []preset{
		{
			name: "kubectl-infer endpoint-picker", prefix: "infer_picker_",
			started: "infer_picker_requests_started_total", finished: "infer_picker_requests_finished_total",
			progress: "infer_picker_response_messages_total", running: "infer_picker_requests_running",
			errors: codeErrors("infer_picker_requests_finished_total"),
			histograms: map[gate.Metric]histogram{
				gate.TTFT: {"infer_picker_ttft_seconds", map[string]string{"streaming": "true"}},
				gate.TPOT: {"infer_picker_tpot_seconds", nil},
				gate.E2E:  {"infer_picker_request_duration_seconds", nil},
			},
			edges: edges.Latency,
		},
		reference("llm-d router", "llm_d_epp_", "llm_d_epp_request_running", map[gate.Metric]histogram{
			gate.TTFT: {"llm_d_epp_request_ttft_seconds", map[string]string{"streaming": "true"}},
			gate.TPOT: {"llm_d_epp_request_streaming_tpot_seconds", nil},
			gate.E2E:  {"llm_d_epp_request_duration_seconds", nil},
		}),
		reference("inference extension v1", "inference_objective_", "inference_objective_running_requests", map[gate.Metric]histogram{
			gate.E2E: {"inference_objective_request_duration_seconds", nil},
		}),
		reference("inference extension v0.5", "inference_model_", "inference_model_running_requests", map[gate.Metric]histogram{
			gate.E2E: {"inference_model_request_duration_seconds", nil},
		}),
	}
}

// reference is the shape that the inference extension's picker and its
// descendants share. Requests are counted as finished when they begin, because
// nothing counts their ends alike in every version: a window's errors are then
// held against the requests begun in it.
func reference(name, prefix, running string, histograms map[gate.Metric]histogram) preset {
	return preset{
		name: name, prefix: prefix, started: prefix + "request_total", finished: prefix + "request_total",
		progress: prefix + "request_duration_seconds_count", running: running,
		errors: func(page *scrape.Page) float64 {
			n, _ := page.Sum(prefix+"request_error_total", nil)
			return n
		},
		histograms: histograms,
	}
}

// codeErrors sums the 5xx and the unanswered of a counter with a code label.
func codeErrors(family string) func(*scrape.Page) float64 {
	return func(page *scrape.Page) float64 {
		bad := 0.0
		for _, code := range page.Values(family, "code") {
			if code == noAnswer || (len(code) == 3 && strings.HasPrefix(code, "5")) {
				n, _ := page.Sum(family, map[string]string{"code": code})
				bad += n
			}
		}
		return bad
	}
}

// families are what a page is parsed for: of every preset, since which one it
// is is only known from a page.
func families() []string {
	list := []string{bornFamily}
	for _, p := range presets() {
		list = append(list, p.started, p.prefix+"request_error_total", p.running, p.prefix+"ready_endpoints",
			p.finished, strings.TrimSuffix(p.progress, "_count"))
		for _, h := range p.histograms {
			list = append(list, h.family)
		}
	}
	return list
}

// detect tells which picker wrote the pages: the first preset of which any
// series is on every page. A picker without a request so far may show only how
// many endpoints it has.
func detect(pages []*scrape.Page) (preset, error) {
	for _, p := range presets() {
		all := len(pages) > 0
		for _, page := range pages {
			all = all && p.on(page)
		}
		if all {
			return p, nil
		}
	}
	var names []string
	for _, p := range presets() {
		names = append(names, p.name+" ("+p.prefix+"*)")
	}
	return preset{}, hint.Errorf("send some requests through both pools first, if the picker is one of "+strings.Join(names, ", "),
		"the metrics are of no endpoint picker that is known, or both arms have different ones")
}

func (p preset) on(page *scrape.Page) bool {
	for _, name := range []string{p.started, p.prefix + "ready_endpoints", p.running} {
		if _, ok := page.Sum(name, nil); ok {
			return true
		}
	}
	return false
}
