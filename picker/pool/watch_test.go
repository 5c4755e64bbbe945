package pool

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"reflect"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// cluster runs a Watcher against fakes.
type cluster struct {
	t         *testing.T
	core      *fake.Clientset
	pools     *dynamicfake.FakeDynamicClient
	group     string
	snapshots chan *picker.Snapshot
	synced    chan struct{}
	watching  chan string // resources, as their watches are open: fakes lose what comes before
}

func newCluster(t *testing.T, change ...func(*Watcher)) *cluster {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{kindOf(GroupV1): "InferencePoolList", kindOf(GroupAlpha): "InferencePoolList"}
	c := &cluster{
		t: t, core: fake.NewClientset(), pools: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists),
		snapshots: make(chan *picker.Snapshot, 1000), synced: make(chan struct{}, 10),
		watching: make(chan string, 100),
	}
	c.announce(&c.core.Fake, c.core.Tracker())
	c.announce(&c.pools.Fake, c.pools.Tracker())
	w := &Watcher{
		Pools: c.pools, Core: c.core, Group: GroupV1, Namespace: "ns", Name: "qwen", Log: discard(),
		Publish: func(s *picker.Snapshot) { c.snapshots <- s },
		Synced:  func() { c.synced <- struct{}{} },
	}
	for _, f := range change {
		f(w)
	}
	c.group = w.Group
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	if w.Fixed == nil {
		c.watches("inferencepools")
	}
	return c
}

func kindOf(group string) schema.GroupVersionResource {
	version := "v1"
	if group == GroupAlpha {
		version = "v1alpha2"
	}
	return schema.GroupVersionResource{Group: group, Version: version, Resource: "inferencepools"}
}

func (c *cluster) pool() dynamic.ResourceInterface {
	return c.pools.Resource(kindOf(c.group)).Namespace("ns")
}

// object is a pool as the API server has it.
func (c *cluster) object(spec any) *unstructured.Unstructured {
	c.t.Helper()
	text, err := json.Marshal(spec)
	c.check(err)
	u := &unstructured.Unstructured{Object: map[string]any{}}
	var fields map[string]any
	c.check(json.Unmarshal(text, &fields))
	u.Object["spec"] = fields
	kind := kindOf(c.group)
	u.SetAPIVersion(kind.GroupVersion().String())
	u.SetKind("InferencePool")
	u.SetNamespace("ns")
	u.SetName("qwen")
	return u
}

// announce tells of every watch once the tracker has it.
func (c *cluster) announce(f *clienttesting.Fake, tracker clienttesting.ObjectTracker) {
	f.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		w, err := tracker.Watch(a.GetResource(), a.GetNamespace())
		c.watching <- a.GetResource().Resource
		return true, w, err
	})
}

func (c *cluster) watches(resource string) {
	c.t.Helper()
	until(c.t, c.watching, "a watch of "+resource, func(r string) bool { return r == resource })
}

func (c *cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) addPool(spec any) {
	c.t.Helper()
	_, err := c.pool().Create(c.t.Context(), c.object(spec), metav1.CreateOptions{})
	c.check(err)
}

func (c *cluster) changePool(spec any) {
	c.t.Helper()
	_, err := c.pool().Update(c.t.Context(), c.object(spec), metav1.UpdateOptions{})
	c.check(err)
}

func (c *cluster) addPod(p *corev1.Pod) {
	c.t.Helper()
	_, err := c.core.CoreV1().Pods("ns").Create(c.t.Context(), p, metav1.CreateOptions{})
	c.check(err)
}

func (c *cluster) expect(want ...string) *picker.Snapshot {
	c.t.Helper()
	return until(c.t, c.snapshots, "a snapshot of the right endpoints", func(s *picker.Snapshot) bool {
		return reflect.DeepEqual(values(s), append([]string{}, want...))
	})
}

