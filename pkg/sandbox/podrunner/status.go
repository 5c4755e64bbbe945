package podrunner

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// termination describes how a process ended: err is nil, an exit status, a
// signal, or the reason why it never began.
func termination(began metav1.Time, err error) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{StartedAt: began, FinishedAt: metav1.Now(), Reason: "Completed"}
	if err == nil {
		return t
	}
	t.Reason, t.ExitCode, t.Message = "Error", 1, err.Error()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Reason = "StartError"
		return t
	}
	t.Message = ""
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		t.Signal, t.ExitCode = int32(ws.Signal()), 128+int32(ws.Signal())
		return t
	}
	t.ExitCode = int32(exit.ExitCode())
	return t
}

// runningStatus is the status of a Pod that has its address and its containers.
func runningStatus(pod *corev1.Pod, hostIP, ip string, init, containers []corev1.ContainerStatus, now metav1.Time) corev1.PodStatus {
	s := baseStatus(pod, hostIP, now)
	s.PodIP, s.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	s.InitContainerStatuses, s.ContainerStatuses = init, containers
	s.Phase = phase(containers, pod.Spec.RestartPolicy)
	if pod.Spec.RestartPolicy == corev1.RestartPolicyNever && slices.ContainsFunc(init, failed) {
		s.Phase = corev1.PodFailed
	}
	var unready []string
	for _, c := range containers {
		if !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	ready := corev1.PodCondition{Status: corev1.ConditionTrue}
	switch {
	case s.Phase == corev1.PodSucceeded:
		ready.Status, ready.Reason = corev1.ConditionFalse, "PodCompleted"
	case len(unready) > 0:
		ready.Status, ready.Reason = corev1.ConditionFalse, "ContainersNotReady"
		ready.Message = fmt.Sprintf("containers with unready status: %v", unready)
	}
	conditions(&s, pod, ready, now)
	return s
}

// pendingStatus is the status of a Pod that cannot be started, and why.
func pendingStatus(pod *corev1.Pod, hostIP, reason, message string, now metav1.Time) corev1.PodStatus {
	s := baseStatus(pod, hostIP, now)
	s.Phase = corev1.PodPending
	for _, c := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Started: new(false),
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		})
	}
	conditions(&s, pod, corev1.PodCondition{Status: corev1.ConditionFalse, Reason: reason, Message: message}, now)
	return s
}

// failed reports whether a container's process ended badly.
func failed(c corev1.ContainerStatus) bool {
	return c.State.Terminated != nil && c.State.Terminated.ExitCode != 0
}

func baseStatus(pod *corev1.Pod, hostIP string, now metav1.Time) corev1.PodStatus {
	s := corev1.PodStatus{
		HostIP: hostIP, HostIPs: []corev1.HostIP{{IP: hostIP}},
		StartTime: pod.Status.StartTime, QOSClass: pod.Status.QOSClass,
		Conditions: slices.Clone(pod.Status.Conditions), ObservedGeneration: pod.Generation,
	}
	if s.StartTime == nil {
		s.StartTime = &now
	}
	return s
}

// phase follows the kubelet: over when every container is and none comes back.
func phase(containers []corev1.ContainerStatus, policy corev1.RestartPolicy) corev1.PodPhase {
	running, bad, ended := false, slices.ContainsFunc(containers, failed), 0
	for _, c := range containers {
		running = running || c.State.Running != nil || c.RestartCount > 0 || c.LastTerminationState.Terminated != nil
		if c.State.Terminated != nil {
			ended++
		}
	}
	over := ended == len(containers) && (policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && !bad)
	switch {
	case over && bad:
		return corev1.PodFailed
	case over:
		return corev1.PodSucceeded
	case running:
		return corev1.PodRunning
	}
	return corev1.PodPending
}

// conditions writes the four standard conditions; a transition time moves only
// with its condition's status.
func conditions(s *corev1.PodStatus, pod *corev1.Pod, ready corev1.PodCondition, now metav1.Time) {
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		c := corev1.PodCondition{Status: corev1.ConditionTrue}
		switch {
		case kind == corev1.ContainersReady || kind == corev1.PodReady:
			c = ready
		case kind == corev1.PodInitialized && !initialized(s):
			c.Status, c.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		}
		c.Type, c.LastTransitionTime, c.ObservedGeneration = kind, now, pod.Generation
		i := slices.IndexFunc(s.Conditions, func(old corev1.PodCondition) bool { return old.Type == kind })
		if i < 0 {
			s.Conditions = append(s.Conditions, c)
			continue
		}
		if s.Conditions[i].Status == c.Status {
			c.LastTransitionTime = s.Conditions[i].LastTransitionTime
		}
		s.Conditions[i] = c
	}
}

// initialized reports whether the init containers have done their part.
func initialized(s *corev1.PodStatus) bool {
	return !slices.ContainsFunc(s.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason == waitingForInit
	})
}
