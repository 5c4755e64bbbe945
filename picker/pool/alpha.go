package pool

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	inferencev1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
)

// alphaByName is poolsByName for inference.networking.x-k8s.io/v1alpha2.
func (w *Watcher) alphaByName() cache.ListerWatcher {
	pools := w.Alpha.Resource(schema.GroupVersionResource{
		Group: "inference.networking.x-k8s.io", Version: "v1alpha2", Resource: "inferencepools",
	}).Namespace(w.Namespace)
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
	}, w.Alpha)
}

// fromAlpha reads what matters of a v1alpha2 InferencePool: its selector is a
// flat map, and it has one port.
// Source: api/v1alpha2/inferencepool_types.go of gateway-api-inference-extension
// v0.5.1.
func fromAlpha(u *unstructured.Unstructured) (*inferencev1.InferencePool, error) {
	var alpha struct {
		Spec struct {
			Selector         map[inferencev1.LabelKey]inferencev1.LabelValue
			TargetPortNumber int32
		}
	}
	text, err := u.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(text, &alpha)
	}
	if err != nil {
		return nil, fmt.Errorf("read InferencePool %s: %w", u.GetName(), err)
	}
	p := &inferencev1.InferencePool{}
	p.Name, p.Namespace, p.UID, p.ResourceVersion = u.GetName(), u.GetNamespace(), u.GetUID(), u.GetResourceVersion()
	p.Spec.Selector.MatchLabels = alpha.Spec.Selector
	p.Spec.TargetPorts = []inferencev1.Port{{Number: inferencev1.PortNumber(alpha.Spec.TargetPortNumber)}}
	return p, nil
}
