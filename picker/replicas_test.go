package picker

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func v6(n int) Endpoint {
	return NewEndpoint(netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%x]:8000", n)))
}

// replicas are pickers of one pool that know nothing of each other: each has its own
// endpoints, with its own counts, and hears what the model servers say.
type replicas []*gateway

const servers = 8

func newReplicas(t *testing.T, n int) replicas {
	t.Helper()
	var all replicas
	for i := range n {
		var endpoints []Endpoint
		for s := range servers {
			endpoints = append(endpoints, endpoint(s))
		}
		g := newGateway(t, endpoints...)
		g.picker.exp = rand.New(rand.NewPCG(7, uint64(i))).ExpFloat64
		all = append(all, g)
	}
	return all
}

// hear tells every replica what the model servers say: all requests, and those over
// the slots wait.
func (r replicas) hear(running [servers]int, slots int) {
	for _, g := range r {
		for s, e := range g.picker.Snapshot().Endpoints {
			e.Live.Report(Load{
				At: g.clock.Now(), InFlight: e.Live.InFlight(),
				Running: float64(min(running[s], slots)), Waiting: float64(max(0, running[s]-slots)),
			})
		}
	}
}

// Replicas agree on nothing. What they all hear they must not all run after: between
// two scrapes a server that looked idle gets what it lacks from all together, and not from each.
func TestReplicasDoNotHerdTogether(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(n, " replicas"), func(t *testing.T) {
			t.Parallel()
			r := newReplicas(t, n)
			var running [servers]int
			for s := range servers - 1 { // the last server is empty
				for i := range 28 {
					running[s]++
					r[i%n].picker.Snapshot().Endpoints[s].Live.Begin()
				}
			}
			r.hear(running, 64)
			before := running
			for i := range 56 { // twice as many as make the last one equal to the others
				e := r[i%n].picker.Pick(&Request{}).Endpoint
				e.Live.Begin()
				for s := range servers {
					if e.Address == r[0].picker.Snapshot().Endpoints[s].Address {
						running[s]++
					}
				}
			}
			if got := running[servers-1] - before[servers-1]; got < 20 || got > 40 {
				t.Errorf("the empty server got %d of 56, about 31 make all equal: %v", got, running)
			}
		})
	}
}

func TestEachReplicaKeepsToHintAndThresholds(t *testing.T) {
	t.Parallel()
	r := newReplicas(t, 2)
	r.hear([servers]int{3, 3, 3, 3, 3, 3, 3, 3}, 16)
	for i, g := range r {
		answers := g.one(metadata(subsetNamespace, subsetKey, list("10.0.0.3:8000")), nil)
		if got, _, _ := choice(answers); got != "10.0.0.3:8000" {
			t.Errorf("replica %d chose %s against the hint", i, got)
		}
	}
	r.hear([servers]int{22, 22, 22, 22, 22, 22, 22, 22}, 16) // six wait at each
	for i, g := range r {
		if reason := g.picker.Pick(&Request{Priority: -1}).Reason; reason != Shed {
			t.Errorf("replica %d: %s, want shed", i, reason)
		}
		if c := g.picker.Pick(&Request{}); c.Endpoint == nil {
			t.Errorf("replica %d refused what cannot be shed: %s", i, c.Reason)
		}
	}
}

// When a replica goes, its requests are nobody's in-flight count any more, and the
// other one still sees them in what the servers say.
func TestTheOtherReplicaSeesWhatAReplicaThatWentHadSent(t *testing.T) {
	t.Parallel()
	r := newReplicas(t, 2)
	var running [servers]int
	for range 16 { // all of them to one server
		r[0].picker.Snapshot().Endpoints[0].Live.Begin()
		running[0]++
	}
	r[0].conv.Close(extproc.Aborted)
	r[1].clock.Step(time.Second)
	r[1:].hear(running, 64)
	sent := 0
	for range 100 {
		if r[1].picker.Pick(&Request{}).Endpoint.Value == "10.0.0.1:8000" {
			sent++
		}
	}
	if sent > 1 {
		t.Errorf("%d of 100 requests went to the one busy server", sent)
	}
}
