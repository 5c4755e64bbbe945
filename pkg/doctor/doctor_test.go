package doctor_test

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/doctor"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
)

func TestACleanSetUpHasNoFinding(t *testing.T) {
	t.Parallel()
	for name, world := range map[string]func() doctor.Snapshot{
		"the example on the sandbox":                    example,
		"two adapters of one pool, each on every pod":   lora,
		"a rollout at work":                             midway,
		"three routes on Istio that do not meet":        onIstio,
		"pools of the old group on ACK":                 oldOnACK,
		"one match on two hosts, and a path of its own": byHost,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := doctor.Check(world()); len(found) > 0 {
				t.Errorf("%+v", found)
			}
		})
	}
}

// fault is a clean set-up with one thing wrong, and the one finding it makes.
type fault struct {
	from     func() doctor.Snapshot
	seed     func(s *doctor.Snapshot)
	check    string
	severity doctor.Severity
	object   string
	why, fix string // parts of
}

func faults() map[string]fault {
	all := map[string]fault{}
	for _, some := range []map[string]fault{gatewayFaults(), routeFaults(), poolFaults(), twinFaults(), modelFaults(), rolloutFaults()} {
		maps.Copy(all, some)
	}
	return all
}

func TestEachFaultHasOneFinding(t *testing.T) {
	t.Parallel()
	for name, f := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := f.from()
			f.seed(&s)
			found := doctor.Check(s)
			if len(found) != 1 {
				t.Fatalf("%d findings: %+v", len(found), found)
			}
			got := found[0]
			if got.Check != f.check || got.Severity != f.severity || got.Object != f.object {
				t.Errorf("%+v", got)
			}
			if !strings.Contains(got.Why, f.why) || got.Fix == "" || !strings.Contains(got.Fix, f.fix) {
				t.Errorf("does not say %q and %q: %+v", f.why, f.fix, got)
			}
			if doctor.Sick(found) != (f.severity != doctor.Note) {
				t.Error("only notes leave a cluster well")
			}
		})
	}
}

// TestEveryCheckIsSeededAndDocumented: docs/doctor.md has the catalogue's rows, and
// each of its checks has a fault.
func TestEveryCheckIsSeededAndDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	seeded := map[string]bool{}
	for _, f := range faults() {
		seeded[f.check] = true
	}
	for _, c := range doctor.Catalogue() {
		if !seeded[c.Name] {
			t.Errorf("no fault is seeded for %s", c.Name)
		}
		if row := "| `" + c.Name + "` | " + c.When + " |\n"; !strings.Contains(string(page), row) {
			t.Errorf("docs/doctor.md lacks the row %s", row)
		}
		delete(seeded, c.Name)
	}
	if len(seeded) > 0 {
		t.Errorf("not in the catalogue: %v", seeded)
	}
	if rows := strings.Count(string(page), "\n| `"); rows != len(doctor.Catalogue()) {
		t.Errorf("docs/doctor.md has %d rows for %d checks", rows, len(doctor.Catalogue()))
	}
}

