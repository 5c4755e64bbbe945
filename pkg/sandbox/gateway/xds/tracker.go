package xds

import (
	"maps"
	"strconv"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// tracker knows which resource versions Envoy has acknowledged, from the delta
// requests and responses of its stream.
type tracker struct {
	mu      sync.Mutex
	stream  int64                        // the newest one
	held    map[string]map[string]string // type URL → name → version
	sent    map[string]*discoveryv3.DeltaDiscoveryResponse
	refused map[string]string // snapshot version → Envoy's words
	changed chan struct{}     // closed and replaced at every change
}

func newTracker() *tracker {
	t := &tracker{refused: map[string]string{}, changed: make(chan struct{})}
	t.reset(0)
	return t
}

func (t *tracker) reset(stream int64) {
	t.stream = stream
	t.held = map[string]map[string]string{clusterType: {}, endpointType: {}, listenerType: {}, routeType: {}}
	t.sent = map[string]*discoveryv3.DeltaDiscoveryResponse{}
}

// lost forgets what the newest stream acknowledged.
func (t *tracker) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset(t.stream)
	close(t.changed)
	t.changed = make(chan struct{})
}

// answered notes a response that is about to be sent.
func (t *tracker) answered(stream int64, response *discoveryv3.DeltaDiscoveryResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stream == t.stream {
		t.sent[response.GetNonce()] = response
	}
}

// asked reads a request: a new subscription, an ACK or a NACK.
func (t *tracker) asked(stream int64, request *discoveryv3.DeltaDiscoveryRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stream < t.stream {
		return
	}
	if stream > t.stream {
		t.reset(stream)
	}
	held := t.held[request.GetTypeUrl()]
	if held == nil {
		return
	}
	maps.Copy(held, request.GetInitialResourceVersions())
	for _, name := range request.GetResourceNamesUnsubscribe() {
		delete(held, name)
	}
	if response := t.sent[request.GetResponseNonce()]; response != nil {
		delete(t.sent, request.GetResponseNonce())
		t.settle(held, response, request)
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *tracker) settle(held map[string]string, response *discoveryv3.DeltaDiscoveryResponse, request *discoveryv3.DeltaDiscoveryRequest) {
	refusal := request.GetErrorDetail()
	for _, r := range response.GetResources() {
		if refusal == nil {
			held[r.GetName()] = r.GetVersion()
		} else { // Envoy may have kept some of them
			delete(held, r.GetName())
		}
	}
	for _, name := range response.GetRemovedResources() {
		delete(held, name)
	}
	if refusal != nil {
		t.refused[response.GetSystemVersionInfo()] = refusal.GetMessage()
	}
}

// forget drops an old refusal before a snapshot is offered (again).
func (t *tracker) forget(version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.refused, version)
}

// state answers whether Envoy holds all of a snapshot, its words if it refused
// some, and a channel that is closed at the next change.
func (t *tracker) state(snapshot *cache.Snapshot, version string) (acknowledged bool, refusal string, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if words, no := t.refused[version]; no {
		return false, words, t.changed
	}
	for typeURL, held := range t.held {
		wanted := snapshot.GetVersionMap(typeURL)
		for name, v := range wanted {
			if held[name] != v {
				return false, "", t.changed
			}
		}
		// Clusters and listeners are subscribed to as a whole: one too many is
		// one that Envoy has not removed yet.
		if (typeURL == clusterType || typeURL == listenerType) && len(held) != len(wanted) {
			return false, "", t.changed
		}
	}
	return true, "", t.changed
}

// summary says, for an error, how many resources of each type Envoy holds.
func (t *tracker) summary() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stream == 0 {
		return "Envoy has not connected"
	}
	return "Envoy holds " + strconv.Itoa(len(t.held[listenerType])) + " listeners, " +
		strconv.Itoa(len(t.held[clusterType])) + " clusters, " +
		strconv.Itoa(len(t.held[routeType])) + " route tables"
}
