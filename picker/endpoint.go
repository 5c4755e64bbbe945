package picker

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Endpoint is one port of one Pod, as of one Snapshot. It does not change; what
// does change is behind Live, which the endpoints of successive snapshots
// share.
type Endpoint struct {
	Address     netip.AddrPort
	Value       string // Address as the protocol writes it: ip:port, [ip]:port for IPv6
	Pod         string // namespace/name, for logs
	Ready       bool   // the Pod's condition Ready is true
	Terminating bool   // the Pod is being deleted
	Live        *Live
}

// NewEndpoint returns a ready endpoint whose load is not known yet.
func NewEndpoint(address netip.AddrPort) Endpoint {
	address = netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	return Endpoint{Address: address, Value: address.String(), Ready: true, Live: &Live{}}
}

// Load is what a model server said about itself.
type Load struct {
	At       time.Time // when it was asked
	InFlight int64     // Live.InFlight when it was asked
	Running  float64   // requests being computed
	Waiting  float64   // requests in its queue
	KVCache  float64   // share of the KV cache in use, 0 to 1
}

// Live is the changing part of an endpoint. Its methods may be called by any
// number of goroutines.
type Live struct {
	inFlight atomic.Int64
	load     atomic.Pointer[Load]
}

// InFlight is the number of requests this picker has sent here and not seen the
// end of.
func (l *Live) InFlight() int64 { return l.inFlight.Load() }

// Begin counts a request that is sent here.
func (l *Live) Begin() { l.inFlight.Add(1) }

// End counts a request that is over.
func (l *Live) End() { l.inFlight.Add(-1) }

// Report stores what the model server said.
func (l *Live) Report(load Load) { l.load.Store(&load) }

// View is an endpoint's load as scorers see it, the correction made.
type View struct {
	Outstanding float64 // requests running or waiting there, ours and others'
	Waiting     float64 // of these, in the model server's queue when it last spoke
	KVCache     float64 // share of the KV cache in use, 0 to 1
}

// view corrects the last answer by what this picker has begun and ended since.
// fresh is false when there is no answer younger than maxAge; then only our own
// requests are known.
func (l *Live) view(now time.Time, maxAge time.Duration) (v View, fresh bool) {
	own := float64(l.inFlight.Load())
	load := l.load.Load()
	if load == nil || now.Sub(load.At) > maxAge {
		return View{Outstanding: own}, false
	}
	said := load.Running + load.Waiting + own - float64(load.InFlight)
	return View{Outstanding: max(own, said), Waiting: load.Waiting, KVCache: load.KVCache}, true
}

// Snapshot is every endpoint of a pool at one moment. It must not be changed
// once a Picker has it.
type Snapshot struct {
	Endpoints []Endpoint
}

// Ready counts the endpoints that may be picked.
func (s *Snapshot) Ready() int {
	n := 0
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.Ready && !e.Terminating {
			n++
		}
	}
	return n
}
