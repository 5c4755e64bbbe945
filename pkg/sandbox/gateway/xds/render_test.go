package xds

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pool(name string, failOpen bool) translate.Backend {
	return translate.Backend{
		Name:      "pool/default/" + name,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.9.2.1:8000")},
		Picker:    &translate.Picker{Name: "picker/default/" + name, Authority: name, FailOpen: failOpen},
	}
}

// irOf is one listener whose only route shares between the backends.
func irOf(backends ...translate.Backend) translate.IR {
	route := translate.Route{Name: "r"}
	for i, b := range backends {
		route.Members = append(route.Members, translate.Member{Weight: uint32(i + 1), Ref: "default/x", Backend: b.Name, Picker: b.Name})
	}
	return translate.IR{Backends: backends, Listeners: []translate.Listener{{
		Name: "default/gw/8080", Address: netip.MustParseAddrPort("127.9.1.1:8080"),
		Hosts: []translate.VirtualHost{{Domain: "*", Routes: []translate.Route{route}}},
	}}}
}

func render(t *testing.T, ir translate.IR) *Snapshot {
	t.Helper()
	s, err := Render(ir, Settings{BodyRouter: netip.MustParseAddrPort("127.9.0.4:9004"), AccessLog: "/tmp/access.json"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.cached(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheVersionIsTheContent(t *testing.T) {
	t.Parallel()
	one, same, other := render(t, irOf(pool("a", false))), render(t, irOf(pool("a", false))), render(t, irOf(pool("a", true)))
	if one.Version != same.Version || one.Version == other.Version {
		t.Errorf("versions %s, %s, %s", one.Version, same.Version, other.Version)
	}
}

func TestTheListenerDoesNotKnowRoutesOrPools(t *testing.T) {
	t.Parallel()
	one, other := render(t, irOf(pool("a", false))), render(t, irOf(pool("a", true), pool("b", false)))
	if !proto.Equal(one.resources[listenerType]["default/gw/8080"], other.resources[listenerType]["default/gw/8080"]) {
		t.Error("the listener changed with the pools: running streams would be cut")
	}
}

func TestEachMemberNamesItsOwnPicker(t *testing.T) {
	t.Parallel()
	s := render(t, irOf(pool("a", false), pool("b", true), translate.Backend{Name: "service/default/c/80"}))
	config := s.resources[routeType]["default/gw/8080"].(*routev3.RouteConfiguration)
	want := []struct {
		picker   string
		failOpen bool
	}{{"picker/default/a", false}, {"picker/default/b", true}, {"", false}}
	for i, member := range config.VirtualHosts[0].Routes[0].GetRoute().GetWeightedClusters().Clusters {
		override := &procv3.ExtProcPerRoute{}
		if packed := member.TypedPerFilterConfig[filterPicker]; packed != nil {
			if err := packed.UnmarshalTo(override); err != nil {
				t.Fatal(err)
			}
		}
		o := override.GetOverrides()
		if o.GetGrpcService().GetEnvoyGrpc().GetClusterName() != want[i].picker || o.GetFailureModeAllow().GetValue() != want[i].failOpen {
			t.Errorf("member %s: override %v", member.Name, o)
		}
	}
	for _, name := range []string{"picker/default/a", "picker/default/b", clusterUnset} {
		if _, present := s.resources[clusterType][name]; !present {
			t.Errorf("no cluster %s", name)
		}
	}
}

func TestValuesAreNotEnvoyFormats(t *testing.T) {
	t.Parallel()
	if got := escapeFormat("100%, %REQ(x)%"); got != "100%%, %%REQ(x)%%" {
		t.Errorf("got %q", got)
	}
}

func TestAClusterLingersAfterItsLastRoute(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	both, one := render(t, irOf(pool("a", false), pool("b", false))), render(t, irOf(pool("a", false)))
	s := &Server{good: both, retired: map[string]time.Time{}, now: func() time.Time { return now }}
	for _, row := range []struct {
		rule  string
		after time.Duration
		push  *Snapshot
		has   bool
	}{
		{"dropped just now: still there", 0, one, true},
		{"within the time: still there", linger - time.Second, one, true},
		{"wanted again: there", 0, both, true},
		{"dropped again: its time starts anew", linger, one, true},
		{"after the time: gone", linger, one, false},
		{"and it stays gone", 0, one, false},
	} {
		now = now.Add(row.after)
		full, err := s.withRetired(row.push)
		if err != nil {
			t.Fatal(err)
		}
		s.good = full
		cluster, has := full.resources[clusterType]["pool/default/b"].(*clusterv3.Cluster)
		if has != row.has {
			t.Errorf("%s: got %v %v", row.rule, has, cluster)
		}
		if _, err := full.cached(); err != nil {
			t.Errorf("%s: %v", row.rule, err)
		}
	}
}

func TestASocketPathTooLongSaysSo(t *testing.T) {
	t.Parallel()
	_, err := Listen(t.Context(), "/tmp/"+strings.Repeat("x", 120))
	if err == nil || !strings.Contains(err.Error(), "125 bytes") || hint.Of(err) == "" {
		t.Errorf("got %v", err)
	}
}