func gatewayFaults() map[string]fault {
	return map[string]fault{
		"the Gateway API is not installed": {example, func(s *doctor.Snapshot) {
			s.Definitions, s.Routes, s.Gateways, s.Gates = s.Definitions[1:], nil, nil, nil
		}, "definition-missing", doctor.Error, "crd/httproutes.gateway.networking.k8s.io", "nothing to move", "install"},
		"InferencePools are not installed": {
			example, func(s *doctor.Snapshot) { s.Definitions, s.Pools, s.Pickers = s.Definitions[:1], nil, nil },
			"definition-missing", doctor.Error, "crd/inferencepools." + v1, "of either group", "install",
		},
		"a version that is not known": {
			example, func(s *doctor.Snapshot) { s.Definitions[1].Versions = []string{"v1alpha1"} },
			"definition-version", doctor.Error, "crd/inferencepools." + v1, "serves v1alpha1 of it, v1", "install",
		},
		"a definition in conflict with another": {
			example, func(s *doctor.Snapshot) { s.Definitions[1].Problem = "names conflict" },
			"definition-broken", doctor.Error, "crd/inferencepools." + v1, "names conflict", "kubectl get crd",
		},
		"an old release of the Gateway API": {
			example, func(s *doctor.Snapshot) { s.Definitions[0].Bundle = "v1.0.0" },
			"definition-old", doctor.Warning, "crd/httproutes.gateway.networking.k8s.io", "release v1.0.0", "install",
		},
		"a class that is not there": {
			example, func(s *doctor.Snapshot) { s.Classes = nil },
			"gateway-class", doctor.Error, "gateway/gw", "nobody serves it", "kubectl get gatewayclasses",
		},
		"a class that no controller took": {
			example, func(s *doctor.Snapshot) { s.Classes[0].Status.Conditions = nil },
			"gateway-class", doctor.Error, "gateway/gw", "no controller", "kubectl describe gatewayclass",
		},
		"a gateway that is not programmed, whose routes are not blamed": {example, func(s *doctor.Snapshot) {
			s.Gateways[0].Status.Conditions[1] = no("Programmed", "AddressNotAssigned", "no address")
			s.Routes[0].Status.Parents = nil
		}, "gateway-status", doctor.Error, "gateway/gw", "AddressNotAssigned: no address", "kubectl describe gateway gw -n default"},
		"a gateway version on the deny-list": {
			onIstio, func(s *doctor.Snapshot) { s.Images = []string{"istio/pilot:1.30.1"} },
			"gateway-version", doctor.Warning, "gateway/gw", "istio/istio#61594", "Istio 1.32.0 or newer",
		},
		"a gateway that cannot split between pools": {example, func(s *doctor.Snapshot) {
			gateway(s, "eg", "gateway.envoyproxy.io/gatewayclass-controller")
			s.Groups = append(s.Groups, "aigateway.envoyproxy.io")
		}, "gateway-weights", doctor.Error, "httproute/chat", "cannot do", "docs/providers.md"},
		"a gateway that does not read the old group": {
			oldOnACK, func(s *doctor.Snapshot) { gateway(s, "istio", "istio.io/gateway-controller") },
			"gateway-pool-api", doctor.Error, "httproute/chat", "does not read", v1,
		},
		"an Envoy with a known crash": {
			oldOnACK, func(s *doctor.Snapshot) { s.Proxies[0].Spec.Containers[0].Image = "envoyproxy/envoy:v1.33.0@sha256:00" },
			"envoy-version", doctor.Warning, "pod/envoy-1", "CVE-2025-30157", "1.37",
		},
		"an Envoy that loses bodies between two filters": {
			oldOnACK, func(s *doctor.Snapshot) { s.Proxies[0].Spec.Containers[0].Image = "envoyproxy/envoy:v1.36.2" },
			"envoy-version", doctor.Warning, "pod/envoy-1", "envoyproxy/envoy#41654", "1.37",
		},
	}
}

func routeFaults() map[string]fault {
	qwen := []gatewayv1.HTTPRouteMatch{match(header(model, "qwen"))}
	add := func(r doctor.Route) func(*doctor.Snapshot) {
		return func(s *doctor.Snapshot) { s.Routes = append(s.Routes, r) }
	}
	older := func(r doctor.Route) doctor.Route {
		r.CreationTimestamp.Time = r.CreationTimestamp.Add(-time.Hour)
		return r
	}
	return map[string]fault{
		"a pool that is not there": {example, func(s *doctor.Snapshot) {
			s.Pools, s.Pickers, s.Gates = s.Pools[:1], s.Pickers[:1], nil
			s.Routes[0].Status.Parents[0].Conditions[1] = no("ResolvedRefs", "BackendNotFound", "x")
		}, "backend-missing", doctor.Error, "httproute/chat", "names inferencepool qwen-v2, which is not there", "kubectl get inferencepools." + v1},
		"a pool that is there in the other group": {example, func(s *doctor.Snapshot) {
			s.Routes[0].Spec.Rules[0].BackendRefs[1].Group = ptr(gatewayv1.Group(alpha))
			s.Routes[0].Status.Parents[0].Conditions[1] = no("ResolvedRefs", "BackendNotFound", "x")
		}, "backend-missing", doctor.Error, "httproute/chat", "it is there as " + v1 + " only", "group: " + v1},
		"no weight at all": {
			example, func(s *doctor.Snapshot) { s.Routes[0].Spec.Rules[0].BackendRefs[0].Weight = ptr(int32(0)) },
			"weights-zero", doctor.Error, "httproute/chat", "weight 0", "kubectl edit",
		},
		"a route for the same model that is older": {
			example, add(older(route("experiment", qwen, backend("qwen-v2", 1)))),
			"route-shadowed", doctor.Warning, "httproute/chat", "is older and has the same match", "httproute experiment",
		},
		"a route of any kind that takes the paths of models": {
			example, add(route("api", []gatewayv1.HTTPRouteMatch{path(gatewayv1.PathMatchPathPrefix, "/v1")})),
			"route-shadowed", doctor.Warning, "httproute/chat", "is narrower", "narrower",
		},
		"a rule behind another with the same match": {example, func(s *doctor.Snapshot) {
			s.Routes[0].Spec.Rules = append(s.Routes[0].Spec.Rules, gatewayv1.HTTPRouteRule{Matches: qwen, BackendRefs: []gatewayv1.HTTPBackendRef{backend("qwen-v2", 1)}})
		}, "route-shadowed", doctor.Warning, "httproute/chat", "rule 1 gets no request", "rule 1"},
		"a route with no room for another model": {example, func(s *doctor.Snapshot) {
			for range 127 {
				s.Routes[0].Spec.Rules[0].Matches = append(s.Routes[0].Spec.Rules[0].Matches, match(header(model, "m"), header("n", "x")))
			}
		}, "route-full", doctor.Warning, "httproute/chat", "128 of the 128 matches", "kubectl infer create route"},
		"a gateway that is not there": {
			example, func(s *doctor.Snapshot) { s.Routes[0].Spec.ParentRefs[0].Name = "gone" },
			"route-status", doctor.Error, "httproute/chat", "no gateway gone in namespace default", "kubectl get httproute chat",
		},
		"a route its gateway refuses": {example, func(s *doctor.Snapshot) {
			s.Routes[0].Status.Parents[0].Conditions[0] = no("Accepted", "NotAllowedByListeners", "other namespaces only")
		}, "route-status", doctor.Error, "httproute/chat", "NotAllowedByListeners", "status.parents"},
		"a route nobody reported on": {
			example, func(s *doctor.Snapshot) { s.Routes[0].Status.Parents = nil },
			"route-status", doctor.Error, "httproute/chat", "has not reported", "status.parents",
		},
		"a route that Argo CD renders": {
			example, func(s *doctor.Snapshot) {
				s.Routes[0].Owner = doctor.Owner{Tool: "Argo CD", Sign: "label", Suspend: "ignore"}
			},
			"owner", doctor.Note, "httproute/chat", "Argo CD renders it", "ignore",
		},
		"a route that Flux renders and kubectl edited": {example, func(s *doctor.Snapshot) {
			s.Routes[0].Owner = doctor.Owner{Tool: "Flux", Sign: "label", Suspend: "flux suspend", Others: []string{"kubectl-edit"}}
		}, "owner-conflict", doctor.Warning, "httproute/chat", "kubectl-edit wrote its rules since", "flux suspend"},
	}
}

