package pool

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	inferencev1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
)

func newPod(name, ip string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID("uid-" + name), Labels: map[string]string{"app": "qwen"}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
				{Type: corev1.PodReady, Status: corev1.ConditionTrue},
			},
		},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func notReady(p *corev1.Pod)    { p.Status.Conditions[1].Status = corev1.ConditionFalse }
func terminating(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }

func newSpec(ports ...int32) inferencev1.InferencePoolSpec {
	spec := inferencev1.InferencePoolSpec{
		Selector: inferencev1.LabelSelector{MatchLabels: map[inferencev1.LabelKey]inferencev1.LabelValue{"app": "qwen"}},
	}
	for _, p := range ports {
		spec.TargetPorts = append(spec.TargetPorts, inferencev1.Port{Number: inferencev1.PortNumber(p)})
	}
	return spec
}

func TestAssemble(t *testing.T) {
	t.Parallel()
	noSelector := newSpec(8000)
	noSelector.Selector.MatchLabels = nil
	for rule, tc := range map[string]struct {
		spec inferencev1.InferencePoolSpec
		pods []*corev1.Pod
		want []string
	}{
		"endpoints are sorted by address":             {newSpec(8000), []*corev1.Pod{newPod("b", "10.0.0.9"), newPod("a", "10.0.0.2")}, []string{"10.0.0.2:8000", "10.0.0.9:8000"}},
		"every target port is an endpoint":            {newSpec(8001, 8000), []*corev1.Pod{newPod("a", "10.0.0.2")}, []string{"10.0.0.2:8000", "10.0.0.2:8001"}},
		"a pod that is not ready is not picked":       {newSpec(8000), []*corev1.Pod{newPod("a", "10.0.0.2", notReady)}, []string{"!10.0.0.2:8000"}},
		"a pod that says nothing is not ready":        {newSpec(8000), []*corev1.Pod{newPod("a", "10.0.0.2", func(p *corev1.Pod) { p.Status.Conditions = nil })}, []string{"!10.0.0.2:8000"}},
		"a terminating pod is not picked":             {newSpec(8000), []*corev1.Pod{newPod("a", "10.0.0.2", terminating)}, []string{"!10.0.0.2:8000"}},
		"a pod without address is none":               {newSpec(8000), []*corev1.Pod{newPod("a", "")}, []string{}},
		"a pod that failed is none":                   {newSpec(8000), []*corev1.Pod{newPod("a", "10.0.0.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })}, []string{}},
		"a pod that ended is none":                    {newSpec(8000), []*corev1.Pod{newPod("a", "10.0.0.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })}, []string{}},
		"a pod that is not selected is none":          {newSpec(8000), []*corev1.Pod{newPod("a", "10.0.0.2", func(p *corev1.Pod) { p.Labels["app"] = "other" })}, []string{}},
		"a selector without labels selects nobody":    {noSelector, []*corev1.Pod{newPod("a", "10.0.0.2")}, []string{}},
		"IPv6 is written in brackets":                 {newSpec(8000), []*corev1.Pod{newPod("a", "2001:db8::1")}, []string{"[2001:db8::1]:8000"}},
		"a pod trimmed for memory is still the same":  {newSpec(8000), []*corev1.Pod{trimmed(newPod("a", "10.0.0.2")), trimmed(newPod("b", "10.0.0.3", notReady, terminating))}, []string{"10.0.0.2:8000", "!10.0.0.3:8000"}},
		"a pool without target ports has no endpoint": {newSpec(), []*corev1.Pod{newPod("a", "10.0.0.2")}, []string{}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			snapshot, _ := assemble(&tc.spec, tc.pods, nil)
			if got := values(snapshot); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func trimmed(pod *corev1.Pod) *corev1.Pod {
	slim, _ := trim(pod)
	return slim.(*corev1.Pod)
}

func TestCountsStayWithThePodAndNotWithItsAddress(t *testing.T) {
	t.Parallel()
	spec := newSpec(8000)
	first, lives := assemble(&spec, []*corev1.Pod{newPod("a", "10.0.0.2")}, nil)
	first.Endpoints[0].Live.Begin()

	second, lives := assemble(&spec, []*corev1.Pod{newPod("a", "10.0.0.2", notReady), newPod("b", "10.0.0.1")}, lives)
	if second.Endpoints[1].Live != first.Endpoints[0].Live {
		t.Error("the pod lost its counts when another one came")
	}
	third, lives := assemble(&spec, []*corev1.Pod{newPod("c", "10.0.0.2")}, lives)
	if third.Endpoints[0].Live == first.Endpoints[0].Live || len(lives) != 1 {
		t.Errorf("another pod at the same address has its counts; %d known", len(lives))
	}
}
