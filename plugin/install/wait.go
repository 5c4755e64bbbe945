package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

const waitInterval = 500 * time.Millisecond

// await waits until a Deployment is rolled out and available, and says each
// change on stderr. It names what the Pods wait for when it gives up.
func (s *server) await(ctx context.Context, clients *kube.Clients, name string) error {
	said := "not seen yet"
	deployment := &appsv1.Deployment{}
	err := wait.PollUntilContextTimeout(ctx, waitInterval, s.timeout, true, func(ctx context.Context) (bool, error) {
		read, err := clients.Core.AppsV1().Deployments(clients.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, answered(err)
		}
		deployment = read
		ready, text := rolledOut(deployment)
		if text != said {
			said = text
			fmt.Fprintf(s.streams.ErrOut, "deployment %s: %s\n", name, text)
		}
		return ready, nil
	})
	if err == nil {
		return nil
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("wait for deployment %s in namespace %s: %w", name, clients.Namespace, err)
	}
	look := fmt.Sprintf("kubectl describe pods -n %s -l %s; it goes on without us, and --timeout waits longer", clients.Namespace, selectorOf(deployment))
	return hint.Errorf(look, "deployment %s in namespace %s is not ready after %s: %s%s", name, clients.Namespace, s.timeout, said, s.trouble(ctx, clients, deployment))
}

// answered is err if the API server said so itself. Anything else, also that our
// time is up, may pass: the limit decides.
func answered(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return nil
}

// rolledOut says whether the newest template is what is available, and how far
// it is. Source: kubectl rollout status.
func rolledOut(d *appsv1.Deployment) (ready bool, text string) {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	if d.Status.ObservedGeneration < d.Generation {
		return false, "waits to be seen"
	}
	text = fmt.Sprintf("%d of %d available", d.Status.AvailableReplicas, want)
	return d.Status.UpdatedReplicas >= want && d.Status.AvailableReplicas >= want && d.Status.Replicas == d.Status.UpdatedReplicas, text
}

func selectorOf(d *appsv1.Deployment) string {
	return metav1.FormatLabelSelector(d.Spec.Selector)
}

// trouble is the first thing a Pod of the Deployment waits for, if one says so.
func (s *server) trouble(ctx context.Context, clients *kube.Clients, d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "; " + c.Message
		}
	}
	pods, err := clients.Core.CoreV1().Pods(clients.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selectorOf(d)})
	if err != nil {
		return ""
	}
	for i := range pods.Items {
		for _, c := range pods.Items[i].Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				return fmt.Sprintf("; pod %s: %s", pods.Items[i].Name, strings.TrimSpace(w.Reason+" "+w.Message))
			}
		}
	}
	return ""
}

// awaitGone waits until no Pod has the labels.
func (s *server) awaitGone(ctx context.Context, clients *kube.Clients, selector string) error {
	left, said := 0, -1
	err := wait.PollUntilContextTimeout(ctx, waitInterval, s.timeout, true, func(ctx context.Context) (bool, error) {
		pods, err := clients.Core.CoreV1().Pods(clients.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return false, answered(err)
		}
		if left = len(pods.Items); left > 0 && left != said {
			said = left
			fmt.Fprintf(s.streams.ErrOut, "%d pods are finishing\n", left)
		}
		return left == 0, nil
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return hint.Errorf("kubectl get pods -n "+clients.Namespace+" -l "+selector, "%d pods are still there after %s", left, s.timeout)
	}
	return fmt.Errorf("wait for pods of %s in namespace %s to be gone: %w", selector, clients.Namespace, err)
}
