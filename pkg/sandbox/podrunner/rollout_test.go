package podrunner

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod makes a Pod of a template hash; state is ready, starting or ending.
func pod(name, hash, state string, age time.Duration) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{hashLabel: hash},
		CreationTimestamp: metav1.NewTime(time.Unix(1_000_000, 0).Add(-age)),
	}}
	switch state {
	case "ready":
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	case "ending":
		p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_000_000, 0)}
	}
	return p
}

func deployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", Generation: 7}, Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule     string
		replicas int32
		recreate bool
		pods     []*corev1.Pod
		create   int
		remove   []string
	}{
		{rule: "what is missing is made at once", replicas: 3, create: 3},
		{rule: "a Pod that is ending does not count", replicas: 1, pods: []*corev1.Pod{pod("a", "new", "ending", 0)}, create: 1},
		{rule: "enough is enough", replicas: 1, pods: []*corev1.Pod{pod("a", "new", "starting", 0)}},
		{rule: "scaling down takes what is not ready first, then the youngest", replicas: 1, pods: []*corev1.Pod{
			pod("old", "new", "ready", time.Hour), pod("young", "new", "ready", 0), pod("starting", "new", "starting", 2*time.Hour),
		}, remove: []string{"starting", "young"}},
		{rule: "scaling to zero takes all", replicas: 0, pods: []*corev1.Pod{pod("a", "new", "ready", 0), pod("b", "old", "ready", 0)}, remove: []string{"a", "b"}},
		{rule: "a new template surges by one and keeps every ready old Pod", replicas: 2, pods: []*corev1.Pod{
			pod("a", "old", "ready", 0), pod("b", "old", "ready", 0),
		}, create: 1},
		{rule: "an old Pod goes when the new one is ready", replicas: 2, pods: []*corev1.Pod{
			pod("a", "old", "ready", 0), pod("b", "old", "ready", time.Hour), pod("c", "new", "ready", 0),
		}, remove: []string{"a"}},
		{rule: "no old Pod goes while the new one starts", replicas: 2, pods: []*corev1.Pod{
			pod("a", "old", "ready", 0), pod("b", "old", "ready", 0), pod("c", "new", "starting", 0),
		}},
		{rule: "an old Pod that is not ready goes at once", replicas: 2, pods: []*corev1.Pod{
			pod("a", "old", "starting", 0), pod("b", "old", "ready", 0),
		}, create: 1, remove: []string{"a"}},
		{rule: "Recreate deletes all old ones before making a new one", replicas: 2, recreate: true, pods: []*corev1.Pod{
			pod("a", "old", "ready", 0), pod("b", "old", "ready", 0),
		}, remove: []string{"a", "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			d := deployment(tt.replicas)
			if tt.recreate {
				d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
			}
			got := plan(d, "new", tt.pods)
			var removed []string
			for _, p := range got.delete {
				removed = append(removed, p.Name)
			}
			slices.Sort(removed)
			slices.Sort(tt.remove)
			if got.create != tt.create || !slices.Equal(removed, tt.remove) {
				t.Errorf("create %d, delete %v; want %d, %v", got.create, removed, tt.create, tt.remove)
			}
		})
	}
}

func TestDeploymentStatusTellsRolloutFromAvailability(t *testing.T) {
	t.Parallel()
	d := deployment(2)
	d.Status = deploymentStatus(d, "new", []*corev1.Pod{pod("a", "old", "ready", 0), pod("b", "new", "starting", 0), pod("c", "old", "ending", 0)}, metav1.Unix(100, 0))
	want := appsv1.DeploymentStatus{ObservedGeneration: 7, Replicas: 2, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1, UnavailableReplicas: 1}
	got := d.Status
	got.Conditions = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	again := deploymentStatus(d, "new", []*corev1.Pod{pod("a", "old", "ready", 0), pod("b", "new", "starting", 0)}, metav1.Unix(200, 0))
	if diff := cmp.Diff(d.Status, again); diff != "" {
		t.Errorf("the same Pods change the status later (-before +after):\n%s", diff)
	}
	done := deploymentStatus(d, "new", []*corev1.Pod{pod("a", "new", "ready", 0), pod("b", "new", "ready", 0)}, metav1.Unix(300, 0))
	for _, c := range done.Conditions {
		if c.Status != corev1.ConditionTrue || !c.LastUpdateTime.Equal(new(metav1.Unix(300, 0))) {
			t.Errorf("after the rollout: %+v, want True since 300", c)
		}
	}
}