func poolFaults() map[string]fault {
	tight, _ := gate.Parse("ttft p95 < 700ms")
	far, _ := gate.Parse("ttft p95 < 5s")
	return map[string]fault{
		"labels that take the other arm's pods too": {example, func(s *doctor.Snapshot) {
			s.Pools[0].Selector = map[string]string{"model": "qwen"}
			for i := range 6 {
				if i%3 != 2 {
					s.Pods[i].Labels["model"] = "qwen"
				}
			}
		}, "arms-overlap", doctor.Error, "httproute/chat", "both take pod qwen-v2-1", "kubectl edit inferencepool qwen-v2"},
		"one picker for two pools": {example, func(s *doctor.Snapshot) {
			s.Pools[1].Picker = "qwen-v1-picker"
			s.Pickers[1].Pod, s.Pickers[1].Serves = "qwen-v1-picker-1", "default/qwen-v1"
		}, "arms-one-picker", doctor.Error, "httproute/chat", "one picker, service qwen-v1-picker", "endpointPickerRef"},
		"a pool with requests and no pod": {
			example, func(s *doctor.Snapshot) { s.Pods = s.Pods[2:] },
			"pool-empty", doctor.Error, "inferencepool/qwen-v1", "takes no pod: its share", "-l app=qwen-v1",
		},
		"a canary with no ready pod": {
			example, func(s *doctor.Snapshot) {
				s.Pods[3], s.Pods[4] = pod("a", "qwen-v2", false), pod("b", "qwen-v2", false)
			},
			"pool-unready", doctor.Warning, "inferencepool/qwen-v2", "none of its 2 pods", "-l app=qwen-v2",
		},
		"a picker's Service that is not there": {
			example, func(s *doctor.Snapshot) { s.Services = s.Services[1:] },
			"picker-missing", doctor.Error, "inferencepool/qwen-v1", "is not there: its requests fail", "kubectl get services",
		},
		"a picker without a ready pod, where requests may go on": {
			example, func(s *doctor.Snapshot) { s.Pods[2], s.Pools[0].FailClose = pod("p", "qwen-v1-picker", false), false },
			"picker-unready", doctor.Warning, "inferencepool/qwen-v1", "requests go to any pod", "-l app=qwen-v1-picker",
		},
		"a picker whose metrics cannot be read, nor any gate": {example, func(s *doctor.Snapshot) {
			s.Pickers[0].Problem, s.Gates[1].Problem = "connection refused", "cannot be read"
		}, "picker-silent", doctor.Warning, "inferencepool/qwen-v1", "connection refused", "--metrics-via"},
		"a picker of another pool": {
			example, func(s *doctor.Snapshot) { s.Pickers[0].Serves = "default/llama" },
			"picker-other-pool", doctor.Error, "inferencepool/qwen-v1", "serves inferencepool default/llama", "--pool-name",
		},
		"a gateway that does not do what the picker says": {
			example, func(s *doctor.Snapshot) { s.Pickers[0].Astray = 400 },
			"picker-ignored", doctor.Error, "inferencepool/qwen-v1", "400 of 1000 answers", "kubectl infer verify split",
		},
		"a limit between two edges": {
			example, func(s *doctor.Snapshot) { s.Gates[1].Expr = tight },
			"gate-between", doctor.Warning, "httproute/chat", "above 800ms for rolling back and 500ms for promoting", "--gate 'ttft p95 < 800ms'",
		},
		"a limit that no bucket shows": {
			example, func(s *doctor.Snapshot) { s.Gates[1].Expr = far },
			"gate-outside", doctor.Error, "httproute/chat", "no bucket edge shows 5s", "1s",
		},
		"metrics of an unknown program": {
			example, func(s *doctor.Snapshot) { s.Gates[1].Problem = "the metrics are of no program that is known" },
			"gate-unread", doctor.Warning, "httproute/chat", "no program that is known", "docs/evidence.md",
		},
	}
}

