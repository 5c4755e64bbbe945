package evidence

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// place is where the pages of a preset are found.
type place string

const (
	atPickers place = "endpoint pickers" // the pods behind a pool's endpointPickerRef
	atServers place = "model servers"    // the pods a pool selects
	atGateway place = "gateway"          // addresses the user gave
)

// match is label values that a series must have.
type match map[string]string

func (m match) and(other match) match {
	if len(m) == 0 {
		return other
	}
	both := maps.Clone(m)
	maps.Copy(both, other)
	return both
}

// preset says which series of a program's pages mean what. See presets for
// those we know.
type preset struct {
	key   string // what --metrics takes
	title string // for people
	at    place
	marks []string // families of which one is on every page of the program

	// model is the label that carries the target model, and tells two arms in
	// one pool apart; backend the one that names an arm's backend on a page that
	// is about several.
	model, backend string

	progress string   // counter that grows while answers are running; "" if there is none
	running  []string // gauges of requests begun and not ended, added up
	// count reads the requests begun, those that ended, and how many of these
	// ended badly. families are what it needs.
	count    func(page *scrape.Page, of match) (started, finished, bad float64)
	families []string
	// counted must be on the pages for a gate on errors; "" asks for nothing.
	counted string
	// astray counts answers that came from another endpoint than the one picked;
	// "" if nothing does.
	astray string
	// overflows counts the requests that a circuit breaker of the gateway kept
	// back, which are among the bad ones; "" if nothing does.
	overflows string
	// rules is a gauge with a series for every target model of the rules that a
	// picker follows, by model; "" where only heeds tells.
	rules string
	// serving is a gauge of the endpoints that answer to a model, by label model;
	// "" where pickers do not ask their pods.
	serving string
	// heeds are the kinds of object that the program takes target models from.
	heeds []schema.GroupResource
	// overdue is a gauge of requests unanswered for longer than the largest edge of
	// the histograms, which no bucket has yet; "" if there is none.
	overdue string
	// unseen says which errors these pages cannot show; "" when they show all
	// that reach the gateway's clients.
	unseen string

	histograms map[gate.Metric]histogram
	// edges are the bucket edges before anything was counted; nil if not known.
	edges func() []float64
	// prompts and answers are histograms of tokens per request; "" if none.
	prompts, answers string
}

// histogram is where a latency is read. Time to first token is meant for
// streaming answers only, for the others it is the whole duration.
type histogram struct {
	family string
	match  match
	unit   float64 // seconds per unit of the edges; 0 for 1
	// instead names a family that has the same metric in a form no gate can
	// use, and why.
	instead, because string
}

func (h histogram) seconds(edge float64) float64 {
	if h.unit == 0 {
		return edge
	}
	return edge * h.unit
}

// bornFamily tells two processes in one pod apart.
const bornFamily = "process_start_time_seconds"

// Presets lists the names that --metrics takes beside "auto".
func Presets() []string {
	var keys []string
	for _, p := range presets() {
		keys = append(keys, p.key)
	}
	return keys
}

// families are what a page is parsed for: of every preset, since which one it
// is is only known from a page.
func families() []string {
	list := append([]string{bornFamily}, loadFamilies()...)
	for _, p := range presets() {
		list = append(append(append(list, p.marks...), p.families...), p.running...)
		list = append(list, p.progress, p.prompts, p.answers, p.astray, p.overflows, p.rules, p.serving, p.overdue)
		for _, h := range p.histograms {
			list = append(list, h.family, h.instead)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(name string) bool { return name == "" })
}

// detect tells which program wrote the pages: the first of known of which any
// series is on every page. A program without a request so far may show only
// that it is there.
func detect(pages []*scrape.Page, known []preset) (preset, error) {
	for _, p := range known {
		all := len(pages) > 0
		for _, page := range pages {
			all = all && p.on(page)
		}
		if all {
			return p, nil
		}
	}
	var names []string
	for _, p := range known {
		names = append(names, p.title+" ("+p.marks[0]+", …)")
	}
	return preset{}, hint.Errorf("send some requests through both pools first, if it is one of "+strings.Join(names, ", ")+"; else see --metrics",
		"the metrics are of no program that is known, or the arms have different ones")
}

func (p preset) on(page *scrape.Page) bool {
	for _, name := range p.marks {
		if page.Has(name) {
			return true
		}
	}
	return false
}

// of is what an arm's series have in common.
func (p preset) of(pool Pool) match {
	switch {
	case p.backend != "":
		return match{p.backend: pool.Backend}
	case pool.Model != "":
		return match{p.model: pool.Model}
	default:
		return nil
	}
}

// separable refuses a preset whose series cannot tell the arms apart.
func (p preset) separable(pools []Pool, pages []*scrape.Page) error {
	var models []string
	for _, pool := range pools {
		if pool.Model != "" {
			models = append(models, pool.Model)
		}
	}
	switch {
	case len(models) == 0 && p.backend != "":
		return p.nameBackends(pools, pages)
	case len(models) == 0:
		return nil
	}
	if p.model == "" {
		return hint.Errorf("gate on the metrics of the endpoint picker: --metrics picker",
			"%s does not say which target model a request was for, so %s look alike", p.title, strings.Join(models, " and "))
	}
	if p.at != atServers {
		return nil // a picker names a target once it had a request
	}
	found := p.values(pages, p.model)
	for _, model := range models {
		if !slices.Contains(found, model) {
			return hint.Errorf("gate on the metrics of the endpoint picker: --metrics picker",
				"%s counts under %s %s only, so %s cannot be told apart", p.title, p.model, strings.Join(found, ", "), model)
		}
	}
	return nil
}

// backendOf is the name of a pool on the pages: the one given, or else the only
// one that holds its namespace and name, its picker's left out.
func (p preset) backendOf(pool Pool, given map[string]string, pages []*scrape.Page) string {
	if name := given[pool.Name]; name != "" || p.backend == "" {
		return name
	}
	var fits []string
	for _, name := range p.values(pages, p.backend) {
		parts := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("/|:+_.", r) })
		if slices.Contains(parts, pool.Namespace) && slices.Contains(parts, pool.Name) {
			fits = append(fits, name)
		}
	}
	if len(fits) > 1 {
		fits = slices.DeleteFunc(fits, func(name string) bool { return strings.HasPrefix(name, "picker") })
	}
	if len(fits) != 1 {
		return ""
	}
	return fits[0]
}

// nameBackends checks that the pages speak of both arms' backends.
func (p preset) nameBackends(pools []Pool, pages []*scrape.Page) error {
	found := p.values(pages, p.backend)
	var names []string
	for _, pool := range pools {
		names = append(names, pool.Name+"=NAME")
	}
	for _, pool := range pools {
		if !slices.Contains(found, pool.Backend) {
			if pool.Backend == "" {
				pool.Backend = "that is clearly " + pool.Namespace + "/" + pool.Name
			}
			return hint.Errorf("--backend-names "+strings.Join(names, ",")+", of: "+strings.Join(found, ", "),
				"%s: there is no %s %s", p.title, p.backend, pool.Backend)
		}
	}
	return nil
}

func (p preset) values(pages []*scrape.Page, label string) []string {
	var found []string
	for _, page := range pages {
		for _, mark := range p.marks {
			found = append(found, page.Values(mark, label)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
