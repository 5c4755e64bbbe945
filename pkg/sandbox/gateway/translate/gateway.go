package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	// Binding a port below lowPorts takes a privilege on most machines; one that
	// may not be bound is served at port + portShift.
	lowPorts  = 1024
	portShift = 8000
)

// servedPort is the port at which a listener of this port is reached.
func (t *translation) servedPort(port int32) uint16 {
	if port < t.firstPort {
		port += portShift
	}
	return uint16(port)
}

type gateway struct {
	object     *gwv1.Gateway
	controller gwv1.GatewayController
	address    netip.Addr
	refused    string // why the Gateway as a whole is not accepted
	listeners  []*listener

	bufferLimit uint32
}

// listener is one entry of spec.listeners.
type listener struct {
	spec      gwv1.Listener
	served    uint16
	kinds     []gwv1.RouteGroupKind
	namespace labels.Selector // of allowed namespaces; nil means the Gateway's own
	// reason and problem say why the listener is not accepted; badKinds why its
	// references are not resolved.
	reason   gwv1.ListenerConditionReason
	problem  string
	badKinds string
	attached int32
	hosts    map[string][]rankedRoute
}

func (l *listener) valid() bool { return l.problem == "" }

// translateGateways returns our Gateways by name, listeners checked.
func (t *translation) translateGateways(objects []*gwv1.Gateway, addresses map[types.NamespacedName]netip.Addr) map[types.NamespacedName]*gateway {
	gateways := map[types.NamespacedName]*gateway{}
	for _, o := range objects {
		class, ours := t.classes[string(o.Spec.GatewayClassName)]
		if !ours {
			continue
		}
		gw := &gateway{object: o, controller: class.Spec.ControllerName, address: addresses[nameOf(o)]}
		gw.bufferLimit = t.policies.clientPolicyOf(nameOf(o)).bufferLimit
		if len(o.Spec.Addresses) > 0 {
			gw.refused = "spec.addresses is not supported: the sandbox gives each Gateway a loopback address of its own"
		}
		ports := map[uint16]gwv1.PortNumber{}
		for _, spec := range o.Spec.Listeners {
			l := newListener(spec, t.servedPort(int32(spec.Port)))
			if first, taken := ports[l.served]; taken && first != spec.Port && l.valid() {
				l.reason = gwv1.ListenerReasonPortUnavailable
				l.problem = fmt.Sprintf("port %d is served at %d, which the listener on port %d has", spec.Port, l.served, first)
			}
			if l.valid() {
				ports[l.served] = spec.Port
			}
			gw.listeners = append(gw.listeners, l)
		}
		gateways[nameOf(o)] = gw
	}
	return gateways
}

func newListener(spec gwv1.Listener, served uint16) *listener {
	l := &listener{spec: spec, served: served, hosts: map[string][]rankedRoute{}}
	if spec.Protocol != gwv1.HTTPProtocolType {
		l.reason = gwv1.ListenerReasonUnsupportedProtocol
		l.problem = fmt.Sprintf("protocol %s is not supported, only HTTP", spec.Protocol)
	}
	l.kinds, l.badKinds = supportedKinds(spec.AllowedRoutes)
	if spec.AllowedRoutes == nil || spec.AllowedRoutes.Namespaces == nil {
		return l
	}
	switch ns := spec.AllowedRoutes.Namespaces; ptr.Deref(ns.From, gwv1.NamespacesFromSame) {
	case gwv1.NamespacesFromAll:
		l.namespace = labels.Everything()
	case gwv1.NamespacesFromNone:
		l.namespace = labels.Nothing()
	case gwv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(ns.Selector)
		if err != nil {
			l.reason = gwv1.ListenerReasonUnsupportedValue
			l.problem = "allowedRoutes.namespaces.selector: " + err.Error()
			selector = labels.Nothing()
		}
		l.namespace = selector
	}
	return l
}

// supportedKinds answers the route kinds a listener takes and names those that
// it lists but cannot take.
func supportedKinds(allowed *gwv1.AllowedRoutes) ([]gwv1.RouteGroupKind, string) {
	httpRoute := gwv1.RouteGroupKind{Group: ptr.To(gwv1.Group(gwv1.GroupName)), Kind: "HTTPRoute"}
	if allowed == nil || len(allowed.Kinds) == 0 {
		return []gwv1.RouteGroupKind{httpRoute}, ""
	}
	kinds, bad := []gwv1.RouteGroupKind{}, []string{}
	for _, k := range allowed.Kinds {
		if ptr.Deref(k.Group, gwv1.GroupName) == gwv1.GroupName && k.Kind == "HTTPRoute" {
			kinds = []gwv1.RouteGroupKind{httpRoute}
		} else {
			bad = append(bad, string(k.Kind))
		}
	}
	if len(bad) == 0 {
		return kinds, ""
	}
	return kinds, "only HTTPRoute is served, not " + strings.Join(bad, ", ")
}

// allows reports whether a route of this namespace may attach.
func (l *listener) allows(namespace string, gw *gateway, ix index) bool {
	if len(l.kinds) == 0 {
		return false
	}
	if l.namespace == nil {
		return namespace == gw.object.Namespace
	}
	set := labels.Set{}
	if ns := ix.namespaces[namespace]; ns != nil {
		set = ns.Labels
	}
	return l.namespace.Matches(set)
}

