package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

// Options say where evidence comes from. The zero value looks at the endpoint
// pickers' pages, then at the model servers', by whatever way leads there.
type Options struct {
	// Metrics names a preset (see Presets), or is AutoMetrics.
	Metrics string
	// Via is how pods' pages are reached; Auto if empty.
	Via Via
	// Pages are addresses of a gateway's own pages, for a preset that reads them.
	Pages []string
	// Prometheus is the address of a server that has the pods' counters, instead
	// of their pages.
	Prometheus string
	// Backends are the names pools have on those pages, by pool; a pool left out
	// is looked for by its namespace and name.
	Backends map[string]string
}

// Arms looks at stable and canary. It is used from one goroutine.
type Arms struct {
	clients *kube.Clients
	options Options
	reach   *reacher
	preset  preset
	gauges  []gauge
	queries []gate.Expr // of promql gates
	sides   []*arm      // stable, canary; any number for a Tally
	witness *witness    // nil without a second source
	notes   []string
}

// arm is what is remembered of one side between looks.
type arm struct {
	pool   Pool
	of     match
	pods   pods
	ledger ledger
	given  traffic
	// servers is the second source, where there is a witness.
	servers servers
	pages   []*scrape.Page // those of Bind
}

// New prepares to look at two arms: two pools, or two target models of one
// pool. Bind must be called before Look, and Close at the end.
func New(clients *kube.Clients, stable, canary Pool, options Options) *Arms {
	return newArms(clients, []Pool{stable, canary}, options)
}

func newArms(clients *kube.Clients, pools []Pool, options Options) *Arms {
	if options.Via == "" {
		options.Via = Auto
	}
	a := &Arms{clients: clients, options: options, reach: newReacher(clients, options.Via, options.Prometheus)}
	for _, pool := range pools {
		a.sides = append(a.sides, &arm{pool: pool})
	}
	return a
}

func (a *Arms) stable() *arm { return a.sides[0] }
func (a *Arms) canary() *arm { return a.sides[1] }

// Close drops connections and tunnels.
func (a *Arms) Close() { a.reach.close() }

// Bind finds the series that gates are read from, and their buckets (Edges). It
// reads every page once, which also proves that the metrics can be reached from
// here, and settles by which way.
func (a *Arms) Bind(ctx context.Context, exprs []gate.Expr) error {
	exprs, queries := gate.Split(exprs)
	if err := a.options.wired(queries); err != nil {
		return err
	}
	a.notes = nil
	for _, side := range a.sides {
		if err := side.pods.list(ctx, a.clients, side.pool); err != nil {
			return err
		}
	}
	if err := a.find(ctx); err != nil {
		return err
	}
	var pages []*scrape.Page
	for _, side := range a.sides {
		pages = append(pages, side.pages...)
	}
	var pools []Pool
	for _, side := range a.sides {
		side.pool.Backend = a.preset.backendOf(side.pool, a.options.Backends, pages)
		pools = append(pools, side.pool)
	}
	if err := a.preset.separable(pools, pages); err != nil {
		return err
	}
	a.gauges = nil
	for _, expr := range exprs {
		g, err := a.preset.gauge(pages, expr.Metric)
		if err != nil {
			return err
		}
		a.gauges = append(a.gauges, g)
	}
	for _, side := range a.sides {
		side.of = a.preset.of(side.pool)
		side.ledger.list(ids(a.endpoints(side)))
	}
	a.witnesses(ctx, exprs)
	return a.bindQueries(ctx, queries)
}

