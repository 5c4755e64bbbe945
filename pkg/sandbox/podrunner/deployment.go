package podrunner

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// reconcileDeployment takes one step towards a Deployment's Pods and writes its status.
func (r *Runner) reconcileDeployment(ctx context.Context, key types.NamespacedName) error {
	cached, err := r.deployments.Deployments(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil // its Pods are looked at one by one
	}
	if err != nil {
		return err
	}
	d := cached.DeepCopy()
	pods, err := r.listPods(ctx, d)
	if err != nil {
		return err
	}
	if d.DeletionTimestamp != nil {
		return r.finalize(ctx, d, pods)
	}
	hash, err := templateHash(d.Spec.Template)
	if err != nil {
		return err
	}
	if !d.Spec.Paused {
		if err := r.take(ctx, d, hash, plan(d, hash, pods)); err != nil {
			return err
		}
	}
	status := deploymentStatus(d, hash, pods, metav1.Now())
	if equality.Semantic.DeepEqual(status, d.Status) {
		return nil
	}
	d.Status = status
	if _, err := r.client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write status of deployment %s: %w", key, err)
	}
	return nil
}

// listPods asks the API server, not the cache: a Pod just made and not yet seen
// would be made twice.
func (r *Runner) listPods(ctx context.Context, d *appsv1.Deployment) ([]*corev1.Pod, error) {
	list, err := r.client.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return nil, fmt.Errorf("list pods of deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	var own []*corev1.Pod
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], d) {
			own = append(own, &list.Items[i])
		}
	}
	return own, nil
}

func (r *Runner) take(ctx context.Context, d *appsv1.Deployment, hash string, s step) error {
	for range s.create {
		if _, err := r.client.CoreV1().Pods(d.Namespace).Create(ctx, podFor(d, hash), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create a pod of deployment %s/%s: %w", d.Namespace, d.Name, err)
		}
	}
	for _, pod := range s.delete {
		if err := r.deletePod(ctx, pod, nil); err != nil {
			return err
		}
	}
	return nil
}

// deletePod asks for a Pod's deletion; grace nil is the Pod's own.
func (r *Runner) deletePod(ctx context.Context, pod *corev1.Pod, grace *int64) error {
	options := metav1.DeleteOptions{GracePeriodSeconds: grace, Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	err := r.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// finalize does the garbage collector's part for a Deployment that is deleted
// with a finalizer: foreground waits for the Pods, orphan sets them free.
func (r *Runner) finalize(ctx context.Context, d *appsv1.Deployment, pods []*corev1.Pod) error {
	orphan := slices.Contains(d.Finalizers, metav1.FinalizerOrphanDependents)
	for _, pod := range pods {
		if orphan {
			pod.OwnerReferences = slices.DeleteFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == d.UID })
			if _, err := r.client.CoreV1().Pods(pod.Namespace).Update(ctx, pod, metav1.UpdateOptions{}); err != nil {
				return fmt.Errorf("orphan pod %s/%s: %w", pod.Namespace, pod.Name, err)
			}
			continue
		}
		if pod.DeletionTimestamp == nil {
			if err := r.deletePod(ctx, pod, nil); err != nil {
				return err
			}
		}
	}
	if len(pods) > 0 && !orphan {
		return nil // each Pod's end brings us back
	}
	kept := slices.DeleteFunc(slices.Clone(d.Finalizers), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
	})
	if len(kept) == len(d.Finalizers) {
		return nil
	}
	d.Finalizers = kept
	_, err := r.client.AppsV1().Deployments(d.Namespace).Update(ctx, d, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("finalize deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	return nil
}

// podsOf lists, from the cache, the Pods that an object controls.
func (r *Runner) podsOf(owner metav1.Object) []*corev1.Pod {
	all, err := r.pods.Pods(owner.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil // a cache never returns one
	}
	return slices.DeleteFunc(all, func(p *corev1.Pod) bool { return !metav1.IsControlledBy(p, owner) })
}

// resolveOwner reads the answer to "is the Pod's controller still there?".
func resolveOwner(found *appsv1.Deployment, ref *metav1.OwnerReference, err error) (*appsv1.Deployment, bool, error) {
	switch {
	case apierrors.IsNotFound(err):
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("get deployment %s: %w", ref.Name, err)
	case found.UID != ref.UID:
		return nil, true, nil
	}
	return found, false, nil
}
