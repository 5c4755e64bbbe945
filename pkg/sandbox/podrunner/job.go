package podrunner

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
)

// reconcileJob takes one step towards a Job's end and writes its status.
func (r *Runner) reconcileJob(ctx context.Context, key types.NamespacedName) error {
	cached, err := r.jobs.Jobs(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil // its Pods are looked at one by one
	}
	if err != nil {
		return err
	}
	j := cached.DeepCopy()
	pods, err := r.listControlled(ctx, j, j.Spec.Selector)
	if err != nil {
		return err
	}
	if j.DeletionTimestamp != nil {
		return r.finalize(ctx, j, pods, func(ctx context.Context) error {
			_, err := r.client.BatchV1().Jobs(j.Namespace).Update(ctx, j, metav1.UpdateOptions{})
			return err
		})
	}
	create, remove, status := planJob(j, pods, metav1.Now())
	for range create {
		if _, err := r.client.CoreV1().Pods(j.Namespace).Create(ctx, podForJob(j), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create a pod of job %s: %w", key, err)
		}
	}
	for _, pod := range remove {
		if err := r.deletePod(ctx, pod, nil); err != nil {
			return err
		}
	}
	if equality.Semantic.DeepEqual(status, j.Status) {
		return nil
	}
	j.Status = status
	if _, err := r.client.BatchV1().Jobs(j.Namespace).UpdateStatus(ctx, j, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write status of job %s: %w", key, err)
	}
	return nil
}

// planJob decides how many Pods to make, which to delete, and the status. A Job
// is complete after its completions, and has failed after more than
// backoffLimit failures; a failed Pod is kept for its log. Indexed Jobs,
// deadlines, podFailurePolicy and successPolicy have no effect.
func planJob(j *batchv1.Job, pods []*corev1.Pod, now metav1.Time) (create int, remove []*corev1.Pod, status batchv1.JobStatus) {
	status = *j.Status.DeepCopy()
	if over(j) {
		return 0, nil, status
	}
	if status.StartTime == nil && !suspended(j) {
		status.StartTime = &now
	}
	var active []*corev1.Pod
	var ready int32
	status.Succeeded, status.Failed = 0, 0
	for _, p := range pods {
		switch {
		case p.Status.Phase == corev1.PodSucceeded:
			status.Succeeded++
		case p.Status.Phase == corev1.PodFailed:
			status.Failed++
		case p.DeletionTimestamp == nil:
			active = append(active, p)
			if isReady(p) {
				ready++
			}
		}
	}
	parallelism, completions := int(*j.Spec.Parallelism), int(*j.Spec.Parallelism)
	if j.Spec.Completions != nil {
		completions = int(*j.Spec.Completions)
	} else if status.Succeeded > 0 {
		completions = int(status.Succeeded) // a work queue: one success ends it
	}
	switch {
	case int(status.Succeeded) >= completions && len(active) == 0:
		end(&status, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete, "CompletionsReached", now)
		status.CompletionTime = &now
	case status.Failed > *j.Spec.BackoffLimit:
		remove, active, ready = active, nil, 0
		end(&status, batchv1.JobFailureTarget, batchv1.JobFailed, "BackoffLimitExceeded", now)
	case suspended(j):
		remove, active, ready = active, nil, 0
	default:
		create = max(0, min(parallelism, completions-int(status.Succeeded))-len(active))
	}
	status.Active, status.Ready = int32(len(active)), &ready
	return create, remove, status
}

func suspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// over reports whether a Job has ended, which is for good.
func over(j *batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// end adds the condition that decides and the one that concludes.
func end(status *batchv1.JobStatus, decided, concluded batchv1.JobConditionType, reason string, now metav1.Time) {
	for _, kind := range []batchv1.JobConditionType{decided, concluded} {
		status.Conditions = append(status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, LastProbeTime: now, LastTransitionTime: now,
		})
	}
}

// podForJob builds one Pod of a Job's template.
func podForJob(j *batchv1.Job) *corev1.Pod {
	template := j.Spec.Template.DeepCopy()
	p := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	p.Name, p.Namespace = j.Name+"-"+rand.String(5), j.Namespace
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))}
	p.Spec.NodeName = NodeName
	return p
}
