package gateway

import (
	"cmp"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
)

// assignAddresses gives each of our Gateways an address of network: the one it
// holds, else the one its status names, else the first free one. When none is
// free a Gateway is left out.
func assignAddresses(held map[types.NamespacedName]netip.Addr, o translate.Objects, network netip.Prefix) map[types.NamespacedName]netip.Addr {
	gateways := ours(o.Classes, o.Gateways)
	assigned, taken := map[types.NamespacedName]netip.Addr{}, map[netip.Addr]bool{}
	take := func(gw *gwv1.Gateway, address netip.Addr) {
		name := types.NamespacedName{Namespace: gw.Namespace, Name: gw.Name}
		if _, has := assigned[name]; !has && network.Contains(address) && !taken[address] {
			assigned[name], taken[address] = address, true
		}
	}
	for _, gw := range gateways {
		take(gw, held[types.NamespacedName{Namespace: gw.Namespace, Name: gw.Name}])
	}
	for _, gw := range gateways {
		for _, a := range gw.Status.Addresses {
			if address, err := netip.ParseAddr(a.Value); err == nil {
				take(gw, address)
			}
		}
	}
	for _, gw := range gateways {
		address := network.Addr().Next()
		for taken[address] {
			address = address.Next()
		}
		take(gw, address)
	}
	return assigned
}

// ours picks the Gateways whose class is ours, oldest first.
func ours(classes []*gwv1.GatewayClass, gateways []*gwv1.Gateway) []*gwv1.Gateway {
	mine := map[string]bool{}
	for _, c := range classes {
		mine[c.Name] = translate.Ours(string(c.Spec.ControllerName))
	}
	var out []*gwv1.Gateway
	for _, gw := range gateways {
		if mine[string(gw.Spec.GatewayClassName)] {
			out = append(out, gw)
		}
	}
	slices.SortFunc(out, func(a, b *gwv1.Gateway) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}
