package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// Kinds that have no Go types here; each is served when its definition is
// installed.
const (
	oldPools        = "inferencepools"
	clientPolicies  = "clienttrafficpolicies"
	backendPolicies = "backendtrafficpolicies"
)

func untypedKinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Group: translate.OldPoolGroup, Version: "v1alpha2", Resource: oldPools},
		{Group: translate.PolicyGroup, Version: "v1alpha1", Resource: clientPolicies},
		{Group: translate.PolicyGroup, Version: "v1alpha1", Resource: backendPolicies},
	}
}

// untypedWatch starts an informer for each of untypedKinds once its definition
// is there.
type untypedWatch struct {
	factory dynamicinformer.DynamicSharedInformerFactory
	handler cache.ResourceEventHandler
	stop    <-chan struct{}

	mu    sync.Mutex
	kinds map[string]informers.GenericInformer // by resource
}

// watchUntyped returns when an informer was started for every kind that is
// defined now, and adds those to all.
func (c *cluster) watchUntyped(ctx context.Context, handler cache.ResourceEventHandler, all map[string]cache.SharedIndexInformer) error {
	c.untyped = &untypedWatch{
		factory: dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, 0),
		handler: handler, stop: ctx.Done(), kinds: map[string]informers.GenericInformer{},
	}
	definitions := metadatainformer.NewSharedInformerFactory(c.metadata, 0)
	informer := definitions.ForResource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")).Informer()
	registered, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: c.untyped.defined})
	if err != nil {
		return fmt.Errorf("watch customresourcedefinitions: %w", err)
	}
	definitions.Start(ctx.Done())
	c.waits = append(c.waits, definitions.Shutdown, c.untyped.factory.Shutdown)
	limited, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	if !cache.WaitForCacheSync(limited.Done(), registered.HasSynced) {
		return fmt.Errorf("list customresourcedefinitions: no answer within %s", listLimit)
	}
	c.untyped.mu.Lock()
	defer c.untyped.mu.Unlock()
	for resource, one := range c.untyped.kinds {
		all[resource] = one.Informer()
	}
	return nil
}

// defined starts the informer of a definition's kind, if it is one of ours. Its
// first list may come too early; informers try again.
func (w *untypedWatch) defined(o any) {
	definition, err := meta.Accessor(o)
	if err != nil {
		return
	}
	for _, kind := range untypedKinds() {
		if definition.GetName() != kind.GroupResource().String() {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		one := w.factory.ForResource(kind)
		if _, err := one.Informer().AddEventHandler(w.handler); err == nil {
			w.kinds[kind.Resource] = one
			w.factory.Start(w.stop)
		}
		return
	}
}

func (w *untypedWatch) lister(resource string) cache.GenericLister {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.kinds[resource]; one != nil {
		return one.Lister()
	}
	return nil
}

func (c *cluster) listUntyped(resource string) ([]*unstructured.Unstructured, error) {
	lister := c.untyped.lister(resource)
	if lister == nil {
		return nil, nil
	}
	found, err := lister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource, err)
	}
	var objects []*unstructured.Unstructured
	for _, o := range found {
		if u, ok := o.(*unstructured.Unstructured); ok {
			objects = append(objects, u)
		}
	}
	return objects, nil
}

// untypedObjects adds v1alpha2 pools and policies to o.
func (c *cluster) untypedObjects(o *translate.Objects) error {
	pools, err := c.listUntyped(oldPools)
	for _, u := range pools {
		pool, bad := translate.ConvertOldPool(u)
		if bad != nil {
			return bad // the API server checked it against its schema
		}
		o.OldPools = append(o.OldPools, pool)
	}
	clients, clientErr := c.listUntyped(clientPolicies)
	backends, backendErr := c.listUntyped(backendPolicies)
	o.Policies = append(clients, backends...)
	return errors.Join(err, clientErr, backendErr)
}

// oldPoolParent is an entry of status.parent of an InferencePool of v1alpha2.
type oldPoolParent struct {
	ParentRef  infv1.ParentReference `json:"parentRef"`
	Conditions []metav1.Condition    `json:"conditions"`
}

func (c *cluster) writeOldPools(ctx context.Context, s translate.Statuses) error {
	pools, err := c.listUntyped(oldPools)
	errs := []error{err}
	for _, pool := range pools {
		var before []oldPoolParent
		readStatus(pool, "parent", &before)
		parents := []oldPoolParent{}
		for _, w := range s.OldPools[nameOf(pool)] {
			var old []metav1.Condition
			for _, b := range before {
				if equality.Semantic.DeepEqual(b.ParentRef, w.ParentRef) {
					old = b.Conditions
				}
			}
			parent := oldPoolParent{w.ParentRef, since(old, w.Conditions, c.now())}
			parents = append(parents, parent)
		}
		waiting := len(before) == 1 && before[0].ParentRef.Kind == "Status" // the definition's default
		if len(parents) > 0 || (len(before) > 0 && !waiting) {
			errs = append(errs, c.writeUntyped(ctx, untypedKinds()[0], pool, "parent", before, parents))
		}
	}
	return errors.Join(errs...)
}

// ancestor is an entry of a policy's status.ancestors (GEP-713).
type ancestor struct {
	Ref        gwv1.ParentReference   `json:"ancestorRef"`
	Controller gwv1.GatewayController `json:"controllerName"`
	Conditions []metav1.Condition     `json:"conditions"`
}

func (c *cluster) writePolicies(ctx context.Context, s translate.Statuses) error {
	var errs []error
	for _, kind := range untypedKinds()[1:] {
		objects, err := c.listUntyped(kind.Resource)
		errs = append(errs, err)
		for _, policy := range objects {
			var before []ancestor
			readStatus(policy, "ancestors", &before)
			key := translate.PolicyKey{Kind: policy.GetKind(), NamespacedName: nameOf(policy)}
			errs = append(errs, c.writeUntyped(ctx, kind, policy, "ancestors", before, c.ancestors(before, s.Policies[key])))
		}
	}
	return errors.Join(errs...)
}

// ancestors keeps other controllers' entries and replaces ours.
func (c *cluster) ancestors(before []ancestor, wanted []translate.PolicyAncestor) []ancestor {
	var out []ancestor
	for _, a := range before {
		if !translate.Ours(string(a.Controller)) {
			out = append(out, a)
		}
	}
	for _, w := range wanted {
		group, kind, namespace := gwv1.Group(gwv1.GroupName), gwv1.Kind("Gateway"), gwv1.Namespace(w.Gateway.Namespace)
		a := ancestor{Ref: gwv1.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace, Name: gwv1.ObjectName(w.Gateway.Name)}, Controller: w.Controller}
		var old []metav1.Condition
		for _, b := range before {
			if b.Controller == a.Controller && equality.Semantic.DeepEqual(b.Ref, a.Ref) {
				old = b.Conditions
			}
		}
		a.Conditions = since(old, w.Conditions, c.now())
		out = append(out, a)
	}
	return out
}

// readStatus reads a list of status entries; what is not one reads as none.
func readStatus(o *unstructured.Unstructured, field string, into any) {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", field)
	if body, err := json.Marshal(list); err == nil {
		_ = json.Unmarshal(body, into)
	}
}

func (c *cluster) writeUntyped(ctx context.Context, kind schema.GroupVersionResource, o *unstructured.Unstructured, field string, before, after any) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	return patchStatus(ctx, kind.Resource, o, map[string]any{field: after}, c.dynamic.Resource(kind).Namespace(o.GetNamespace()).Patch)
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
