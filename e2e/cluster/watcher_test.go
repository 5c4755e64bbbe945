package cluster_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// watcher is independent of every rollout: it holds watches of its own on
// routes and journals, and replays what it saw in the order in which the API
// server stored it. One etcd counts all writes, so resourceVersions tell the
// order across objects.
type watcher struct {
	mu   sync.Mutex
	seen []sight
}

// sight is one version of a route or of a journal.
type sight struct {
	version int64
	route   string // or the route whose journal it is
	journal bool
	weight  int64 // of the canary in a route: absence is 0 %
	ceiling int64 // of a journal, as its phase
	phase   string
}

// watch begins to watch, and checks the promise at every prefix of what was
// seen when the test ends. Routes of tests with foreign writers are left out.
func watch(t *testing.T) {
	t.Helper()
	w := &watcher{}
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	for _, resource := range []schema.GroupVersionResource{kube.HTTPRoutes(), {Version: "v1", Resource: "configmaps"}} {
		client := shared.s.clients.Dynamic.Resource(resource).Namespace(namespace)
		list, err := client.List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		events, err := client.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() {
			defer events.Stop()
			for event := range events.ResultChan() {
				if object, ok := event.Object.(*unstructured.Unstructured); ok {
					w.add(object)
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		done.Wait()
		w.check(t)
	})
}

func (w *watcher) add(o *unstructured.Unstructured) {
	version, err := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	name := strings.TrimPrefix(o.GetName(), "infer-httproute-")
	ours := strings.HasPrefix(name, "crash-") || strings.HasPrefix(name, "kill-") || strings.HasPrefix(name, "rough-")
	if err != nil || !ours {
		return
	}
	s := sight{version: version, route: name}
	if o.GetKind() == "HTTPRoute" {
		s.weight = max(canaryWeight(o), 0)
	} else {
		raw, _, _ := unstructured.NestedString(o.Object, "data", "record.json")
		var record struct {
			Ceiling int64
			Phase   string
		}
		if raw != "" && json.Unmarshal([]byte(raw), &record) != nil {
			record.Ceiling = -1
		}
		s.journal, s.ceiling, s.phase = true, record.Ceiling, record.Phase
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, s)
}

// check replays: no route's canary may ever be over the ceiling its journal had
// by then, nor rise once the journal said RollingBack.
func (w *watcher) check(t *testing.T) {
	t.Helper()
	slices.SortStableFunc(w.seen, func(a, b sight) int { return cmp.Compare(a.version, b.version) })
	ceilings, weights, phases := map[string]int64{}, map[string]int64{}, map[string]string{}
	raised := 0
	for _, s := range w.seen {
		if s.journal {
			ceilings[s.route], phases[s.route] = s.ceiling, s.phase
			continue
		}
		journal := strings.TrimSuffix(s.route, twinSuffix)
		if s.weight > ceilings[journal] {
			t.Errorf("route %s at version %d: canary weight %d is over the ceiling of %d", s.route, s.version, s.weight, ceilings[journal])
		}
		if s.weight > weights[s.route] {
			raised++
			if phases[journal] == "RollingBack" || phases[journal] == "RolledBack" {
				t.Errorf("route %s at version %d: canary weight rose to %d while %s", s.route, s.version, s.weight, phases[journal])
			}
		}
		weights[s.route] = s.weight
	}
	t.Logf("watcher: %d versions of %d routes, %d raises", len(w.seen), len(weights), raised)
	if raised == 0 {
		t.Error("the watcher saw no raise")
	}
}
