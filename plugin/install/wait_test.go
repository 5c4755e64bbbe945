package install

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// rollout is a Deployment of two Pods of which some are available.
func rollout(available int32) *appsv1.Deployment {
	replicas := int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "router", Namespace: "ns", Generation: 3},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "router"}}},
		Status:     appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: available},
	}
}

func waiting() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "router-1", Namespace: "ns", Labels: map[string]string{"app": "router"}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}},
		}}},
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "router", errors.New("no"))
	tests := map[string]struct {
		objects []runtime.Object
		first   error // of the first read
		says    string
		hint    string
	}{
		"ready":                                  {[]runtime.Object{rollout(2)}, nil, "", ""},
		"an error of the connection may pass":    {[]runtime.Object{rollout(2)}, errors.New("connection refused"), "", ""},
		"an answer of the API server does not":   {[]runtime.Object{rollout(2)}, forbidden, "forbidden", ""},
		"the limit names what a Pod waits for":   {[]runtime.Object{rollout(1), waiting()}, nil, "1 of 2 available; pod router-1: ImagePullBackOff no such image", "kubectl describe pods -n ns -l app=router"},
		"a Deployment that is not there is said": {nil, nil, "not found", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := fake.NewClientset(tt.objects...)
			failed := false
			core.PrependReactor("get", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
				if failed || tt.first == nil {
					return false, nil, nil
				}
				failed = true
				return true, nil, tt.first
			})
			var said bytes.Buffer
			s := &server{streams: genericiooptions.IOStreams{ErrOut: &said}, timeout: 30 * time.Second}
			if tt.hint != "" {
				s.timeout = time.Second // it is reached
			}
			err := s.await(t.Context(), &kube.Clients{Core: core, Namespace: "ns"}, "router")
			if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) || !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("got %v with hint %q, want %q with %q", err, hint.Of(err), tt.says, tt.hint)
			}
			if err == nil && !strings.Contains(said.String(), "deployment router: 2 of 2 available") {
				t.Errorf("progress was not said: %q", said.String())
			}
		})
	}
}

func TestRolledOut(t *testing.T) {
	t.Parallel()
	change := func(f func(*appsv1.Deployment)) *appsv1.Deployment {
		d := rollout(2)
		f(d)
		return d
	}
	tests := map[string]struct {
		d    *appsv1.Deployment
		want bool
	}{
		"all available":                        {rollout(2), true},
		"one is missing":                       {rollout(1), false},
		"the newest template was not seen yet": {change(func(d *appsv1.Deployment) { d.Status.ObservedGeneration = 2 }), false},
		"old Pods are available":               {change(func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 1 }), false},
		"an old Pod is still there":            {change(func(d *appsv1.Deployment) { d.Status.Replicas = 3 }), false},
		"no number is one":                     {change(func(d *appsv1.Deployment) { d.Spec.Replicas = nil }), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, text := rolledOut(tt.d); got != tt.want {
				t.Errorf("ready %t (%s), want %t", got, text, tt.want)
			}
		})
	}
}
