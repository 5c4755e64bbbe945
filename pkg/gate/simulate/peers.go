package simulate

import (
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
)

// peer judges as other rollout tools do: every interval, each metric's value
// over that interval is compared with its limit, and misses are counted for the
// whole run. Latency limits are the edges that our gates use; the limit for
// errors is 1 %, or the gate's own where it is absolute.
//
// Argo Rollouts: each metric of a background AnalysisRun counts its own misses
// and fails when there are more than failureLimit. Flagger: one counter for all
// metrics, which never goes down, fails at threshold; a check ends at the first
// metric that misses, and a metric without values is a miss.
type peer struct {
	name     string
	interval time.Duration
	limit    int  // misses at which it rolls back
	shared   bool // one counter, and silence is a miss

	waited time.Duration
	window [][]uint64 // by gate
	misses map[int]int
}

func newPeers() []*peer {
	peers := []*peer{
		{name: "Argo failureLimit 0", interval: 30 * time.Second, limit: 1},
		{name: "Argo failureLimit 3", interval: 30 * time.Second, limit: 4},
		{name: "Flagger threshold 5", interval: time.Minute, limit: 5, shared: true},
		{name: "Flagger threshold 10", interval: time.Minute, limit: 10, shared: true},
	}
	for _, p := range peers {
		p.misses = map[int]int{}
	}
	return peers
}

// look takes one scrape of the canary, a row by gate, and reports whether the peer
// rolls back.
func (p *peer) look(scrape time.Duration, canary [][]uint64, bounds []gate.Bound, edges [][]float64) bool {
	window := make([][]uint64, len(canary))
	for g, row := range canary {
		if p.window != nil {
			window[g] = gate.AddRow(p.window[g], row)
		} else {
			window[g] = gate.AddRow(nil, row)
		}
	}
	p.window = window
	if p.waited += scrape; p.waited < p.interval {
		return false
	}
	p.waited, p.window = 0, nil
	for g, b := range bounds {
		allowed := b.P0
		if b.Expr.Metric == gate.Errors && b.Expr.Comparison() {
			allowed = 0.01
		}
		c := b.Count(window[g], edges[g])
		if missed := c.Fraction() > allowed || p.shared && c.Requests == 0; !missed {
			continue
		}
		if p.shared {
			p.misses[0]++
			return p.misses[0] >= p.limit
		}
		if p.misses[g]++; p.misses[g] >= p.limit {
			return true
		}
	}
	return false
}

// Peers are the names of the other judges, in order.
func Peers() []string {
	var names []string
	for _, p := range newPeers() {
		names = append(names, p.name)
	}
	return names
}
