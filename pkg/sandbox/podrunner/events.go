package podrunner

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// told remembers which event a Pod has had, so that each is said once.
type told struct {
	uid     types.UID
	message string
}

// tell records an event about a Pod, the same one only once. An event that
// cannot be written is only logged: the status says the same.
func (r *Runner) tell(ctx context.Context, pod *corev1.Pod, kind, reason, message string) {
	r.mu.Lock()
	key := told{uid: pod.UID, message: reason + message}
	known := r.told[key]
	r.told[key] = true
	r.mu.Unlock()
	if known {
		return
	}
	now := metav1.Now()
	_, err := r.client.CoreV1().Events(pod.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.Name + "."},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Type: kind, Reason: reason, Message: message,
		Source:         corev1.EventSource{Component: "podrunner", Host: NodeName},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
	if err != nil {
		r.log.Warn("event not written", "pod", pod.Namespace+"/"+pod.Name, "reason", reason, "error", err)
	}
}

// forget drops what is remembered of a Pod that is gone.
func (r *Runner) forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.told {
		if key.uid == uid {
			delete(r.told, key)
		}
	}
}
