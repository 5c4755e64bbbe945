package podrunner

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/rand"
)

const hashLabel = appsv1.DefaultDeploymentUniqueLabelKey

// templateHash names one revision of a Pod template.
func templateHash(template corev1.PodTemplateSpec) (string, error) {
	text, err := json.Marshal(template)
	if err != nil {
		return "", fmt.Errorf("hash the pod template: %w", err)
	}
	sum := fnv.New32a()
	sum.Write(text) // a hash never returns an error
	return rand.SafeEncodeString(fmt.Sprint(sum.Sum32())), nil
}

// step is what one look at a Deployment asks for.
type step struct {
	create int           // Pods of the current template
	delete []*corev1.Pod // Pods to delete now
}

// plan decides the next step towards replicas Pods of template hash. A changed
// template replaces Pods within maxSurge above replicas and maxUnavailable below:
// a ready old one goes only while enough others are ready. Recreate deletes all
// old first.
func plan(d *appsv1.Deployment, hash string, pods []*corev1.Pod) step {
	replicas := int(*d.Spec.Replicas)
	var current, old []*corev1.Pod
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
		case p.Labels[hashLabel] == hash:
			current = append(current, p)
		default:
			old = append(old, p)
		}
	}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType && len(old) > 0 {
		return step{delete: old}
	}
	var s step
	surge, unavailable := bounds(d)
	limit := replicas
	if len(old) > 0 && replicas > 0 {
		limit += surge
	}
	s.create = max(0, min(replicas-len(current), limit-len(current)-len(old)))
	expendable(current)
	if surplus := len(current) - replicas; surplus > 0 {
		s.delete = append(s.delete, current[:surplus]...)
		current = current[surplus:]
	}
	expendable(old)
	ready := countReady(current) + countReady(old)
	for _, p := range old {
		if isReady(p) {
			if ready <= replicas-unavailable {
				break
			}
			ready--
		}
		s.delete = append(s.delete, p)
	}
	return s
}

// bounds are maxSurge and maxUnavailable in Pods, not both 0, by the API's
// rounding and default of a quarter each.
func bounds(d *appsv1.Deployment) (surge, unavailable int) {
	quarter := intstr.FromString("25%")
	u := d.Spec.Strategy.RollingUpdate
	if u == nil {
		u = &appsv1.RollingUpdateDeployment{}
	}
	scaled := func(value *intstr.IntOrString, up bool) int {
		n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(value, quarter), int(*d.Spec.Replicas), up)
		if err != nil {
			return 0 // the API server lets none of these in
		}
		return n
	}
	surge, unavailable = scaled(u.MaxSurge, true), scaled(u.MaxUnavailable, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// expendable sorts Pods so that those to lose first come first: not ready
// before ready, younger before older, then by name.
func expendable(pods []*corev1.Pod) {
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		if isReady(a) != isReady(b) {
			if isReady(a) {
				return 1
			}
			return -1
		}
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

func countReady(pods []*corev1.Pod) int {
	n := 0
	for _, p := range pods {
		if isReady(p) {
			n++
		}
	}
	return n
}

// podFor builds one Pod of a Deployment's template.
func podFor(d *appsv1.Deployment, hash string) *corev1.Pod {
	template := d.Spec.Template.DeepCopy()
	p := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	p.Name = fmt.Sprintf("%s-%s-%s", d.Name, hash, rand.String(5))
	p.Namespace = d.Namespace
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[hashLabel] = hash
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	p.Spec.NodeName = NodeName
	return p
}

// deploymentStatus is d's status given its Pods, stamped now where a condition changed.
func deploymentStatus(d *appsv1.Deployment, hash string, pods []*corev1.Pod, now metav1.Time) appsv1.DeploymentStatus {
	replicas := *d.Spec.Replicas
	s := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Conditions: slices.Clone(d.Status.Conditions)}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		s.Replicas++
		if p.Labels[hashLabel] == hash {
			s.UpdatedReplicas++
		}
		if isReady(p) {
			s.ReadyReplicas++
		}
	}
	s.AvailableReplicas = s.ReadyReplicas
	s.UnavailableReplicas = max(0, replicas-s.AvailableReplicas)
	if s.AvailableReplicas >= replicas {
		setCondition(&s, appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
	} else {
		setCondition(&s, appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now)
	}
	if s.UpdatedReplicas == replicas && s.Replicas == replicas && s.AvailableReplicas >= replicas {
		setCondition(&s, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable", fmt.Sprintf("Pods of template %s are available.", hash), now)
	} else {
		setCondition(&s, appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated", fmt.Sprintf("Pods of template %s are progressing.", hash), now)
	}
	return s
}

func setCondition(s *appsv1.DeploymentStatus, kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, now metav1.Time) {
	for i, c := range s.Conditions {
		if c.Type == kind {
			if c.Status == status && c.Reason == reason && c.Message == message {
				return
			}
			s.Conditions = slices.Delete(s.Conditions, i, i+1)
			break
		}
	}
	s.Conditions = append(s.Conditions, appsv1.DeploymentCondition{
		Type: kind, Status: status, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now,
	})
}
