package picker

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"slices"
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

	// LoRA adapters with requests running and with requests waiting for a slot,
	// and the number of slots; 0 slots when the server does not tell.
	ActiveAdapters, QueuedAdapters []string
	MaxAdapters                    int
}

// Live is the changing part of an endpoint. Its methods may be called by any
// number of goroutines.
type Live struct {
	inFlight atomic.Int64
	load     atomic.Pointer[Load]
	served   atomic.Pointer[served]
	slot     atomic.Uint32 // by which prompts remember it; 0: none yet
}

// Models are the names a model server answers to; true marks a LoRA adapter.
type Models map[string]bool

// served is what a model server said last about its models.
type served struct {
	models Models
	digest uint64 // the same for equal models
	sure   bool   // it answered when it was asked last
}

// digests is the seed of Models.digest: nobody outside can make two of them equal.
var digests = maphash.MakeSeed()

// digest stands for the names, and for which of them are adapters.
func (m Models) digest() (sum uint64) {
	for name, lora := range m {
		h := maphash.String(digests, name)
		if lora {
			h = bits.RotateLeft64(h, 1)
		}
		sum += h
	}
	return sum
}

// answers remembers who answers to a model, so that a pool whose model servers all
// say the same is asked once and not at every endpoint.
type answers struct {
	known    bool
	digest   uint64
	ok, lora bool
}

// of is served.serves of l; model must be the same in every call.
func (a *answers) of(l *Live, model string) (ok, lora bool) {
	s := l.served.Load()
	if s == nil || s.models == nil {
		return true, false
	}
	if !a.known || a.digest != s.digest {
		a.known, a.digest = true, s.digest
		a.ok, a.lora = s.serves(model)
	}
	return a.ok, a.lora
}

// InFlight is the number of requests this picker has sent here and not seen the
// end of.
func (l *Live) InFlight() int64 { return l.inFlight.Load() }

// Slot is the number by which a prefix.Index knows the model server: 0 until a Picker
// had it in a snapshot.
func (l *Live) Slot() int { return int(l.slot.Load()) }

// Begin counts a request that is sent here.
func (l *Live) Begin() { l.inFlight.Add(1) }

// End counts a request that is over.
func (l *Live) End() { l.inFlight.Add(-1) }

// Report stores what the model server said.
func (l *Live) Report(load Load) { l.load.Store(&load) }

// Serve stores the names the model server answers to; m is not changed after.
func (l *Live) Serve(m Models) { l.served.Store(&served{m, m.digest(), true}) }

// Doubt notes that the model server did not tell its names when it was asked
// last: those it told before are kept, and prove nothing any more.
func (l *Live) Doubt() {
	if s := l.served.Load(); s != nil && s.sure {
		l.served.Store(&served{s.models, s.digest, false})
	}
}

// models are the names told last, nil when none ever were.
func (l *Live) models() Models {
	if s := l.served.Load(); s != nil {
		return s.models
	}
	return nil
}

// Serves tells whether the model server answers to name, as far as is known:
// true when the name is empty or the server never said what it answers to.
func (l *Live) Serves(name string) bool {
	serves, _ := l.served.Load().serves(name)
	return serves
}

// serves tells in one look also whether name is a LoRA adapter there.
func (s *served) serves(name string) (ok, lora bool) {
	if s == nil || s.models == nil || name == "" {
		return true, false
	}
	lora, ok = s.models[name]
	return ok, lora
}

// lacks tells whether the model server is known not to answer to name: it said so
// when it was asked last, and its load is no older than maxAge.
func (l *Live) lacks(name string, now time.Time, maxAge time.Duration) bool {
	s, load := l.served.Load(), l.load.Load()
	if s == nil || !s.sure || load == nil || now.Sub(load.At) > maxAge {
		return false
	}
	_, ok := s.models[name]
	return !ok
}

