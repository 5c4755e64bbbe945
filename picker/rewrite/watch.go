package rewrite

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Watcher keeps a Table in step with the objects of one namespace.
type Watcher struct {
	Discovery discovery.ServerResourcesInterface
	Dynamic   dynamic.Interface
	Namespace string
	Pool      Pool
	Publish   func(*Table) // called by one goroutine at a time
	Synced    func()       // called once: what there is was published
	Clock     clock.Clock
	Log       *slog.Logger
	// Every is how often the API server is asked which kinds it serves, so that a
	// CRD may come after the picker; 0 stands for 30 s.
	Every time.Duration
}

// kinds are the resources with rules, in the groups where they may be.
func kinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Group: groupAlpha, Version: "v1alpha2", Resource: "inferencemodels"},
		{Group: groupAlpha, Version: "v1alpha2", Resource: "inferencemodelrewrites"},
		{Group: groupAlpha, Version: "v1alpha2", Resource: "inferenceobjectives"},
		{Group: groupLLMD, Version: "v1alpha2", Resource: "inferencemodelrewrites"},
		{Group: groupLLMD, Version: "v1alpha2", Resource: "inferenceobjectives"},
	}
}

// Run follows until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	f := &following{Watcher: w, stores: map[schema.GroupVersionResource]cache.Store{}}
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(w.Dynamic, 0, w.Namespace, nil)
	defer factory.Shutdown()
	for synced := false; ctx.Err() == nil; {
		wait := time.Second
		if f.look(ctx, factory) {
			wait = cmp.Or(w.Every, 30*time.Second)
			if !synced {
				factory.WaitForCacheSync(ctx.Done())
				f.publish()
				synced = true
				w.Synced()
			}
		}
		timer := w.Clock.NewTimer(wait)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// look follows the kinds that are served and not followed yet; sure is false when
// the API server could not tell about one of them.
func (f *following) look(ctx context.Context, factory dynamicinformer.DynamicSharedInformerFactory) (sure bool) {
	sure = true
	for _, kind := range kinds() {
		if f.stores[kind] != nil {
			continue
		}
		readable, err := f.readable(ctx, kind)
		switch {
		case apierrors.IsForbidden(err):
			f.Log.Warn("rules of this kind have no effect: the picker may not read them", "resource", kind.GroupResource().String(), "error", err)
		case err != nil:
			f.Log.Warn("look for rules", "resource", kind.GroupResource().String(), "error", err)
			sure = false
		case readable:
			f.follow(ctx, factory, kind)
		}
	}
	return sure
}

// readable tells whether the kind is served; the error is that of reading it.
func (w *Watcher) readable(ctx context.Context, kind schema.GroupVersionResource) (bool, error) {
	list, err := w.Discovery.ServerResourcesForGroupVersion(kind.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, r := range list.APIResources {
		if r.Name == kind.Resource {
			_, err := w.Dynamic.Resource(kind).Namespace(w.Namespace).List(ctx, metav1.ListOptions{Limit: 1})
			return err == nil, err
		}
	}
	return false, nil
}

// following is the state of one Run.
type following struct {
	*Watcher
	mu     sync.Mutex
	stores map[schema.GroupVersionResource]cache.Store
}

func (f *following) follow(ctx context.Context, factory dynamicinformer.DynamicSharedInformerFactory, kind schema.GroupVersionResource) {
	informer := factory.ForResource(kind).Informer()
	f.mu.Lock()
	f.stores[kind] = informer.GetStore()
	f.mu.Unlock()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { f.publish() },
		UpdateFunc: func(any, any) { f.publish() },
		DeleteFunc: func(any) { f.publish() },
	})
	if err != nil {
		f.Log.Error("watch", "resource", kind.Resource, "error", err)
		return
	}
	f.Log.Info("following", "resource", kind.GroupResource().String())
	factory.Start(ctx.Done())
}

// publish makes a table of what is in the stores.
func (f *following) publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	var objects []Object
	for _, store := range f.stores {
		for _, item := range store.List() {
			u, ok := item.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			o, ours, err := ReadObject(u, f.Pool)
			if err != nil {
				f.Log.Warn("rule without effect", "error", err)
			}
			if ours && err == nil {
				objects = append(objects, o)
			}
		}
	}
	f.Publish(NewTable(objects))
}
