package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
)

// exchange is what Envoy answers to one response of each resource type.
type exchange struct {
	rule    string
	act     func(*tracker)
	held    bool
	refusal string
}

func allTypes() []string { return []string{clusterType, endpointType, listenerType, routeType} }

func acknowledge(tr *tracker, types []string) {
	for _, typeURL := range types {
		tr.asked(1, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: typeURL})
	}
}

func exchanges() []exchange {
	return []exchange{
		{"nothing is answered", func(*tracker) {}, false, ""},
		{"all types are acknowledged", func(tr *tracker) {
			acknowledge(tr, allTypes())
		}, true, ""},
		{"one type is missing", func(tr *tracker) {
			acknowledge(tr, allTypes()[:3])
		}, false, ""},
		{"one type is refused", func(tr *tracker) {
			tr.asked(1, &discoveryv3.DeltaDiscoveryRequest{
				TypeUrl: routeType, ResponseNonce: routeType, ErrorDetail: &status.Status{Message: "bad route"},
			})
		}, false, "bad route"},
		{"a new stream begins with nothing", func(tr *tracker) {
			acknowledge(tr, allTypes())
			tr.asked(2, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusterType})
		}, false, ""},
		{"a late acknowledgement of an old stream counts for nothing", func(tr *tracker) {
			tr.asked(2, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusterType})
			acknowledge(tr, allTypes())
		}, false, ""},
		{"what a new stream says it holds counts", func(tr *tracker) {
			for _, typeURL := range allTypes() {
				versions := map[string]string{}
				for _, r := range tr.sent[typeURL].GetResources() {
					versions[r.GetName()] = r.GetVersion()
				}
				defer tr.asked(2, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, InitialResourceVersions: versions})
			}
		}, true, ""},
		{"a cluster too many is not yet removed", func(tr *tracker) {
			acknowledge(tr, allTypes())
			tr.held[clusterType]["old"] = "1"
		}, false, ""},
	}
}

func TestAcknowledgement(t *testing.T) {
	t.Parallel()
	for _, row := range exchanges() {
		snapshot := render(t, irOf(pool("a", false)))
		cached, err := snapshot.cached()
		if err != nil {
			t.Fatal(err)
		}
		tr := newTracker()
		for _, typeURL := range allTypes() {
			tr.asked(1, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL})
			response := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: typeURL, SystemVersionInfo: snapshot.Version}
			for name, version := range cached.GetVersionMap(typeURL) {
				response.Resources = append(response.Resources, &discoveryv3.Resource{Name: name, Version: version})
			}
			tr.answered(1, response)
		}
		row.act(tr)
		held, refusal, _ := tr.state(cached, snapshot.Version)
		if held != row.held || refusal != row.refusal {
			t.Errorf("%s: held %v, refusal %q", row.rule, held, refusal)
		}
	}
}