// adapter tells how ready the model server is for a request of a LoRA adapter.
func (l *Load) adapter(name string) Adapter {
	switch {
	case l.MaxAdapters <= 0:
		return NoAdapter
	case slices.Contains(l.ActiveAdapters, name):
		return AdapterActive
	case slices.Contains(l.QueuedAdapters, name):
		return AdapterLoading
	case l.adapters() < l.MaxAdapters:
		return AdapterRoom
	default:
		return AdapterFull
	}
}

// adapters counts the distinct adapters: vLLM can name one as running and as
// waiting (llm-d-router issue 2605).
func (l *Load) adapters() int {
	n := len(l.ActiveAdapters)
	for _, name := range l.QueuedAdapters {
		if !slices.Contains(l.ActiveAdapters, name) {
			n++
		}
	}
	return n
}

// Adapter is how ready a model server is for the adapter that a request names.
type Adapter uint8

// NoAdapter: the request names none, or the server does not tell. Then from
// best to worst: it is in the batch now; requests wait for it to be loaded;
// there is a free slot; another one must go first.
const (
	NoAdapter Adapter = iota
	AdapterActive
	AdapterLoading
	AdapterRoom
	AdapterFull
)

// String returns the readiness as log lines name it.
func (a Adapter) String() string {
	switch a {
	case AdapterActive:
		return "active"
	case AdapterLoading:
		return "loading"
	case AdapterRoom:
		return "room"
	case AdapterFull:
		return "full"
	default:
		return "none"
	}
}

// View is an endpoint's load as scorers see it, the correction made.
type View struct {
	Outstanding float64 // requests running or waiting there, ours and others'
	Waiting     float64 // of these, in the model server's queue when it last spoke
	KVCache     float64 // share of the KV cache in use, 0 to 1
	Adapter     Adapter // of the model the request names
	Missing     float64 // share of the prompt's beginning that it would have to compute, 0 to 1
}

// View corrects the last answer by what this picker has begun and ended since.
// fresh is false when there is no answer younger than maxAge; then only our own
// requests are known.
func (l *Live) View(model string, now time.Time, maxAge time.Duration) (v View, fresh bool) {
	_, lora := l.served.Load().serves(model)
	return l.view(model, lora, now, maxAge, 1)
}

// view is View for a model that is an adapter of the endpoint (lora) or not, among
// gain pickers, this one included: each is taken to have begun and ended as much as
// this one did. Where requests wait, what comes and goes makes the queue longer and
// shorter.
func (l *Live) view(model string, lora bool, now time.Time, maxAge time.Duration, gain float64) (v View, fresh bool) {
	own := float64(l.inFlight.Load())
	load := l.load.Load()
	if load == nil || now.Sub(load.At) > maxAge {
		return View{Outstanding: own}, false
	}
	since := gain * (own - float64(load.InFlight))
	v = View{Outstanding: max(own, load.Running+load.Waiting+since), Waiting: load.Waiting, KVCache: load.KVCache}
	if v.Waiting > 0 {
		v.Waiting = max(0, v.Waiting+since)
	}
	if lora {
		v.Adapter = load.adapter(model)
	}
	return v, true
}

// queued is the length of the queue as the model server said it last: shedding does
// not go by guesses.
func (l *Live) queued() float64 {
	if load := l.load.Load(); load != nil {
		return load.Waiting
	}
	return 0
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
		if s.Endpoints[i].available() {
			n++
		}
	}
	return n
}

// Serving counts the endpoints that may be picked by the models that they answer
// to, as they said last.
func (s *Snapshot) Serving() map[string]int {
	counts := map[string]int{}
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.available() {
			for name := range e.Live.models() {
				counts[name]++
			}
		}
	}
	return counts
}

// Knows tells whether any model server answers to name; told is false when none
// said what it answers to.
func (s *Snapshot) Knows(name string) (known, told bool) {
	for i := range s.Endpoints {
		models := s.Endpoints[i].Live.models()
		told = told || models != nil
		if _, ok := models[name]; ok {
			return true, true
		}
	}
	return false, told
}
