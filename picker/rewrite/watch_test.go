package rewrite

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
)

// served is discovery that knows the kinds of these groups.
type served struct {
	discovery.ServerResourcesInterface
	groups map[string]error
}

func (s served) ServerResourcesForGroupVersion(version string) (*metav1.APIResourceList, error) {
	err, ok := s.groups[version]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, version)
	}
	return &metav1.APIResourceList{APIResources: []metav1.APIResource{{Name: "inferencemodels"}, {Name: "inferencemodelrewrites"}}}, err
}

func TestWatcherPublishesBeforeItIsSynced(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "inferencemodelrewrites"}, "", errors.New("no"))
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "inference.networking.x-k8s.io/v1alpha2", "kind": "InferenceModel",
		"metadata": map[string]any{"name": "chat", "namespace": "ns"},
		"spec":     map[string]any{"modelName": "chat", "poolRef": map[string]any{"name": "p"}, "targetModels": []any{map[string]any{"name": "a"}}},
	}}
	for rule, tc := range map[string]struct {
		groups map[string]error
		forbid bool
		want   int // targets
	}{
		"no kind is served":                  {nil, false, 0},
		"both groups":                        {map[string]error{"inference.networking.x-k8s.io/v1alpha2": nil, "llm-d.ai/v1alpha2": nil}, false, 1},
		"a kind that may not be read is let": {map[string]error{"inference.networking.x-k8s.io/v1alpha2": nil}, true, 1},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			lists := map[schema.GroupVersionResource]string{}
			for _, kind := range kinds() {
				lists[kind] = "List"
			}
			client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, object)
			if tc.forbid {
				client.PrependReactor("list", "inferencemodelrewrites", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden })
			}
			var last atomic.Pointer[Table]
			synced := make(chan int, 1)
			w := &Watcher{
				Discovery: served{groups: tc.groups}, Dynamic: client, Namespace: "ns", Pool: Pool{groupV1, "p"}, Clock: clock.RealClock{},
				Publish: last.Store,
				Synced:  func() { synced <- len(last.Load().Targets()) },
				Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			ended := make(chan struct{})
			go func() { defer close(ended); w.Run(ctx) }()
			select {
			case n := <-synced:
				if n != tc.want {
					t.Errorf("%d targets", n)
				}
			case <-ctx.Done():
				t.Error("never synced")
			}
			cancel()
			<-ended
		})
	}
}