func twinFaults() map[string]fault {
	return map[string]fault{
		"a pool of the old group that nobody names": {example, func(s *doctor.Snapshot) {
			old := s.Pools[0]
			old.Group = alpha
			s.Pools = append(s.Pools, old)
		}, "pool-dead", doctor.Warning, "inferencepool." + alpha + "/qwen-v1", "no route names it", "kubectl delete inferencepool." + alpha},
		"one pool in both groups, both in use": {example, func(s *doctor.Snapshot) {
			old := s.Pools[1]
			old.Group, old.Picker = alpha, ""
			s.Pools = append(s.Pools, old)
			r := route("old", []gatewayv1.HTTPRouteMatch{match(header(model, "old"))}, backend("qwen-v2", 1))
			r.Spec.Rules[0].BackendRefs[0].Group = ptr(gatewayv1.Group(alpha))
			s.Routes = append(s.Routes, r)
		}, "pool-twice", doctor.Warning, "inferencepool." + alpha + "/qwen-v2", "in both groups", "kubectl get httproutes"},
	}
}

func modelFaults() map[string]fault {
	return map[string]fault{
		"a target that some pods lack": {
			lora, func(s *doctor.Snapshot) { s.Servers[1].Models = []string{"qwen", "travel-v1"} },
			"adapter-missing", doctor.Error, "inferencemodel/travel", "travel-v2 is not loaded on 1 of 2 pods (qwen-v1-2)", "load_lora_adapter",
		},
		"some weights left out": {
			lora, func(s *doctor.Snapshot) { s.Models[0].Rules[0].Targets[1].Unset = true },
			"weights-mixed", doctor.Error, "inferencemodel/travel", "1 of 2 targets", "kubectl edit inferencemodel travel",
		},
		"a list the API server dropped": {
			lora, func(s *doctor.Snapshot) { s.Models[0].Rules[0].Targets = nil },
			"targets-none", doctor.Error, "inferencemodel/travel", "no targets", "split or targets",
		},
		"two objects for one model name": {lora, func(s *doctor.Snapshot) {
			young := s.Models[0]
			young.Type, young.Name, young.Created = "inferencemodelrewrite", "again", now().Add(time.Minute)
			s.Models = append(s.Models, young)
		}, "model-twice", doctor.Error, "inferencemodelrewrite/again", "inferencemodel/travel says", "kubectl delete inferencemodelrewrite again"},
		"a pool of the old group that is gone": {
			lora, func(s *doctor.Snapshot) { s.Models[0].Pool.Group = alpha },
			"model-dead", doctor.Warning, "inferencemodel/travel", "the pool is of " + v1, "kubectl patch inferencemodel travel",
		},
		"a pool that is not there": {
			lora, func(s *doctor.Snapshot) { s.Models[0].Pool.Name = "gone" },
			"model-no-pool", doctor.Error, "inferencemodel/travel", "pool gone is not there", "kubectl get inferencepools",
		},
		"an adapter of two base models": {lora, func(s *doctor.Snapshot) {
			s.Adapters = append(s.Adapters, doctor.Adapters{Namespace: "default", Name: "llama-adapters", Base: "llama", Names: []string{"travel-v2"}})
		}, "adapter-twice", doctor.Error, "configmap/llama-adapters", "adapter travel-v2 is of base model llama here and of qwen", "kubectl edit configmap"},
	}
}

