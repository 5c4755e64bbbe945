package adapters

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Watcher follows the labelled ConfigMaps of a namespace, or of all.
type Watcher struct {
	Client    kubernetes.Interface
	Namespace string // "" is all of them
	// Changed is called by one goroutine, with every new Map. synced says that
	// all ConfigMaps were seen, or that we may not see them: err then says so.
	Changed func(m *Map, synced bool, err error)
	Log     *slog.Logger

	current atomic.Pointer[Map]
}

// BaseModel implements bodyrouter.BaseModels, from any goroutine.
func (w *Watcher) BaseModel(name string) (string, bool) {
	if m := w.current.Load(); m != nil {
		return m.BaseModel(name)
	}
	return "", false
}

// Run follows the ConfigMaps until ctx ends. When the API server goes away, the
// last Map stays.
func (w *Watcher) Run(ctx context.Context) {
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	var lists []*list
	for _, label := range Labels() {
		l := w.list(label, signal)
		lists = append(lists, l)
		running.Go(func() { l.informer.RunWithContext(ctx) })
		running.Go(func() {
			select {
			case <-l.informer.HasSyncedChecker().Done():
				signal()
			case <-ctx.Done():
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			w.publish(lists)
		}
	}
}

// list is the ConfigMaps with one label.
type list struct {
	informer cache.SharedIndexInformer
	denied   atomic.Pointer[error] // of the last try
}

func (w *Watcher) list(label string, signal func()) *list {
	maps, selector := w.Client.CoreV1().ConfigMaps(w.Namespace), label+"=true"
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return maps.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.LabelSelector = selector
			return maps.Watch(ctx, o)
		},
	}, w.Client)
	l := &list{informer: cache.NewSharedIndexInformer(lw, &corev1.ConfigMap{}, 0, cache.Indexers{})}
	// Errors come from an informer that already runs: these calls cannot fail.
	_ = l.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		w.Log.Warn("cannot follow adapter ConfigMaps", "label", label, "error", err)
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			l.denied.Store(&err)
			signal()
		}
	})
	_ = l.informer.SetTransform(func(object any) (any, error) {
		if m, ok := object.(*corev1.ConfigMap); ok {
			m.ManagedFields, m.Annotations, m.BinaryData = nil, nil, nil
		}
		return object, nil
	})
	_, _ = l.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { signal() },
		UpdateFunc: func(any, any) { signal() },
		DeleteFunc: func(any) { signal() },
	})
	return l
}

// publish builds the Map of what is known.
func (w *Watcher) publish(lists []*list) {
	synced, denied := true, error(nil)
	seen := map[string]Source{} // a ConfigMap may have both labels
	for _, l := range lists {
		if !l.informer.HasSynced() {
			if err := l.denied.Load(); err != nil {
				denied = *err
			} else {
				synced = false
			}
		}
		for _, object := range l.informer.GetStore().List() {
			m := object.(*corev1.ConfigMap)
			s := Source{Namespace: m.Namespace, Name: m.Name, Created: m.CreationTimestamp.Time, Data: m.Data}
			seen[s.String()] = s
		}
	}
	sources := make([]Source, 0, len(seen))
	for _, s := range seen {
		sources = append(sources, s)
	}
	next, last := Build(sources), w.current.Load()
	if last == nil || !next.Equal(last) {
		w.report(next)
	}
	w.current.Store(next)
	w.Changed(next, synced, denied)
}

func (w *Watcher) report(m *Map) {
	w.Log.Info("adapter map", "names", m.Len(), "conflicts", len(m.Conflicts), "invalid", len(m.Invalid))
	for _, line := range m.Conflicts {
		w.Log.Warn("adapter conflict", "detail", line)
	}
	for _, line := range m.Invalid {
		w.Log.Warn("adapter ConfigMap left out", "detail", line)
	}
}
