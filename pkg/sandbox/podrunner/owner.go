package podrunner

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ownerOf returns the Deployment that controls a Pod; nil when something else
// does, or nothing. gone says that the Pod names a Deployment or Job which no
// longer exists.
func (r *Runner) ownerOf(ctx context.Context, pod *corev1.Pod) (owner *appsv1.Deployment, gone bool, err error) {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return nil, false, nil
	}
	// The caches may be behind; what is deleted is decided on the API server's word.
	switch ref.Kind {
	case "Deployment":
		owner, err = r.deployments.Deployments(pod.Namespace).Get(ref.Name)
		if err == nil && owner.UID == ref.UID {
			return owner, false, nil
		}
		owner, err = r.client.AppsV1().Deployments(pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		gone, err = resolveOwner(owner, ref, err)
	case "Job":
		job, err := r.jobs.Jobs(pod.Namespace).Get(ref.Name)
		if err == nil && job.UID == ref.UID {
			return nil, false, nil
		}
		job, err = r.client.BatchV1().Jobs(pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		gone, err = resolveOwner(job, ref, err)
		return nil, gone, err
	}
	if gone || err != nil {
		owner = nil
	}
	return owner, gone, err
}

// resolveOwner reads the answer to "is the Pod's controller still there?".
func resolveOwner(found metav1.Object, ref *metav1.OwnerReference, err error) (gone bool, _ error) {
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("get %s %s: %w", ref.Kind, ref.Name, err)
	}
	return found.GetUID() != ref.UID, nil
}
