package pool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	inferencev1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"

	"github.com/kubectl-infer/kubectl-infer/picker"
)

// identity is what makes an endpoint the same one in two snapshots: the Pod, not
// only its address, because addresses are used again.
type identity struct {
	pod     types.UID
	address netip.AddrPort
}

// assemble makes the snapshot of a pool: one endpoint for each target port of
// each selected Pod that has an address and has not ended, sorted by address.
// An endpoint that known has keeps its counts; the returned map replaces known.
//
// A selector without labels selects nobody: the API forbids it, and selecting
// every Pod of the namespace would be the worst reading of it.
func assemble(spec *inferencev1.InferencePoolSpec, pods []*corev1.Pod, known map[identity]*picker.Live) (*picker.Snapshot, map[identity]*picker.Live) {
	selector := selectorOf(spec)
	snapshot, lives := &picker.Snapshot{}, map[identity]*picker.Live{}
	for _, pod := range pods {
		ip, err := netip.ParseAddr(pod.Status.PodIP)
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if err != nil || ended || selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		for _, port := range spec.TargetPorts {
			e := picker.NewEndpoint(netip.AddrPortFrom(ip, uint16(port.Number)))
			id := identity{pod.UID, e.Address}
			if live := known[id]; live != nil {
				e.Live = live
			}
			lives[id] = e.Live
			e.Pod = pod.Namespace + "/" + pod.Name
			e.Ready = isReady(pod)
			e.Terminating = pod.DeletionTimestamp != nil
			snapshot.Endpoints = append(snapshot.Endpoints, e)
		}
	}
	slices.SortFunc(snapshot.Endpoints, func(a, b picker.Endpoint) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Pod, b.Pod))
	})
	return snapshot, lives
}

func selectorOf(spec *inferencev1.InferencePoolSpec) labels.Selector {
	set := labels.Set{}
	for key, value := range spec.Selector.MatchLabels {
		set[string(key)] = string(value)
	}
	return set.AsSelector()
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// trim keeps of a Pod only what assemble reads, so that a namespace of large
// Pods stays small in memory, and reads pools.
func trim(object any) (any, error) {
	if u, ok := object.(*unstructured.Unstructured); ok {
		return readPool(u)
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	slim := &corev1.Pod{}
	slim.Name, slim.Namespace, slim.UID = pod.Name, pod.Namespace, pod.UID
	slim.ResourceVersion, slim.Labels, slim.DeletionTimestamp = pod.ResourceVersion, pod.Labels, pod.DeletionTimestamp
	slim.Status.Phase, slim.Status.PodIP = pod.Status.Phase, pod.Status.PodIP
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			slim.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return slim, nil
}

// readPool reads what matters of an InferencePool. A v1alpha2 one has a flat map
// of labels and one port.
// Source: api/v1/inferencepool_types.go of gateway-api-inference-extension v1.6.0,
// api/v1alpha2/inferencepool_types.go of v0.5.1.
func readPool(u *unstructured.Unstructured) (*inferencev1.InferencePool, error) {
	p := &inferencev1.InferencePool{}
	p.Name, p.Namespace, p.UID, p.ResourceVersion = u.GetName(), u.GetNamespace(), u.GetUID(), u.GetResourceVersion()
	var alpha struct {
		Selector         map[inferencev1.LabelKey]inferencev1.LabelValue `json:"selector"`
		TargetPortNumber inferencev1.PortNumber                          `json:"targetPortNumber"`
	}
	spec, _ := u.Object["spec"].(map[string]any)
	into := any(&p.Spec)
	if u.GroupVersionKind().Group == GroupAlpha {
		into = &alpha
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, into); err != nil {
		return nil, fmt.Errorf("read InferencePool %s: %w", u.GetName(), err)
	}
	if into != any(&p.Spec) {
		p.Spec.Selector.MatchLabels = alpha.Selector
		p.Spec.TargetPorts = []inferencev1.Port{{Number: alpha.TargetPortNumber}}
	}
	return p, nil
}
