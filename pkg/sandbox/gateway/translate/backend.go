package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	h2cProtocol = "kubernetes.io/h2c"
	// reasonUnsupported is used with ResolvedRefs for a Service that exists but
	// has no Pods to resolve to.
	reasonUnsupported = gwv1.RouteReasonUnsupportedValue
)

// resolve finds what a backendRef names; the problem is zero when it can be
// used. Pools are recorded in c even when they cannot.
func (t *translation) resolve(route *gwv1.HTTPRoute, ref gwv1.BackendObjectReference, c *compiledRoute) (Backend, problem) {
	group, kind := string(ptr.Deref(ref.Group, "")), string(ptr.Deref(ref.Kind, "Service"))
	name := types.NamespacedName{
		Namespace: string(ptr.Deref(ref.Namespace, gwv1.Namespace(route.Namespace))),
		Name:      string(ref.Name),
	}
	isPool := (group == infv1.GroupName || group == OldPoolGroup) && kind == "InferencePool"
	if !isPool && (group != "" || kind != "Service") {
		return Backend{}, problem{gwv1.RouteReasonInvalidKind, fmt.Sprintf("backendRef %s: kind %s of group %q is not supported", name, kind, group)}
	}
	if name.Namespace != route.Namespace && !t.granted(route.Namespace, group, kind, name) {
		return Backend{}, problem{gwv1.RouteReasonRefNotPermitted, fmt.Sprintf("backendRef %s %s: no ReferenceGrant permits it", kind, name)}
	}
	if !isPool {
		return t.resolveService(name, ref.Port)
	}
	key := poolKey{name, group == OldPoolGroup}
	pool := t.pools[key]
	if pool == nil {
		return Backend{}, problem{gwv1.RouteReasonBackendNotFound, fmt.Sprintf("InferencePool %s of group %s does not exist", name, group)}
	}
	c.pools = append(c.pools, key)
	if pool.Spec.EndpointPickerRef == nil {
		return Backend{}, problem{gwv1.RouteReasonBackendNotFound, fmt.Sprintf("InferencePool %s has no endpointPickerRef", name)}
	}
	return t.poolBackend(key, pool), problem{}
}

// granted reports whether a ReferenceGrant lets HTTPRoutes of a namespace
// refer to the object.
func (t *translation) granted(from, group, kind string, to types.NamespacedName) bool {
	for _, g := range t.grants {
		if g.Namespace != to.Namespace {
			continue
		}
		fromOK := slices.ContainsFunc(g.Spec.From, func(f gwv1.ReferenceGrantFrom) bool {
			return f.Group == gwv1.GroupName && f.Kind == "HTTPRoute" && string(f.Namespace) == from
		})
		toOK := slices.ContainsFunc(g.Spec.To, func(r gwv1.ReferenceGrantTo) bool {
			return string(r.Group) == group && string(r.Kind) == kind && (r.Name == nil || string(*r.Name) == to.Name)
		})
		if fromOK && toOK {
			return true
		}
	}
	return false
}