func TestWatcherFollowsPoolAndPods(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.expect() // no pool yet
	c.addPod(newPod("a", "10.0.0.1"))
	c.addPool(newSpec(8000))
	first := c.expect("10.0.0.1:8000")
	first.Endpoints[0].Live.Begin()
	<-c.synced
	c.watches("pods")

	c.addPod(newPod("b", "10.0.0.2", notReady))
	c.expect("10.0.0.1:8000", "!10.0.0.2:8000")
	_, err := c.core.CoreV1().Pods("ns").Update(t.Context(), newPod("b", "10.0.0.2"), metav1.UpdateOptions{})
	c.check(err)
	c.expect("10.0.0.1:8000", "10.0.0.2:8000")

	c.changePool(newSpec(8000, 8001))
	both := c.expect("10.0.0.1:8000", "10.0.0.1:8001", "10.0.0.2:8000", "10.0.0.2:8001")
	if both.Endpoints[0].Live.InFlight() != 1 {
		t.Error("the endpoint lost its count when the pool changed")
	}
	c.check(c.core.CoreV1().Pods("ns").Delete(t.Context(), "a", metav1.DeleteOptions{}))
	c.expect("10.0.0.2:8000", "10.0.0.2:8001")
	c.check(c.pool().Delete(t.Context(), "qwen", metav1.DeleteOptions{}))
	c.expect()
	c.addPool(newSpec(8000))
	c.expect("10.0.0.2:8000")
	if len(c.synced) != 0 {
		t.Error("synced was called twice")
	}
}

func TestWatcherKeepsItsEndpointsUntilThoseOfANewSelectorAreListed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.addPod(newPod("old", "10.0.0.1"))
	c.addPod(newPod("new", "10.0.0.2", func(p *corev1.Pod) { p.Labels["app"] = "next" }))
	c.addPool(newSpec(8000))
	c.expect("10.0.0.1:8000")
	changed := newSpec(9000)
	changed.Selector.MatchLabels["app"] = "next"
	c.changePool(changed)
	until(t, c.snapshots, "the new selector's endpoints", func(s *picker.Snapshot) bool {
		got := values(s)
		if len(got) != 1 {
			t.Errorf("in between: %q", got)
		}
		return reflect.DeepEqual(got, []string{"10.0.0.2:9000"})
	})
}

func TestWatcherFollowsAPoolOfV1alpha2(t *testing.T) {
	t.Parallel()
	c := newCluster(t, func(w *Watcher) { w.Group = GroupAlpha })
	c.addPod(newPod("a", "10.0.0.1"))
	c.addPod(newPod("other", "10.0.0.2", func(p *corev1.Pod) { p.Labels["app"] = "next" }))
	c.addPool(map[string]any{"selector": map[string]string{"app": "qwen"}, "targetPortNumber": 8000})
	c.expect("10.0.0.1:8000")
	<-c.synced
	c.changePool(map[string]any{"selector": map[string]string{"app": "next"}, "targetPortNumber": 9000})
	c.expect("10.0.0.2:9000")
	c.check(c.pool().Delete(t.Context(), "qwen", metav1.DeleteOptions{}))
	c.expect()
}

func TestWatcherFollowsPodsWithoutAPool(t *testing.T) {
	t.Parallel()
	spec := newSpec(8000, 8001)
	c := newCluster(t, func(w *Watcher) { w.Fixed = &spec })
	c.expect()
	<-c.synced
	c.watches("pods")
	c.addPod(newPod("a", "10.0.0.1"))
	c.expect("10.0.0.1:8000", "10.0.0.1:8001")
	if len(c.pools.Actions()) > 0 {
		t.Errorf("pools were asked for: %v", c.pools.Actions())
	}
}

func TestWatcherAsksForOnePoolAndForSelectedPodsOnly(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.addPool(newSpec(8000))
	<-c.synced
	asked := func(actions []clienttesting.Action) (pools, pods bool) {
		for _, a := range actions {
			list, ok := a.(clienttesting.ListAction)
			if !ok {
				continue
			}
			pools = pools || list.GetListRestrictions().Fields.String() == "metadata.name=qwen" && a.GetNamespace() == "ns"
			pods = pods || list.GetListRestrictions().Labels.String() == "app=qwen" && a.GetNamespace() == "ns"
		}
		return pools, pods
	}
	if pools, _ := asked(c.pools.Actions()); !pools {
		t.Error("pools were not asked for by name")
	}
	if _, pods := asked(c.core.Actions()); !pods {
		t.Error("pods were not asked for by selector")
	}
}
