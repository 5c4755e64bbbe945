package evidence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// The corpus: seeded histories of one process or several, each written as pages
// of every program we read, in every notation a page may use, with what goes
// wrong on the way. What a window must count is known from the history, not from
// the page.

// corpusRounds are histories per program and trouble.
const corpusRounds = 1

// history is a process as it really was; a page is one way of writing it down.
type history struct {
	born               int
	started, ok, bad   int
	chunks             int
	fast, middle, slow int // first tokens up to 0.5 s, up to 1 s, slower
	label              string
}

func (h *history) live(r *rand.Rand) history {
	step := history{ok: r.IntN(50), bad: r.IntN(4), fast: r.IntN(40), middle: r.IntN(9), slow: r.IntN(5), chunks: 1 + r.IntN(500)}
	step.started = step.ok + step.bad + r.IntN(3)
	h.started += step.started
	h.ok += step.ok
	h.bad += step.bad
	h.chunks += step.chunks
	h.fast += step.fast
	h.middle += step.middle
	h.slow += step.slow
	return step
}

func (h *history) plus(o history) {
	h.started += o.started
	h.ok += o.ok
	h.bad += o.bad
	h.fast += o.fast
	h.middle += o.middle
	h.slow += o.slow
}

func (h history) restarted(born int) history { return history{born: born, label: h.label} }

// notation is how a page is written.
type notation struct {
	r       *rand.Rand
	open    bool // OpenMetrics
	numbers func(n int) string
}

func plain(n int) string    { return fmt.Sprint(n) }
func exponent(n int) string { return fmt.Sprintf("%e", float64(n)) }
func padded(n int) string   { return fmt.Sprintf("%d.000", n) }

// page writes a history as program key exports it.
func (n notation) page(key string, h history) string {
	w := &writer{notation: n}
	w.family("process_start_time_seconds", "gauge")
	w.sample("process_start_time_seconds", "", h.born)
	w.family("go_goroutines", "gauge") // nobody asked for it
	w.sample("go_goroutines", "", n.r.IntN(100))
	model := "model_name=\"m\",target_model_name=" + h.label
	switch key {
	case "picker":
		l := "pool=\"p\",model=\"m\",target_model=" + h.label
		w.counter("infer_picker_requests_started", l, h.started)
		w.family("infer_picker_requests_finished", "counter")
		w.sample("infer_picker_requests_finished_total", l+",code=\"200\"", h.ok)
		w.sample("infer_picker_requests_finished_total", l+",code=\"503\"", h.bad-h.bad/2)
		w.sample("infer_picker_requests_finished_total", l+",code=\"none\"", h.bad/2)
		w.counter("infer_picker_response_messages", l, h.chunks)
		w.histogram("infer_picker_ttft_seconds", l+",streaming=\"true\"", h, 1)
		w.histogram("infer_picker_ttft_seconds", l+",streaming=\"false\"", history{slow: 9 * h.ok}, 0)
	case "vllm":
		l := "engine=\"0\",model_name=" + h.label
		w.family("vllm:num_requests_running", "gauge")
		w.sample("vllm:num_requests_running", l, n.r.IntN(5))
		w.counter("vllm:generation_tokens", l, h.chunks)
		w.family("http_requests", "counter")
		w.sample("http_requests_total", "handler=\"/v1/completions\",method=\"POST\",status=\"2xx\"", h.ok)
		w.sample("http_requests_total", "handler=\"/v1/chat/completions\",method=\"POST\",status=\"5xx\"", h.bad)
		w.sample("http_requests_total", "handler=\"/health\",method=\"GET\",status=\"2xx\"", 7*h.ok+9)
		w.sample("http_requests_total", "handler=\"/v1/models\",method=\"GET\",status=\"5xx\"", 3*h.bad)
		w.histogram("vllm:time_to_first_token_seconds", l, h, 1)
	case "envoy":
		l := "envoy_cluster_name=\"pool/default/p\""
		w.counter("envoy_cluster_upstream_rq", l, h.started)
		w.counter("envoy_cluster_upstream_cx_rx_bytes", l, h.chunks)
		w.family("envoy_cluster_upstream_rq_xx", "counter")
		w.sample("envoy_cluster_upstream_rq_xx", l+",envoy_response_code_class=\"2\"", h.ok)
		w.sample("envoy_cluster_upstream_rq_xx", l+",envoy_response_code_class=\"5\"", h.bad)
		w.sample("envoy_cluster_upstream_rq_xx", "envoy_cluster_name=\"other\",envoy_response_code_class=\"5\"", 5*h.bad+1)
		w.histogram("envoy_cluster_upstream_rq_time", l, h, 1000)
	default:
		prefix := presetOf(key).marks[0]
		prefix = strings.TrimSuffix(prefix, "request_total")
		w.counter(prefix+"request", model, h.started)
		w.family(prefix+"request_error", "counter")
		w.sample(prefix+"request_error_total", model+",error_code=\"Internal\"", h.bad)
		w.sample(prefix+"request_error_total", model+",error_code=\"BadRequest\"", 4*h.ok)
		w.histogram(prefix+"request_duration_seconds", model, h, 1)
	}
	if n.open {
		w.b.WriteString("# EOF\n")
	}
	return w.b.String()
}

