package evidence

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

const (
	// witnessLimit bounds the reading of the second source: a look does not wait
	// for a pod that hangs.
	witnessLimit = time.Second
	// witnessPods is how many model servers are read beside the pickers, at most.
	witnessPods = 64
	// A split that pickers and pods tell so differently, and what in flight can
	// not explain, after so many requests by either, is told.
	splitGap      = 0.1
	splitRequests = 100
)

// witness is the second source: the model servers' own pages, where the gates
// are read from the pickers'. It tells which pod is responsible for an alarm,
// whether the gateway asks the picker of the pool it sends to, and whether a
// canary whose picker cannot be read answers. It decides by nothing else.
type witness struct {
	preset preset
	exprs  []gate.Expr // those that the servers' pages can show
	gauges []gauge     // of these
}

// servers is what is remembered of an arm's model servers since weights moved.
type servers struct {
	ledger ledger
	pods   map[string]*podRows // by endpoint
	begun  uint64              // first tokens, by the pods
	well   uint64              // requests that ended well, by the pickers
	slack  int64               // requests in flight at the last look
}

// podRows is one pod: by gate of the witness a row.
type podRows struct {
	name string
	rows [][]uint64
}

func (s *servers) moved() {
	s.ledger.moved()
	s.pods, s.begun, s.well, s.slack = nil, 0, 0, 0
}

// witnesses makes the second source, where there can be one: two pools whose
// pickers are read, and few enough pods that have vLLM's pages.
func (a *Arms) witnesses(ctx context.Context, exprs []gate.Expr) {
	a.witness = nil
	if a.preset.at != atPickers || len(a.sides) != 2 || a.stable().pool.Model != "" {
		return
	}
	var all []endpoint
	for _, side := range a.sides {
		list := serverEndpoints(side)
		side.servers.ledger.list(ids(list))
		all = append(all, list...)
	}
	if len(all) == 0 || len(all) > witnessPods {
		return
	}
	var pages []*scrape.Page
	for _, f := range a.readServers(ctx, all) {
		if f.err == nil {
			pages = append(pages, f.page)
		}
	}
	found, err := detect(pages, choose("vllm"))
	if err != nil || len(pages) < len(all) {
		a.notes = append(a.notes, "the model servers' own pages cannot all be read: nothing can be said of single pods, or of a wrong picker being asked")
		return
	}
	w := &witness{preset: found}
	for _, e := range exprs {
		if g, err := found.gauge(pages, e.Metric); err == nil {
			w.exprs, w.gauges = append(w.exprs, e), append(w.gauges, g)
		}
	}
	a.witness = w
}

// readServers reads the model servers' pages within witnessLimit.
func (a *Arms) readServers(ctx context.Context, list []endpoint) map[string]fetched {
	ctx, cancel := context.WithTimeout(ctx, witnessLimit)
	defer cancel()
	return a.reach.read(ctx, list)
}

// hearing reads the second source for a look; nil without one.
func (a *Arms) hearing(ctx context.Context) map[string]fetched {
	if a.witness == nil {
		return nil
	}
	var all []endpoint
	for _, side := range a.sides {
		list := serverEndpoints(side)
		side.servers.ledger.list(ids(list))
		all = append(all, list...)
	}
	if len(all) > witnessPods {
		return nil
	}
	return a.readServers(ctx, all)
}

// hear adds what an arm's servers say in this look, and puts it into the arm.
func (w *witness) hear(side *arm, pages map[string]fetched, into *rollout.Arm) {
	s := &side.servers
	if s.pods == nil {
		s.pods = map[string]*podRows{}
	}
	var said rollout.Servers
	heard := false
	for _, e := range serverEndpoints(side) {
		got, asked := pages[e.id()]
		if !asked || got.err != nil {
			continue
		}
		values, err := w.preset.reading(got.page, nil, w.gauges)
		if err != nil {
			continue
		}
		heard = true
		for _, family := range w.preset.running {
			n, _ := got.page.Sum(family, nil)
			said.Running += int64(n)
		}
		born, _ := got.page.Sum(bornFamily, nil)
		grown, err := s.ledger.add(e.id(), born, values)
		if err != nil || grown == nil {
			continue
		}
		said.Progress += s.add(e, split(grown, w.gauges))
	}
	if heard {
		into.Servers = &said
	}
}

// add counts a window of one pod, and returns what of it is progress.
func (s *servers) add(e endpoint, window increments) uint64 {
	p := s.pods[e.id()]
	if p == nil {
		p = &podRows{name: e.String(), rows: make([][]uint64, len(window.buckets))}
		s.pods[e.id()] = p
	}
	for i, row := range window.buckets {
		p.rows[i] = gate.AddRow(p.rows[i], row)
	}
	s.begun += window.started
	return window.started + window.finished + window.progress
}

// warnings are what the pods tell beside the pickers. None decides anything.
func (w *witness) warnings(stable, canary *servers) []string {
	var list []string
	if text := misasked(stable, canary); text != "" {
		list = append(list, text)
	}
	for i, e := range w.exprs {
		if text := w.apart(i, e, stable, canary); text != "" {
			list = append(list, text)
		}
	}
	return list
}

// misasked says that the pods' share is not the pickers'.
func misasked(stable, canary *servers) string {
	asked, served := canary.well+stable.well, canary.begun+stable.begun
	if min(asked, served) < splitRequests {
		return ""
	}
	byPickers, byPods := float64(canary.well)/float64(asked), float64(canary.begun)/float64(served)
	if math.Abs(byPickers-byPods) <= splitGap+float64(canary.slack+stable.slack)/float64(min(asked, served)) {
		return ""
	}
	return fmt.Sprintf("wrong picker: by the pickers the canary answered %.1f%% of %d requests, by its pods %.1f%% of %d; the gateway asks the picker of another pool than it sends to, or other traffic reaches the pods",
		100*byPickers, asked, 100*byPods, served)
}

// apart names the pod that an alarm of one gate is all of.
func (w *witness) apart(i int, e gate.Expr, stable, canary *servers) string {
	var of []uint64
	for _, p := range stable.pods {
		of = gate.AddRow(of, p.rows[i])
	}
	var names []string
	var rows [][]uint64
	for _, p := range canary.pods {
		names, rows = append(names, p.name), append(rows, p.rows[i])
	}
	k := e.Apart(rows, of, w.gauges[i].seconds())
	if k < 0 {
		return ""
	}
	return fmt.Sprintf("one pod: what speaks against the canary by gate %q is all of %s; nothing does against its %d others", e, names[k], len(names)-1)
}
