package podrunner

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPlanJob(t *testing.T) {
	t.Parallel()
	ended := func(phase corev1.PodPhase) *corev1.Pod {
		p := pod("p", "", "", 0)
		p.Status.Phase = phase
		return p
	}
	runs, good, bad := pod("r", "", "ready", 0), ended(corev1.PodSucceeded), ended(corev1.PodFailed)
	tests := []struct {
		rule                   string
		parallelism, completed int32 // completed 0: a work queue
		suspend                bool
		pods                   []*corev1.Pod
		create, remove         int
		concluded              batchv1.JobConditionType
	}{
		{rule: "as many as may run at once are made", parallelism: 2, completed: 3, create: 2},
		{rule: "no more than are still to do", parallelism: 5, completed: 3, pods: []*corev1.Pod{good, runs}, create: 1},
		{rule: "a failed Pod is replaced", parallelism: 1, completed: 1, pods: []*corev1.Pod{bad}, create: 1},
		{rule: "it is complete after its completions", parallelism: 1, completed: 2, pods: []*corev1.Pod{good, good}, concluded: batchv1.JobComplete},
		{rule: "it has failed after more failures than backoffLimit", parallelism: 2, completed: 2, pods: []*corev1.Pod{bad, bad, runs}, remove: 1, concluded: batchv1.JobFailed},
		{rule: "a suspended one runs nothing", parallelism: 2, completed: 2, suspend: true, pods: []*corev1.Pod{runs}, remove: 1},
		{rule: "a work queue makes nothing after a success and waits for the rest", parallelism: 2, pods: []*corev1.Pod{good, runs}},
		{rule: "a work queue is complete when the rest has ended", parallelism: 2, pods: []*corev1.Pod{good, good}, concluded: batchv1.JobComplete},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			j := &batchv1.Job{Spec: batchv1.JobSpec{Parallelism: &tt.parallelism, BackoffLimit: new(int32(1)), Suspend: &tt.suspend}}
			if tt.completed > 0 {
				j.Spec.Completions = &tt.completed
			}
			create, remove, status := planJob(j, tt.pods, metav1.Unix(100, 0))
			if create != tt.create || len(remove) != tt.remove {
				t.Errorf("create %d, delete %d; want %d, %d", create, len(remove), tt.create, tt.remove)
			}
			var concluded batchv1.JobConditionType
			if n := len(status.Conditions); n > 0 {
				concluded = status.Conditions[n-1].Type
			}
			if concluded != tt.concluded {
				t.Errorf("concluded %q, want %q", concluded, tt.concluded)
			}
			j.Status = status
			if create, _, again := planJob(j, nil, metav1.Unix(200, 0)); tt.concluded != "" && (create > 0 || len(again.Conditions) != len(status.Conditions)) {
				t.Error("an ended Job does not stay ended")
			}
		})
	}
}

func TestPlanKeepsWithinTheStrategysBounds(t *testing.T) {
	t.Parallel()
	four := []*corev1.Pod{pod("a", "old", "ready", 4), pod("b", "old", "ready", 3), pod("c", "old", "ready", 2), pod("d", "old", "ready", 1)}
	tests := []struct {
		rule               string
		surge, unavailable intstr.IntOrString
		create             int
		remove             []string
	}{
		{"maxSurge 100% makes all new ones first", intstr.FromString("100%"), intstr.FromInt32(0), 4, nil},
		{"maxUnavailable 2 takes two at once", intstr.FromInt32(0), intstr.FromInt32(2), 0, []string{"c", "d"}},
		{"both 0 are maxUnavailable 1", intstr.FromInt32(0), intstr.FromString("0%"), 0, []string{"d"}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			d := deployment(4)
			d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &tt.surge, MaxUnavailable: &tt.unavailable}
			got := plan(d, "new", four)
			var removed []string
			for _, p := range got.delete {
				removed = append(removed, p.Name)
			}
			slices.Sort(removed)
			if got.create != tt.create || !slices.Equal(removed, tt.remove) {
				t.Errorf("create %d, delete %v; want %d, %v", got.create, removed, tt.create, tt.remove)
			}
		})
	}
}
