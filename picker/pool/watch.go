package pool

import (
	"context"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	inferencev1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

// Watcher keeps a snapshot in step with one InferencePool and its Pods.
type Watcher struct {
	Pools                  dynamic.Interface
	Core                   kubernetes.Interface
	Group, Namespace, Name string // of the pool
	// Fixed is the pool where there is no such object; then Pools is not asked.
	Fixed   *inferencev1.InferencePoolSpec
	Publish func(*picker.Snapshot) // called by one goroutine
	Synced  func()                 // called once: the pool and its Pods were seen
	Log     *slog.Logger
}

// Run publishes snapshots until ctx ends. A pool that does not exist, yet or any
// more, has no endpoints. While the Pods of a changed selector are being listed,
// the former ones are kept.
func (w *Watcher) Run(ctx context.Context) {
	f := &following{Watcher: w, changed: make(chan struct{}, 1)}
	defer f.stop()
	if w.Fixed != nil {
		f.changed <- struct{}{}
	} else {
		f.pools = f.watch(ctx, w.poolsByName(), &unstructured.Unstructured{})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
			f.step(ctx)
		}
	}
}

// following is the state of one Run; all of it belongs to Run's goroutine.
type following struct {
	*Watcher
	changed chan struct{} // something was seen; it may stand for many things
	pools   *store
	spec    *inferencev1.InferencePoolSpec // as the Pods in current were selected
	current *store                         // Pods that snapshots are made of
	next    *store                         // Pods of a changed selector, not complete yet
	lives   map[identity]*picker.Live
	synced  bool
}

// step brings the snapshot up to date.
func (f *following) step(ctx context.Context) {
	if f.pools != nil && !f.pools.hasSynced() {
		return
	}
	spec := f.pool()
	if spec == nil {
		f.forget()
		return
	}
	selector := selectorOf(spec).String()
	switch {
	case f.current != nil && f.current.selector == selector:
		f.next = f.next.stop()
	case f.next == nil || f.next.selector != selector:
		f.next.stop()
		f.next = f.watch(ctx, f.podsBySelector(selector), &corev1.Pod{})
		f.next.selector = selector
	}
	if f.next != nil && f.next.hasSynced() {
		f.current.stop()
		f.current, f.next = f.next, nil
	}
	if f.next == nil {
		f.spec = spec
	}
	if f.current != nil {
		f.publish()
	}
}

func (f *following) pool() *inferencev1.InferencePoolSpec {
	if f.Fixed != nil {
		return f.Fixed
	}
	for _, object := range f.pools.List() {
		if pool := object.(*inferencev1.InferencePool); pool.Name == f.Name {
			return &pool.Spec
		}
	}
	return nil
}

// forget publishes that the pool is gone.
func (f *following) forget() {
	f.Log.Warn("no such InferencePool", "namespace", f.Namespace, "name", f.Name)
	f.current, f.next = f.current.stop(), f.next.stop()
	f.spec, f.lives = nil, nil
	f.Publish(&picker.Snapshot{})
}

func (f *following) publish() {
	var pods []*corev1.Pod
	for _, object := range f.current.List() {
		pods = append(pods, object.(*corev1.Pod))
	}
	var snapshot *picker.Snapshot
	snapshot, f.lives = assemble(f.spec, pods, f.lives)
	f.Publish(snapshot)
	f.Log.Debug("endpoints changed", "endpoints", len(snapshot.Endpoints), "ready", snapshot.Ready())
	if !f.synced {
		f.synced = true
		f.Synced()
	}
}

func (f *following) stop() {
	f.pools.stop()
	f.current.stop()
	f.next.stop()
}

// GroupV1 and GroupAlpha are the API groups of InferencePools.
const (
	GroupV1    = "inference.networking.k8s.io"
	GroupAlpha = "inference.networking.x-k8s.io"
)

// poolsByName asks for the one pool by name, so that a Role that names it
// suffices.
func (w *Watcher) poolsByName() cache.ListerWatcher {
	kind := schema.GroupVersionResource{Group: GroupV1, Version: "v1", Resource: "inferencepools"}
	if w.Group == GroupAlpha {
		kind.Group, kind.Version = GroupAlpha, "v1alpha2"
	}
	pools := w.Pools.Resource(kind).Namespace(w.Namespace)
	byName := fields.OneTermEqualSelector(metav1.ObjectNameField, w.Name).String()
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = byName
			return pools.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.FieldSelector = byName
			return pools.Watch(ctx, o)
		},
	}, w.Pools)
}

func (w *Watcher) podsBySelector(selector string) cache.ListerWatcher {
	pods := w.Core.CoreV1().Pods(w.Namespace)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.LabelSelector = selector
			return pods.Watch(ctx, o)
		},
	}, w.Core)
}

// store is a list of objects that follows the API server.
type store struct {
	cache.Store
	selector  string // of the Pods in it
	hasSynced func() bool
	end       func()
}

// watch starts a store; every change in it, and its first completion, signals
// changed.
func (f *following) watch(ctx context.Context, lw cache.ListerWatcher, kind runtime.Object) *store {
	ctx, cancel := context.WithCancel(ctx)
	signal := func() {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	objects, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw,
		ObjectType:    kind,
		Transform:     trim,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { signal() },
			UpdateFunc: func(any, any) { signal() },
			DeleteFunc: func(any) { signal() },
		},
	})
	var running sync.WaitGroup
	running.Go(func() { controller.RunWithContext(ctx) })
	running.Go(func() {
		select {
		case <-controller.HasSyncedChecker().Done():
			signal()
		case <-ctx.Done():
		}
	})
	return &store{Store: objects, hasSynced: controller.HasSynced, end: func() { cancel(); running.Wait() }}
}

// stop ends the store, if there is one, and returns none.
func (s *store) stop() *store {
	if s != nil {
		s.end()
	}
	return nil
}
