package command

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
)

func TestCarriersOfFaults(t *testing.T) {
	t.Parallel()
	pod := func(name, deployment string, spoken bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}}
		if deployment != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", Name: deployment, Controller: new(true)}}
		}
		if spoken {
			p.Annotations = map[string]string{podrunner.FaultsAnnotation: "{}"}
		}
		return p
	}
	pods := []corev1.Pod{pod("c", "d", true), pod("a", "d", false), pod("b", "", false)}
	tests := []struct {
		rule  string
		share float64
		mend  bool
		want  []string
	}{
		{"all Pods of a Deployment are its own matter, bare ones theirs", 1, false, []string{"deployment/d", "pod/b", "deployment/d"}},
		{"a share takes the first by name, at least one", 0.1, false, []string{"pod/a"}},
		{"a share is rounded up", 0.5, false, []string{"pod/a", "pod/b"}},
		{"to mend takes the Deployments and every Pod with a word of its own", 0.1, true, []string{"deployment/d", "pod/b", "deployment/d", "pod/c"}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, c := range carriers(slices.Clone(pods), tt.share, tt.mend) {
				got = append(got, c.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