type writer struct {
	notation
	b     strings.Builder
	typed map[string]bool
}

func (w *writer) family(name, kind string) {
	if w.typed == nil {
		w.typed = map[string]bool{}
	}
	if w.typed[name] {
		return
	}
	w.typed[name] = true
	if !w.open && kind == "counter" {
		name += "_total"
	}
	if w.open && strings.HasSuffix(name, "_xx") {
		kind = "unknown" // a counter's samples would have to end in _total
	}
	fmt.Fprintf(&w.b, "# TYPE %s %s\n", name, kind)
}

func (w *writer) sample(name, labels string, value int) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(&w.b, "%s%s %s\n", name, labels, w.numbers(value))
}

func (w *writer) counter(name, labels string, value int) {
	w.family(name, "counter")
	w.sample(name+"_total", labels, value)
}

// histogram writes buckets at 0.5, 1 and 2 seconds, in units per second; with 0
// units the observations are those of another family.
func (w *writer) histogram(name, labels string, h history, units float64) {
	w.family(name, "histogram")
	if units == 0 {
		units = 1
	}
	below := 0
	for i, n := range []int{h.fast, h.middle, 0} {
		below += n
		w.sample(name+"_bucket", fmt.Sprintf("%s,le=\"%v\"", labels, []float64{0.5, 1, 2}[i]*units), below)
	}
	w.sample(name+"_bucket", labels+",le=\"+Inf\"", below+h.slow)
	w.sample(name+"_sum", labels, below)
	w.sample(name+"_count", labels, below+h.slow)
}

func presetOf(key string) preset {
	for _, p := range presets() {
		if p.key == key {
			return p
		}
	}
	return preset{}
}

// latency is the metric whose histogram the corpus fills, by program.
func latency(key string) gate.Metric {
	if key == "picker" || key == "vllm" {
		return gate.TTFT
	}
	return gate.E2E
}

// reader is an arm without a cluster: pages in, windows out.
type reader struct {
	preset preset
	gauges []gauge
	of     match
	ledger ledger
}

func (r *reader) look(t *testing.T, id, text string, open bool) (increments, error) {
	t.Helper()
	contentType := "text/plain; version=0.0.4"
	if open {
		contentType = "application/openmetrics-text; version=1.0.0"
	}
	page, err := scrape.Parse(strings.NewReader(text), contentType, families(), scrape.DefaultLimits())
	none := increments{buckets: make([][]uint64, len(r.gauges))}
	if err != nil {
		return none, err
	}
	values, err := r.preset.reading(page, r.of, r.gauges)
	if err != nil {
		return none, err
	}
	born, _ := page.Sum(bornFamily, nil)
	grown, err := r.ledger.add(id, born, values)
	if err != nil || grown == nil {
		return none, err
	}
	return split(grown, r.gauges), nil
}

