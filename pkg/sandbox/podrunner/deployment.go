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
	pods, err := r.listControlled(ctx, d, d.Spec.Selector)
	if err != nil {
		return err
	}
	if d.DeletionTimestamp != nil {
		return r.finalize(ctx, d, pods, func(ctx context.Context) error {
			_, err := r.client.AppsV1().Deployments(d.Namespace).Update(ctx, d, metav1.UpdateOptions{})
			return err
		})
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

// listControlled asks the API server, not the cache, for the Pods an object
// controls: a Pod just made and not yet seen would be made twice.
func (r *Runner) listControlled(ctx context.Context, owner metav1.Object, selector *metav1.LabelSelector) ([]*corev1.Pod, error) {
	list, err := r.client.CoreV1().Pods(owner.GetNamespace()).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", nameOf(owner), err)
	}
	var own []*corev1.Pod
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], owner) {
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

// finalize does the garbage collector's part for an owner that is deleted with
// a finalizer: foreground waits for the Pods, orphan sets them free. update
// writes the owner.
func (r *Runner) finalize(ctx context.Context, owner metav1.Object, pods []*corev1.Pod, update func(context.Context) error) error {
	orphan := slices.Contains(owner.GetFinalizers(), metav1.FinalizerOrphanDependents)
	for _, pod := range pods {
		if orphan {
			pod.OwnerReferences = slices.DeleteFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == owner.GetUID() })
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
	before := owner.GetFinalizers()
	kept := slices.DeleteFunc(slices.Clone(before), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
	})
	if len(kept) == len(before) {
		return nil
	}
	owner.SetFinalizers(kept)
	if err := update(ctx); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("finalize %s: %w", nameOf(owner), err)
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