func rolloutFaults() map[string]fault {
	gone := func(s *doctor.Snapshot) { s.Leases[0].Spec.RenewTime.Time = now().Add(-time.Hour) }
	return map[string]fault{
		"a rollout whose process died": {midway, gone, "journal-stale", doctor.Warning, "configmap/infer-httproute-chat", "ann@laptop (pid 7), is gone", "kubectl infer canary abort httproute/chat"},
		"a rollout nobody came back to": {midway, func(s *doctor.Snapshot) {
			s.Leases, s.Journals[0].Record.Updated = nil, now().Add(-49*time.Hour)
		}, "journal-stale", doctor.Warning, "configmap/infer-httproute-chat", "nobody worked on it for 49h", "kubectl infer canary status httproute/chat"},
		"a journal of a newer format": {midway, func(s *doctor.Snapshot) {
			s.Journals[0].Problem, s.Leases = "format 9 is not known", nil
			s.Journals[0].Record = rollout.Record{}
		}, "journal-unreadable", doctor.Warning, "configmap/infer-httproute-chat", "format 9", "version"},
		"a journal without its target": {midway, func(s *doctor.Snapshot) {
			s.Routes[0].StampRun, s.Journals[0].Record.Plan.Target = "", "httproute/gone"
		}, "journal-orphan", doctor.Warning, "configmap/infer-httproute-chat", "httproute/gone is not there", "kubectl delete configmap"},
		"a stamp without a journal": {
			midway, func(s *doctor.Snapshot) { s.Journals, s.Leases = nil, nil },
			"stamp-orphan", doctor.Warning, "httproute/chat", "no journal", "kubectl annotate httproute/chat -n default kubectl-infer.github.io/rollout-",
		},
		"a stamp of a rollout that is over": {midway, func(s *doctor.Snapshot) {
			s.Leases, s.Journals[0].Record.Phase, s.Journals[0].Record.Updated = nil, rollout.Promoted, now().Add(-time.Hour)
		}, "stamp-orphan", doctor.Warning, "httproute/chat", "which is over", "kubectl annotate"},
		"a lease that nobody holds any more": {midway, func(s *doctor.Snapshot) {
			gone(s)
			s.Routes[0].StampRun, s.Journals = "", nil
		}, "lease-stale", doctor.Note, "lease/infer-httproute-chat", "which is gone", "kubectl delete lease"},
		"a right that is missing": {example, func(s *doctor.Snapshot) {
			s.Rights[0].Allowed = false
			s.Unread = []doctor.Unread{{Resource: "gatewayclasses", Why: "forbidden"}}
		}, "rights", doctor.Warning, "httproute/chat", "you may not patch httproutes/chat", "kubectl infer install rbac --for httproute/chat -n default"},
		"a kind that cannot be read is held against nobody": {example, func(s *doctor.Snapshot) {
			s.Unread, s.Pods = []doctor.Unread{{Resource: "pods", Namespace: "default", Why: "forbidden"}}, []corev1.Pod{}
		}, "unread", doctor.Note, "pods", "forbidden", "kubectl auth can-i list pods -n default"},
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	t.Parallel()
	s := example()
	s.Routes[0].Owner = doctor.Owner{Tool: "Helm", Suspend: "x"}
	s.Pickers[1].Problem = "x"
	s.Services = s.Services[1:]
	var got []doctor.Severity
	for _, f := range doctor.Check(s) {
		got = append(got, f.Severity)
	}
	if len(got) != 3 || got[0] != doctor.Error || got[1] != doctor.Warning || got[2] != doctor.Note {
		t.Errorf("%v", got)
	}
}

// TestManyRoutesAreLookedAtInOneGo has as many models as a large cluster, one
// route each, of which the last is shadowed by the first.
func TestManyRoutesAreLookedAtInOneGo(t *testing.T) {
	t.Parallel()
	s := example()
	for i := range 500 {
		s.Routes = append(s.Routes, route(fmt.Sprintf("m%03d", i), []gatewayv1.HTTPRouteMatch{match(header(model, fmt.Sprint(i%499)))}, backend("qwen-v1", 1)))
	}
	found := doctor.Check(s)
	if len(found) != 1 || found[0].Object != "httproute/m499" || !strings.Contains(found[0].Why, "httproute default/m000") {
		t.Errorf("%+v", found)
	}
}
