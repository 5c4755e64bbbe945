package xds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"k8s.io/utils/ptr"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// richIR uses every field of the IR once.
func richIR() translate.IR {
	ir := irOf(pool("a", false), pool("b", true), translate.Backend{Name: "service/default/c/80", HTTP2: true})
	a := &ir.Backends[0]
	a.Picker.Endpoints, a.Picker.TLS = []netip.AddrPort{netip.MustParseAddrPort("127.9.2.9:9002")}, true
	a.Traffic = translate.Traffic{
		ConnectTimeout: time.Second, RequestsPerConnection: 10,
		Breaker: translate.Breaker{Connections: ptr.To[uint32](1), Pending: ptr.To[uint32](2), Requests: ptr.To[uint32](3), Retries: ptr.To[uint32](4), ConnectionsPerEndpoint: ptr.To[uint32](5)},
		Ejection: &translate.Ejection{
			Consecutive5xx: ptr.To[uint32](1), ConsecutiveGateway: ptr.To[uint32](2), ConsecutiveLocalOrigin: ptr.To[uint32](3), SplitLocalOrigin: true,
			Interval: time.Second, BaseEjectionTime: time.Minute, MaxEjectionPercent: ptr.To[uint32](50),
		},
	}
	shadow := translate.Backend{Name: "mirror/service/default/c/80", Mirror: true}
	ir.Backends = append(ir.Backends, shadow)
	edits := translate.HeaderEdits{Set: []translate.Header{{Name: "s", Value: "100%"}}, Add: []translate.Header{{Name: "a", Value: "1"}}, Remove: []string{"r"}}
	l := &ir.Listeners[0]
	l.BufferLimit = 1 << 20
	route := &l.Hosts[0].Routes[0]
	route.Match = translate.Match{
		PathKind: translate.PathPrefix, Path: "/v1", Method: "POST",
		Headers: []translate.ValueMatch{{Name: "x-gateway-model-name", Value: "qwen"}, {Name: "h", Value: "a|b", Regex: true}},
		Query:   []translate.ValueMatch{{Name: "q", Value: "1"}},
	}
	route.Members[0].RequestHeaders, route.Members[0].Host = edits, "backend.example.com"
	route.RequestHeaders, route.ResponseHeaders = edits, edits
	route.Rewrite = translate.Rewrite{Host: "x", Path: translate.PathEdit{Kind: translate.ReplacePrefix, Path: "/v2"}}
	route.Mirrors = []translate.Mirror{{Backend: shadow.Name, Numerator: 333_333}}
	route.Retry = &translate.Retry{Attempts: 2, Codes: []uint32{503}, Backoff: time.Second}
	route.Timeout, route.BackendTimeout = time.Minute, time.Second
	l.Hosts[0].Routes = append(l.Hosts[0].Routes,
		translate.Route{Name: "exact", Match: translate.Match{PathKind: translate.PathExact, Path: "/x"}, Redirect: &translate.Redirect{Scheme: "https", Host: "y", Port: 443, Code: 301}},
		translate.Route{Name: "regex", Match: translate.Match{PathKind: translate.PathRegex, Path: "/z.*"}, Members: []translate.Member{{Weight: 1, Ref: "default/gone"}}},
		translate.Route{Name: "none"},
	)
	return ir
}

// TestGolden holds still what Envoy is given for it, both ways to talk to
// pickers. To accept a new one, run it with UPDATE_GOLDEN=1 and read the
// difference.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, mode := range []PickerMode{PickerBuffered, PickerFullDuplex} {
		s, err := Render(richIR(), Settings{BodyRouter: netip.MustParseAddrPort("127.9.0.4:9004"), AccessLog: "/tmp/access.json", PickerMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]map[string]any{}
		for kind, resources := range s.resources {
			all[kind] = map[string]any{}
			for name, resource := range resources {
				text, err := protojson.Marshal(resource)
				if err != nil {
					t.Fatal(err)
				}
				var object any // protojson's spaces differ from run to run
				if err := json.Unmarshal(text, &object); err != nil {
					t.Fatal(err)
				}
				all[kind][name] = object
			}
		}
		got, err := json.MarshalIndent(all, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := "testdata/" + string(mode) + ".json"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what comes out now: %s", file, firstDifference(want, got))
		}
	}
}

func firstDifference(want, got []byte) string {
	was, is := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			return fmt.Sprintf("line %d is %q, was %q", i+1, is[i], was[i])
		}
	}
	return fmt.Sprintf("%d lines, were %d", len(is), len(was))
}
