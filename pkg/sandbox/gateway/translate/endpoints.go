package translate

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// usable reports whether a Pod may receive requests: ready, not terminating,
// with an address.
func usable(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil || p.Status.PodIP == "" {
		return false
	}
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// podEndpoints answers the addresses of the usable Pods that a selector finds,
// at the ports that each Pod has for it. An empty selector finds none.
func (ix index) podEndpoints(namespace string, selector map[string]string, ports func(*corev1.Pod) []int32) []netip.AddrPort {
	var endpoints []netip.AddrPort
	for _, pod := range ix.selected(namespace, selector) {
		address, err := netip.ParseAddr(pod.Status.PodIP)
		if err != nil {
			continue
		}
		for _, port := range ports(pod) {
			endpoints = append(endpoints, netip.AddrPortFrom(address, uint16(port)))
		}
	}
	slices.SortFunc(endpoints, netip.AddrPort.Compare)
	return slices.Compact(endpoints)
}

func (ix index) selected(namespace string, selector map[string]string) []*corev1.Pod {
	if len(selector) == 0 {
		return nil
	}
	match := labels.SelectorFromSet(selector)
	var pods []*corev1.Pod
	for _, pod := range ix.pods[namespace] {
		if match.Matches(labels.Set(pod.Labels)) {
			pods = append(pods, pod)
		}
	}
	return pods
}

func (ix index) serviceEndpoints(service *corev1.Service, port *corev1.ServicePort) []netip.AddrPort {
	return ix.podEndpoints(service.Namespace, service.Spec.Selector, func(pod *corev1.Pod) []int32 {
		if n := targetPort(pod, port); n > 0 {
			return []int32{n}
		}
		return nil
	})
}

func findPort(service *corev1.Service, number int32) *corev1.ServicePort {
	for i := range service.Spec.Ports {
		if service.Spec.Ports[i].Port == number {
			return &service.Spec.Ports[i]
		}
	}
	return nil
}

// targetPort is the port of a Pod behind a Service port, 0 when the Pod has no
// container port of that name.
func targetPort(pod *corev1.Pod, port *corev1.ServicePort) int32 {
	if port.TargetPort.Type == intstr.Int {
		if port.TargetPort.IntVal == 0 {
			return port.Port
		}
		return port.TargetPort.IntVal
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == port.TargetPort.StrVal {
				return p.ContainerPort
			}
		}
	}
	return 0
}

// pickerTLS reports whether a picker expects TLS, as pickers do by default.
func (ix index) pickerTLS(service *corev1.Service, port *corev1.ServicePort) bool {
	if ptr.Deref(port.AppProtocol, "") == h2cProtocol {
		return false
	}
	for _, pod := range ix.selected(service.Namespace, service.Spec.Selector) {
		for _, c := range pod.Spec.Containers {
			if plaintext(append(slices.Clone(c.Command), c.Args...)) {
				return false
			}
		}
	}
	return true
}

func plaintext(args []string) bool {
	line := " " + strings.Join(args, " ")
	return strings.Contains(line, "-secure-serving=false") || strings.Contains(line, "-secureServing=false")
}