// want is what a window must hold of a history's growth.
func want(key string, h history) (started, finished, bad uint64, row []uint64) {
	begun, all := h.started, h.ok+h.bad
	if key == "vllm" {
		begun = h.fast + h.middle + h.slow // known from the first token on
	}
	if strings.HasPrefix(key, "llm-d") || strings.HasPrefix(key, "gie") {
		all = h.started
	}
	return uint64(begun), uint64(all), uint64(h.bad), []uint64{uint64(h.fast), uint64(h.middle), 0, uint64(h.slow)}
}

func corpusNotations() map[string]func(*rand.Rand) notation {
	return map[string]func(*rand.Rand) notation{
		"text":                func(r *rand.Rand) notation { return notation{r, false, plain} },
		"text with exponents": func(r *rand.Rand) notation { return notation{r, false, exponent} },
		"OpenMetrics":         func(r *rand.Rand) notation { return notation{r, true, padded} },
	}
}

// corpusLabels are values that a model's name may have, escaped.
func corpusLabels() []string {
	return []string{`"m"`, `"a \"quoted\" name"`, `"back\\slash"`, `"two\nlines"`, `"模型, v=1}"`}
}

// troubles are what goes wrong between two looks. Each returns what of the
// history the window must show.
func troubles() map[string]func(c *course) history {
	return map[string]func(c *course) history{
		"nothing":              func(c *course) history { return c.see(c.now.live(c.r)) },
		"a missed scrape":      missed,
		"a restart":            func(c *course) history { c.now = c.now.restarted(c.now.born + 1); return c.see(c.now.live(c.r)) },
		"a new pod of the arm": func(c *course) history { return c.newPod() },
		"a move":               func(c *course) history { return c.across(func() {}) },
		"a move and a restart": func(c *course) history { return c.across(func() { c.now = c.now.restarted(c.now.born + 1) }) },
		"a page that is refused": func(c *course) history {
			first := c.now.live(c.r)
			c.refused(hostile(c.r, c.write()))
			second := c.now.live(c.r)
			first.plus(second)
			return c.see(first)
		},
		"series that vanish and come back": func(c *course) history {
			grew := c.now.live(c.r)
			c.refused("# TYPE up gauge\nup 1\n")
			return c.see(grew)
		},
		"counters that fall and stay": func(c *course) history {
			c.now.ok, c.now.fast, c.now.chunks = c.now.ok/2, c.now.fast/2, c.now.chunks/2
			c.refused(c.write())
			c.refused(c.write())
			c.see(history{})
			return c.see(c.now.live(c.r))
		},
		"counters that fall once": func(c *course) history {
			high := c.now
			c.now.ok, c.now.fast, c.now.chunks = c.now.ok/2, c.now.fast/2, c.now.chunks/2
			c.refused(c.write())
			c.now = high
			return c.see(c.now.live(c.r))
		},
	}
}

func missed(c *course) history {
	all := c.now.live(c.r)
	all.plus(c.now.live(c.r))
	return c.see(all)
}

// course is one history under way.
type course struct {
	t        *testing.T
	r        *rand.Rand
	key      string
	notation notation
	reader   *reader
	now      history
	id       string
	pages    int
}

func (c *course) write() string { return c.notation.page(c.key, c.now) }

// see reads a page and holds the window against what must be in it.
func (c *course) see(expected history) history {
	c.t.Helper()
	c.pages++
	got, err := c.reader.look(c.t, c.id, c.write(), c.notation.open)
	if err != nil {
		c.t.Errorf("a sound page was refused: %v\n%s", err, c.write())
		return expected
	}
	started, finished, bad, row := want(c.key, expected)
	if got.finished != finished || got.errors != bad || got.started != started ||
		(expected != (history{}) || got.buckets[1] != nil) && !slices.Equal(got.buckets[1], row) {
		c.t.Errorf("window: finished %d, bad %d, started %d, rows %v; the history has %d, %d, %d, %v",
			got.finished, got.errors, got.started, got.buckets[1], finished, bad, started, row)
	}
	return expected
}