func (gw *gateway) programmed() bool {
	return gw.refused == "" && gw.address.IsValid() && slices.ContainsFunc(gw.listeners, (*listener).valid)
}

// listenersIR is one Listener for each port that is served.
func (gw *gateway) listenersIR() []Listener {
	if !gw.programmed() {
		return nil
	}
	byPort := map[uint16]map[string][]rankedRoute{}
	for _, l := range gw.listeners {
		if !l.valid() {
			continue
		}
		if byPort[l.served] == nil {
			byPort[l.served] = map[string][]rankedRoute{}
		}
		for domain, routes := range l.hosts {
			byPort[l.served][domain] = append(byPort[l.served][domain], routes...)
		}
	}
	var listeners []Listener
	for port, hosts := range byPort {
		listeners = append(listeners, Listener{
			Name:    fmt.Sprintf("%s/%s/%d", gw.object.Namespace, gw.object.Name, port),
			Address: netip.AddrPortFrom(gw.address, port),
			Hosts:   virtualHosts(hosts),

			BufferLimit: gw.bufferLimit,
		})
	}
	return listeners
}

func virtualHosts(hosts map[string][]rankedRoute) []VirtualHost {
	var out []VirtualHost
	for domain, ranked := range hosts {
		slices.SortFunc(ranked, compareRanked)
		vh := VirtualHost{Domain: domain}
		seen := map[string]bool{}
		for _, r := range ranked {
			if !seen[r.Name] {
				vh.Routes = append(vh.Routes, r.Route)
				seen[r.Name] = true
			}
		}
		out = append(out, vh)
	}
	slices.SortFunc(out, func(a, b VirtualHost) int { return cmp.Compare(a.Domain, b.Domain) })
	return out
}

func (gw *gateway) status() gwv1.GatewayStatus {
	generation := gw.object.Generation
	message := ""
	if gw.object.Spec.Infrastructure != nil {
		message = "spec.infrastructure has no effect in a sandbox"
	}
	accepted := condition(generation, string(gwv1.GatewayConditionAccepted), true, string(gwv1.GatewayReasonAccepted), message)
	programmed := condition(generation, string(gwv1.GatewayConditionProgrammed), true, string(gwv1.GatewayReasonProgrammed), "")
	valid := 0
	for _, l := range gw.listeners {
		if l.valid() {
			valid++
		}
	}
	if valid < len(gw.listeners) {
		accepted = condition(generation, accepted.Type, valid > 0, string(gwv1.GatewayReasonListenersNotValid),
			fmt.Sprintf("%d of %d listeners are valid", valid, len(gw.listeners)))
	}
	if gw.refused != "" {
		accepted = condition(generation, accepted.Type, false, string(gwv1.GatewayReasonUnsupportedAddress), gw.refused)
	}
	status := gwv1.GatewayStatus{}
	switch {
	case !gw.address.IsValid():
		programmed = condition(generation, programmed.Type, false, string(gwv1.GatewayReasonAddressNotAssigned), "no sandbox address is free")
	case !gw.programmed():
		programmed = condition(generation, programmed.Type, false, string(gwv1.GatewayReasonInvalid), accepted.Message)
	default:
		status.Addresses = []gwv1.GatewayStatusAddress{{Type: ptr.To(gwv1.IPAddressType), Value: gw.address.String()}}
	}
	status.Conditions = []metav1.Condition{accepted, programmed}
	for _, l := range gw.listeners {
		status.Listeners = append(status.Listeners, l.status(generation, gw.programmed()))
	}
	return status
}

func (l *listener) status(generation int64, served bool) gwv1.ListenerStatus {
	message := ""
	if int32(l.served) != int32(l.spec.Port) {
		message = fmt.Sprintf("port %d is served at %d: this sandbox does not bind the port itself (see --low-ports)", l.spec.Port, l.served)
	}
	accepted := condition(generation, string(gwv1.ListenerConditionAccepted), true, string(gwv1.ListenerReasonAccepted), message)
	programmed := condition(generation, string(gwv1.ListenerConditionProgrammed), served, string(gwv1.ListenerReasonProgrammed), message)
	if !served {
		programmed.Reason, programmed.Message = string(gwv1.ListenerReasonPending), "the Gateway is not served"
	}
	if !l.valid() {
		accepted = condition(generation, accepted.Type, false, string(l.reason), l.problem)
		programmed = condition(generation, programmed.Type, false, string(gwv1.ListenerReasonInvalid), l.problem)
	}
	resolved := condition(generation, string(gwv1.ListenerConditionResolvedRefs), true, string(gwv1.ListenerReasonResolvedRefs), "")
	if l.badKinds != "" {
		resolved = condition(generation, resolved.Type, false, string(gwv1.ListenerReasonInvalidRouteKinds), l.badKinds)
	}
	return gwv1.ListenerStatus{
		Name:           l.spec.Name,
		SupportedKinds: l.kinds,
		AttachedRoutes: l.attached,
		Conditions: []metav1.Condition{
			accepted, programmed, resolved,
			condition(generation, string(gwv1.ListenerConditionConflicted), false, string(gwv1.ListenerReasonNoConflicts), ""),
		},
	}
}