// find chooses the preset: the first place whose pages can be read and are of
// a program that is known.
func (a *Arms) find(ctx context.Context) error {
	known := choose(a.options.Metrics)
	if len(known) == 0 {
		return hint.Errorf(fmt.Sprintf("one of %q", append([]string{AutoMetrics}, Presets()...)), "there are no metrics called %q", a.options.Metrics)
	}
	var errs []error
	for _, at := range []place{atPickers, atServers, atGateway} {
		var here []preset
		for _, p := range known {
			if p.at == at {
				here = append(here, p)
			}
		}
		if len(here) == 0 {
			continue
		}
		a.preset = preset{at: at}
		pages, err := a.settle(ctx)
		if err == nil {
			a.preset, err = detect(pages, here)
		}
		if err == nil {
			if len(errs) > 0 {
				a.notes = append(a.notes, fmt.Sprintf("the %s are read, because %v", at, errors.Join(errs...)))
			}
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return hint.Wrap(errors.Join(errs...), hint.Of(errs[0]))
}

// Source says whose metrics are read, and Notes what people should know of
// them before they trust a gate.
func (a *Arms) Source() string { return a.preset.title }

// Notes are what the metrics cannot show.
func (a *Arms) Notes() []string {
	notes := slices.Clone(a.notes)
	for i := range a.gauges {
		if a.gauges[i].edges == nil && a.preset.unseen != "" {
			return append(notes, "errors as "+a.preset.title+" count them; not seen: "+a.preset.unseen)
		}
	}
	return notes
}

// Edges are the bucket edges each gate with an error bound is read with, in
// seconds, ascending; nil for errors.
func (a *Arms) Edges() [][]float64 {
	edges := make([][]float64, len(a.gauges))
	for i, g := range a.gauges {
		edges[i] = g.seconds()
	}
	return edges
}

// Ready counts the ready endpoints of both arms as last listed.
func (a *Arms) Ready() (stable, canary int) { return a.stable().pods.ready(), a.canary().pods.ready() }

// Moved tells that weights were moved: counts of a process that was not read
// since belong to no window.
func (a *Arms) Moved() {
	for _, side := range a.sides {
		side.ledger.moved()
		side.given = traffic{}
		side.servers.moved()
	}
}

// Look implements rollout.Evidence.
func (a *Arms) Look(ctx context.Context) rollout.Sample {
	began := time.Now()
	var listed [2]error
	var all []endpoint
	for i, side := range a.sides {
		if listed[i] = side.pods.list(ctx, a.clients, side.pool); listed[i] == nil {
			side.ledger.list(ids(a.endpoints(side)))
		}
		all = append(all, a.endpoints(side)...)
	}
	var answers []gate.Answer
	var heard map[string]fetched
	var wg sync.WaitGroup
	wg.Go(func() { answers = a.answers(ctx) })
	wg.Go(func() { heard = a.hearing(ctx) })
	pages := a.reach.read(ctx, all)
	wg.Wait()
	stable, canary := a.stable(), a.canary()
	sample := rollout.Sample{Stable: a.arm(stable, pages, listed[0]), Canary: a.arm(canary, pages, listed[1]), Answers: answers}
	if stable.pool.Model == "" { // two models of one pool share its endpoints
		sample.Warnings = incomparable(stable.given, canary.given)
	}
	sample.Warnings = slices.Concat(sample.Warnings, overdue("the canary", canary.given), overdue("stable", stable.given))
	if a.witness != nil {
		a.witness.hear(stable, heard, &sample.Stable)
		a.witness.hear(canary, heard, &sample.Canary)
		sample.Warnings = append(sample.Warnings, a.witness.warnings(&stable.servers, &canary.servers)...)
	}
	sample.Took = time.Since(began)
	return sample
}

// arm sums up what one side's pages say of this window.
func (a *Arms) arm(side *arm, pages map[string]fetched, listErr error) rollout.Arm {
	out := rollout.Arm{Ready: side.pods.ready(), Restarts: side.pods.restarted()}
	sum := increments{buckets: make([][]uint64, len(a.gauges))}
	seen := 0
	var errs []error
	late := 0.0
	for _, e := range a.endpoints(side) {
		got := pages[e.id()]
		var values []float64
		if got.err == nil {
			values, got.err = a.preset.reading(got.page, side.of, a.gauges)
		}
		if got.err == nil {
			seen++
			for _, gauge := range a.preset.running {
				n, _ := got.page.Sum(gauge, side.of)
				out.Running += int64(n)
			}
			n, _ := got.page.Sum(a.preset.overdue, side.of)
			late += n
			born, _ := got.page.Sum(bornFamily, nil)
			values, got.err = side.ledger.add(e.id(), born, values)
		}
		if values != nil && got.err == nil {
			sum.add(split(values, a.gauges))
		}
		if got.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e, got.err))
		}
	}
	if seen == 0 {
		out.Blind = a.blindness(side, errs, listErr)
		return out
	}
	side.given.add(sum, out.Running, out.Ready)
	side.given.overdue = whole(late)
	side.servers.well += sum.finished - min(sum.errors, sum.finished)
	side.servers.slack = out.Running
	out.Started, out.Finished, out.Progress, out.Overflows = sum.started, sum.finished, sum.progress, sum.overflows
	out.PromptTokens, out.AnswerTokens, out.Answered = sum.promptTokens, sum.answerTokens, sum.answers
	for i, g := range a.gauges {
		if sum.buckets[i] == nil {
			sum.buckets[i] = make([]uint64, max(2, len(g.edges)+1))
		}
		out.Values = append(out.Values, sum.buckets[i])
	}
	return out
}

func (a *Arms) blindness(side *arm, errs []error, listErr error) string {
	switch {
	case len(errs) > 0:
		return errs[0].Error()
	case listErr != nil:
		return listErr.Error()
	default:
		return side.pool.String() + " has no pod to read metrics from, of its " + string(a.preset.at)
	}
}
