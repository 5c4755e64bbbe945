package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

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

// Endpoint is where one listener of a Gateway is reached.
type Endpoint struct {
	Gateway  types.NamespacedName
	Listener string
	Address  netip.AddrPort
}

// Addresses reads from the statuses in the API server where each programmed
// listener of this controller's Gateways is reached.
func Addresses(ctx context.Context, config *rest.Config) ([]Endpoint, error) {
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make Gateway API client: %w", err)
	}
	classes, err := client.GatewayV1().GatewayClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list gatewayclasses: %w", err)
	}
	gateways, err := client.GatewayV1().Gateways("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list gateways: %w", err)
	}
	var endpoints []Endpoint
	for _, gw := range ours(pointers(classes.Items), pointers(gateways.Items)) {
		endpoints = append(endpoints, endpointsOf(gw)...)
	}
	return endpoints, nil
}

func endpointsOf(gw *gwv1.Gateway) []Endpoint {
	ports := map[gwv1.SectionName]uint16{}
	for _, l := range gw.Spec.Listeners {
		ports[l.Name] = translate.ServedPort(int32(l.Port))
	}
	var endpoints []Endpoint
	for _, a := range gw.Status.Addresses {
		address, err := netip.ParseAddr(a.Value)
		if err != nil {
			continue
		}
		for _, l := range gw.Status.Listeners {
			port, known := ports[l.Name]
			if known && meta.IsStatusConditionTrue(l.Conditions, string(gwv1.ListenerConditionProgrammed)) {
				endpoints = append(endpoints, Endpoint{
					Gateway:  types.NamespacedName{Namespace: gw.Namespace, Name: gw.Name},
					Listener: string(l.Name),
					Address:  netip.AddrPortFrom(address, port),
				})
			}
		}
	}
	return endpoints
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}
