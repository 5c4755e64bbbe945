package evidence

import (
	"context"
	"errors"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// Count is what one arm did since a Tally started.
type Count struct {
	Started   uint64
	Overflows uint64 // kept back by a circuit breaker of the gateway
	Ready     int    // endpoints now
}

// Tally counts requests on any number of arms, by the same series as Arms. It
// is used from one goroutine.
type Tally struct {
	arms   *Arms
	counts []Count
	astray uint64
	ledger ledger // of astray answers, which are a picker's and no arm's
}

// NewTally prepares to count on the arms given. Start must be called before
// Read, and Close at the end.
func NewTally(clients *kube.Clients, pools []Pool, options Options) *Tally {
	return &Tally{arms: newArms(clients, pools, options), counts: make([]Count, len(pools))}
}

// Close drops connections and tunnels.
func (t *Tally) Close() { t.arms.Close() }

// Source says whose metrics are read.
func (t *Tally) Source() string { return t.arms.Source() }

// ByPicker says that pickers count, which may be asked for other requests than
// the pods get.
func (t *Tally) ByPicker() bool { return t.arms.preset.at == atPickers }

// Lag is how long the counters may stay behind what happened: 0, or what a
// Prometheus takes to scrape them.
func (t *Tally) Lag(ctx context.Context) (time.Duration, error) {
	every, err := t.arms.Interval(ctx)
	return 2 * every, err
}

// Start finds the series and reads where they stand.
func (t *Tally) Start(ctx context.Context) error {
	if err := t.arms.Bind(ctx, nil); err != nil {
		return err
	}
	_, _, err := t.Read(ctx)
	return err
}

// Read returns what every arm counted since Start, and how many answers came
// from another endpoint than the one picked. An error says which arm could not
// be read; what was counted until then is returned, too, and the next Read
// catches up.
func (t *Tally) Read(ctx context.Context) (counts []Count, astray uint64, err error) {
	var all []endpoint
	var errs []error
	for _, side := range t.arms.sides {
		if err := side.pods.list(ctx, t.arms.clients, side.pool); err != nil {
			errs = append(errs, err)
		}
		here := t.arms.endpoints(side)
		side.ledger.list(ids(here))
		all = append(all, here...)
	}
	t.ledger.list(ids(all))
	pages := t.arms.reach.read(ctx, all)
	for i, side := range t.arms.sides {
		arm := t.arms.arm(side, pages, nil)
		if arm.Blind != "" {
			errs = append(errs, errors.New(arm.Blind))
		}
		t.counts[i].Ready = arm.Ready
		t.counts[i].Started += arm.Started
		t.counts[i].Overflows += arm.Overflows
	}
	t.addAstray(pages)
	return append([]Count(nil), t.counts...), t.astray, errors.Join(errs...)
}

func (t *Tally) addAstray(pages map[string]fetched) {
	if t.arms.preset.astray == "" {
		return
	}
	for id, got := range pages {
		if got.err != nil {
			continue
		}
		born, _ := got.page.Sum(bornFamily, nil)
		n, _ := got.page.Sum(t.arms.preset.astray, nil)
		if grown, err := t.ledger.add(id, born, []float64{n}); err == nil && grown != nil {
			t.astray += whole(grown[0])
		}
	}
}