func (t *translation) resolveService(name types.NamespacedName, port *gwv1.PortNumber) (Backend, problem) {
	service := t.services[name]
	if service == nil {
		return Backend{}, problem{gwv1.RouteReasonBackendNotFound, fmt.Sprintf("Service %s does not exist", name)}
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName || len(service.Spec.Selector) == 0 {
		return Backend{}, problem{reasonUnsupported, fmt.Sprintf("Service %s has no selector: the sandbox finds endpoints by Pod selector only", name)}
	}
	if port == nil {
		return Backend{}, problem{gwv1.RouteReasonUnsupportedValue, fmt.Sprintf("backendRef Service %s names no port", name)}
	}
	servicePort := findPort(service, int32(*port))
	if servicePort == nil {
		return Backend{}, problem{gwv1.RouteReasonBackendNotFound, fmt.Sprintf("Service %s has no port %d", name, *port)}
	}
	return Backend{
		Name:      fmt.Sprintf("service/%s/%d", name, *port),
		Owner:     name,
		Endpoints: t.serviceEndpoints(service, servicePort),
		HTTP2:     ptr.Deref(servicePort.AppProtocol, "") == h2cProtocol,
	}, problem{}
}

// poolBackend is the backend of a pool that names a picker.
func (t *translation) poolBackend(key poolKey, pool *infv1.InferencePool) Backend {
	ref := pool.Spec.EndpointPickerRef
	b := Backend{
		Name:  "pool" + key.suffix(),
		Owner: key.NamespacedName,
		HTTP2: pool.Spec.AppProtocol == infv1.AppProtocolH2C,
		Picker: &Picker{
			Name:     "picker" + key.suffix(),
			FailOpen: ref.FailureMode == infv1.EndpointPickerFailOpen && !t.defects.AlwaysFailClosed,
			TLS:      true,
		},
	}
	ports := make([]int32, len(pool.Spec.TargetPorts))
	for i, p := range pool.Spec.TargetPorts {
		ports[i] = int32(p.Number)
	}
	selector := map[string]string{}
	for k, v := range pool.Spec.Selector.MatchLabels {
		selector[string(k)] = string(v)
	}
	b.Endpoints = t.podEndpoints(pool.Namespace, selector, func(*corev1.Pod) []int32 { return ports })
	service, port, err := t.pickerService(pool)
	if err != nil {
		b.Picker.Authority = fmt.Sprintf("%s.%s.svc", ref.Name, pool.Namespace)
		return b
	}
	b.Picker.Authority = fmt.Sprintf("%s.%s.svc:%d", ref.Name, pool.Namespace, port.Port)
	b.Picker.Endpoints = t.serviceEndpoints(service, port)
	b.Picker.TLS = t.pickerTLS(service, port)
	return b
}

// pickerService finds the Service and port of a pool's endpointPickerRef. The
// error is what the pool's ResolvedRefs condition says.
func (t *translation) pickerService(pool *infv1.InferencePool) (*corev1.Service, *corev1.ServicePort, error) {
	ref := pool.Spec.EndpointPickerRef
	if ptr.Deref(ref.Group, "") != "" || (ref.Kind != "Service" && ref.Kind != "") {
		return nil, nil, fmt.Errorf("endpointPickerRef kind %s is not supported, only Service", ref.Kind)
	}
	name := types.NamespacedName{Namespace: pool.Namespace, Name: string(ref.Name)}
	service := t.services[name]
	if service == nil {
		return nil, nil, fmt.Errorf("endpointPickerRef: Service %s does not exist", name)
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName || len(service.Spec.Selector) == 0 {
		return nil, nil, fmt.Errorf("endpointPickerRef: Service %s has no selector", name)
	}
	if ref.Port == nil {
		return nil, nil, fmt.Errorf("endpointPickerRef: no port is named")
	}
	port := findPort(service, int32(ref.Port.Number))
	if port == nil {
		return nil, nil, fmt.Errorf("endpointPickerRef: Service %s has no port %d", name, ref.Port.Number)
	}
	return service, port, nil
}

// poolParent is how a pool is used through one Gateway.
type poolParent struct {
	gateway  *gateway
	accepted bool // by some route that is attached
}

func (t *translation) usePools(pools []poolKey, gw *gateway, accepted bool) {
	for _, pool := range pools {
		if t.poolUse[pool] == nil {
			t.poolUse[pool] = map[types.NamespacedName]poolParent{}
		}
		use := t.poolUse[pool][nameOf(gw.object)]
		t.poolUse[pool][nameOf(gw.object)] = poolParent{gateway: gw, accepted: use.accepted || accepted}
	}
}

func (t *translation) poolStatuses() {
	for key, parents := range t.poolUse {
		pool := t.pools[key]
		statuses := t.statuses.Pools
		if key.old {
			statuses = t.statuses.OldPools
		}
		gateways := slices.SortedFunc(maps.Keys(parents), compareNames)
		for _, gw := range gateways {
			statuses[key.NamespacedName] = append(statuses[key.NamespacedName], infv1.ParentStatus{
				ParentRef: infv1.ParentReference{
					Group: ptr.To(infv1.Group(gwv1.GroupName)), Kind: "Gateway",
					Namespace: infv1.Namespace(gw.Namespace), Name: infv1.ObjectName(gw.Name),
				},
				ControllerName: infv1.ControllerName(parents[gw].gateway.controller),
				Conditions:     t.poolConditions(pool, parents[gw].accepted),
			})
		}
	}
	t.missPickers()
}

// missPickers notes the pools whose picker Service does not exist, where a
// GatewayClass is ACK's: its gateway brings a picker to every pool, also to one
// that no route names yet.
func (t *translation) missPickers() {
	ack := func(c *gwv1.GatewayClass) bool { return c.Spec.ControllerName == ControllerNameACK }
	if !slices.ContainsFunc(slices.Collect(maps.Values(t.classes)), ack) {
		return
	}
	for key, pool := range t.pools {
		t.missPicker(key, pool)
	}
	slices.SortFunc(t.statuses.MissingPickers, func(a, b MissingPicker) int {
		return cmp.Or(compareNames(a.Pool, b.Pool), cmp.Compare(a.Group, b.Group))
	})
	t.statuses.MissingPickers = slices.Compact(t.statuses.MissingPickers)
}

// missPicker notes pool if its picker Service does not exist.
func (t *translation) missPicker(key poolKey, pool *infv1.InferencePool) {
	ref := pool.Spec.EndpointPickerRef
	if ref == nil || ref.Port == nil || (ref.Kind != "" && ref.Kind != "Service") || ptr.Deref(ref.Group, "") != "" {
		return
	}
	service := types.NamespacedName{Namespace: pool.Namespace, Name: string(ref.Name)}
	if t.services[service] == nil {
		t.statuses.MissingPickers = append(t.statuses.MissingPickers, MissingPicker{
			Pool: key.NamespacedName, Group: key.group(), Service: service.Name, Port: int32(ref.Port.Number),
		})
	}
}

func (t *translation) poolConditions(pool *infv1.InferencePool, routed bool) []metav1.Condition {
	accepted := condition(pool.Generation, string(infv1.InferencePoolConditionAccepted), true, string(infv1.InferencePoolReasonAccepted), "")
	resolved := condition(pool.Generation, string(infv1.InferencePoolConditionResolvedRefs), true, string(infv1.InferencePoolReasonResolvedRefs), "")
	switch {
	case pool.Spec.EndpointPickerRef == nil:
		accepted = condition(pool.Generation, accepted.Type, false, string(infv1.InferencePoolReasonEndpointPickerRefMissing),
			"spec.endpointPickerRef is needed here")
	case !routed:
		accepted = condition(pool.Generation, accepted.Type, false, string(infv1.InferencePoolReasonHTTPRouteNotAccepted),
			"no HTTPRoute that names the pool is accepted")
	}
	if pool.Spec.EndpointPickerRef != nil {
		if _, _, err := t.pickerService(pool); err != nil {
			resolved = condition(pool.Generation, resolved.Type, false, string(infv1.InferencePoolReasonInvalidExtensionRef), err.Error())
		}
	}
	return []metav1.Condition{accepted, resolved}
}