// refused reads a page that nothing may be counted of.
func (c *course) refused(text string) {
	c.t.Helper()
	c.pages++
	got, err := c.reader.look(c.t, c.id, text, c.notation.open)
	if err == nil || got.finished+got.errors+got.started+got.progress > 0 {
		c.t.Errorf("error %v; counted %+v of\n%.400s", err, got, text)
	}
}

func (c *course) across(meanwhile func()) history {
	c.now.live(c.r) // unseen, of before the move
	c.reader.ledger.moved()
	meanwhile()
	c.now.live(c.r)
	c.see(history{})
	return c.see(c.now.live(c.r))
}

func (c *course) newPod() history {
	old, was := c.id, c.now
	c.id, c.now = old+"'", history{born: 7, label: was.label}
	c.reader.ledger.list([]string{old, c.id})
	c.see(c.now.live(c.r))
	c.reader.ledger.list([]string{c.id}) // the old one is gone
	return c.see(c.now.live(c.r))
}

// hostile spoils a sound page in a way that must not be believed.
func hostile(r *rand.Rand, page string) string {
	lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "_bucket") })
	switch r.IntN(8) {
	case 0:
		lines[at] = lines[at][:strings.LastIndexByte(lines[at], ' ')] + " NaN"
	case 1:
		lines[at] = lines[at][:strings.LastIndexByte(lines[at], ' ')] + " -1"
	case 2:
		lines[at] = lines[at][:strings.LastIndexByte(lines[at], ' ')] + " 1e18" // falls at the next edge
	case 3:
		lines = slices.Insert(lines, at, lines[at]) // twice
	case 4:
		lines[at] = lines[at][:len(lines[at])/2] // cut off within the line
		lines = lines[:at+1]
	case 5:
		lines = slices.Insert(lines, at, "x{a=\""+strings.Repeat("y", 70<<10)+"\"} 1")
	case 6:
		lines[at] = lines[at][:strings.LastIndexByte(lines[at], ' ')] + " +Inf"
	default:
		lines = slices.Insert(lines, at, strings.Repeat("infer_picker_other 1\n", 100_001))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestCorpusOfPagesWithKnownCounts(t *testing.T) {
	t.Parallel()
	pages := 0
	for trouble, happen := range troubles() {
		t.Run("after "+trouble, func(t *testing.T) {
			for _, key := range Presets() {
				for name, write := range corpusNotations() {
					for round := range corpusRounds {
						r := rand.New(rand.NewPCG(uint64(len(key)*1000+len(name)*100+len(trouble)), uint64(round)))
						c := begin(t, r, key, write(r))
						happen(c)
						pages += c.pages
						if t.Failed() {
							t.Fatalf("%s, %s, round %d", key, name, round)
						}
					}
				}
			}
		})
	}
	if pages < 300 {
		t.Errorf("only %d pages", pages)
	}
}

// begin is a course whose reader has seen two pages.
func begin(t *testing.T, r *rand.Rand, key string, n notation) *course {
	t.Helper()
	c := &course{t: t, r: r, key: key, notation: n, id: "uid:9090"}
	c.now = history{born: 1, label: corpusLabels()[r.IntN(len(corpusLabels()))]}
	for range 3 {
		c.now.live(r)
	}
	p := presetOf(key)
	h := p.histograms[latency(key)]
	c.reader = &reader{preset: p, of: p.of(Pool{Backend: "pool/default/p"})}
	scale := 1.0
	if h.unit != 0 {
		scale = 1 / h.unit
	}
	c.reader.gauges = []gauge{{}, {from: h, edges: []float64{0.5 * scale, 1 * scale, 2 * scale}}}
	c.reader.ledger.list([]string{c.id})
	c.see(history{}) // what was counted before the first look
	c.see(c.now.live(r))
	return c
}
