package translate

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The GatewayClass controllerNames this gateway answers to: its own, and the
// one that the ACK guides' manifests carry.
const (
	ControllerName    = "kubectl-infer.github.io/sandbox-gateway"
	ControllerNameACK = "gateway.envoyproxy.io/gatewayclass-controller"
)

// Ours reports whether a GatewayClass controllerName is this gateway's.
func Ours(name string) bool { return name == ControllerName || name == ControllerNameACK }

// Objects is everything Translate looks at. Order carries no meaning.
type Objects struct {
	Classes    []*gwv1.GatewayClass
	Gateways   []*gwv1.Gateway
	Routes     []*gwv1.HTTPRoute
	Grants     []*gwv1.ReferenceGrant
	Pools      []*infv1.InferencePool
	OldPools   []*infv1.InferencePool // of v1alpha2, as ConvertOldPool gives them
	Policies   []*unstructured.Unstructured
	Services   []*corev1.Service
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	// Addresses holds the address given to each of our Gateways.
	Addresses map[types.NamespacedName]netip.Addr
	// FirstPort is the lowest port that may be bound; 0 stands for 1024.
	FirstPort int32
	// Defects make this gateway wrong on purpose.
	Defects Defects
}

// Statuses is what each object's status should say once Envoy has acknowledged
// the IR that came with it. Conditions carry no transition time.
type Statuses struct {
	Classes  map[string][]metav1.Condition
	Gateways map[types.NamespacedName]gwv1.GatewayStatus
	Routes   map[types.NamespacedName][]gwv1.RouteParentStatus
	Pools    map[types.NamespacedName][]infv1.ParentStatus
	OldPools map[types.NamespacedName][]infv1.ParentStatus
	Policies map[PolicyKey][]PolicyAncestor
	// MissingPickers are for gateways that answer to ControllerNameACK.
	MissingPickers []MissingPicker
}

// MissingPicker is a pool that names a picker Service which does not exist.
type MissingPicker struct {
	Pool    types.NamespacedName
	Group   string // of the pool
	Service string
	Port    int32
}

// Translate says what the data plane must do for these objects and what their
// statuses must say. Objects of other controllers are left out of both.
func Translate(objects Objects) (IR, Statuses) {
	t := &translation{
		index: newIndex(objects),
		statuses: Statuses{
			Classes:  map[string][]metav1.Condition{},
			Gateways: map[types.NamespacedName]gwv1.GatewayStatus{},
			Routes:   map[types.NamespacedName][]gwv1.RouteParentStatus{},
			Pools:    map[types.NamespacedName][]infv1.ParentStatus{},
			OldPools: map[types.NamespacedName][]infv1.ParentStatus{},
			Policies: map[PolicyKey][]PolicyAncestor{},
		},
		defects:   objects.Defects,
		firstPort: cmp.Or(objects.FirstPort, lowPorts),
		policies:  newPolicies(objects.Policies),
		backends:  map[string]Backend{},
		poolUse:   map[poolKey]map[types.NamespacedName]poolParent{},
	}
	t.translateClasses(objects.Classes)
	gateways := t.translateGateways(objects.Gateways, objects.Addresses)
	routes := slices.Clone(objects.Routes)
	slices.SortFunc(routes, func(a, b *gwv1.HTTPRoute) int { return compareNames(nameOf(a), nameOf(b)) })
	for _, route := range routes {
		t.translateRoute(route, gateways)
	}
	t.poolStatuses()
	t.policyStatuses(routes, gateways)
	ir := IR{}
	for _, gw := range gateways {
		t.statuses.Gateways[nameOf(gw.object)] = gw.status()
		ir.Listeners = append(ir.Listeners, gw.listenersIR()...)
	}
	slices.SortFunc(ir.Listeners, func(a, b Listener) int { return cmp.Compare(a.Name, b.Name) })
	for _, b := range t.backends {
		ir.Backends = append(ir.Backends, b)
	}
	slices.SortFunc(ir.Backends, func(a, b Backend) int { return cmp.Compare(a.Name, b.Name) })
	return ir, t.statuses
}

// translation is the work in progress of one Translate call.
type translation struct {
	index
	statuses  Statuses
	defects   Defects
	firstPort int32
	policies  policies
	backends  map[string]Backend
	// poolUse maps pool → Gateway → how the pool is used there.
	poolUse map[poolKey]map[types.NamespacedName]poolParent
}

// index finds objects by name.
type index struct {
	classes    map[string]*gwv1.GatewayClass
	pools      map[poolKey]*infv1.InferencePool
	services   map[types.NamespacedName]*corev1.Service
	namespaces map[string]*corev1.Namespace
	pods       map[string][]*corev1.Pod // by namespace, usable ones only
	grants     []*gwv1.ReferenceGrant
}

func newIndex(o Objects) index {
	ix := index{
		classes:    map[string]*gwv1.GatewayClass{},
		pools:      map[poolKey]*infv1.InferencePool{},
		services:   map[types.NamespacedName]*corev1.Service{},
		namespaces: map[string]*corev1.Namespace{},
		pods:       map[string][]*corev1.Pod{},
		grants:     o.Grants,
	}
	for _, c := range o.Classes {
		if Ours(string(c.Spec.ControllerName)) {
			ix.classes[c.Name] = c
		}
	}
	for _, p := range o.Pools {
		ix.pools[poolKey{nameOf(p), false}] = p
	}
	for _, p := range o.OldPools {
		ix.pools[poolKey{nameOf(p), true}] = p
	}
	for _, s := range o.Services {
		ix.services[nameOf(s)] = s
	}
	for _, n := range o.Namespaces {
		ix.namespaces[n.Name] = n
	}
	for _, p := range o.Pods {
		if usable(p) {
			ix.pods[p.Namespace] = append(ix.pods[p.Namespace], p)
		}
	}
	return ix
}

func compareNames(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (t *translation) translateClasses(classes []*gwv1.GatewayClass) {
	for _, c := range classes {
		if !Ours(string(c.Spec.ControllerName)) {
			continue
		}
		t.statuses.Classes[c.Name] = []metav1.Condition{condition(c.Generation,
			string(gwv1.GatewayClassConditionStatusAccepted), true,
			string(gwv1.GatewayClassReasonAccepted), "served by this sandbox")}
	}
}

func condition(generation int64, kind string, ok bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: generation,
	}
}
