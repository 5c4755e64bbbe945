package podrunner

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// retryStart is how often a Pod that lacks something is looked at again.
const retryStart = time.Second

// reconcilePod brings one Pod's processes to what the API server says of it,
// and its status to what the processes do.
func (r *Runner) reconcilePod(ctx context.Context, key types.NamespacedName) error {
	cached, err := r.pods.Pods(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	running := r.instance(key)
	if running != nil && (cached == nil || cached.UID != running.uid) {
		if running.stop(0); running.stopped() {
			r.cleanUp(key, running)
			r.podQueue.Add(key)
		}
		return nil // its end brings us back
	}
	if cached == nil || (cached.Spec.NodeName != "" && cached.Spec.NodeName != NodeName) {
		return nil
	}
	pod := cached.DeepCopy()
	if pod.DeletionTimestamp != nil {
		return r.endPod(ctx, key, pod, running)
	}
	owner, gone, err := r.ownerOf(ctx, pod)
	switch {
	case err != nil:
		return err
	case gone:
		return r.deletePod(ctx, pod, nil)
	case pod.Spec.NodeName == "":
		return r.bind(ctx, pod)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return nil
	}
	faults, err := wantedFaults(pod, owner)
	if err != nil { // what is not understood is not in effect, and an event says so
		r.tell(ctx, pod, corev1.EventTypeWarning, "InvalidFaults", err.Error())
	}
	if running == nil {
		var reason string
		if running, reason, err = r.startPod(ctx, pod, faults); err != nil {
			return r.pend(ctx, pod, reason, err)
		}
	}
	for _, c := range running.containers {
		c.want(faults)
	}
	if err := r.renewToken(ctx, pod, running); err != nil {
		return err
	}
	return r.writeRunning(ctx, pod, running)
}

// bind schedules a Pod that was made directly.
func (r *Runner) bind(ctx context.Context, pod *corev1.Pod) error {
	err := r.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: NodeName},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("bind pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// endPod gives a Pod's processes their grace, then lets the object go.
func (r *Runner) endPod(ctx context.Context, key types.NamespacedName, pod *corev1.Pod, running *instance) error {
	if running != nil {
		grace := int64(0)
		if pod.DeletionGracePeriodSeconds != nil {
			grace = *pod.DeletionGracePeriodSeconds
		}
		if running.stop(time.Duration(grace) * time.Second); !running.stopped() {
			return r.writeRunning(ctx, pod, running)
		}
		r.cleanUp(key, running)
	}
	r.forget(pod.UID)
	now := int64(0)
	return r.deletePod(ctx, pod, &now)
}

func (r *Runner) writeRunning(ctx context.Context, pod *corev1.Pod, running *instance) error {
	init, containers := running.snapshot()
	return r.writeStatus(ctx, pod, runningStatus(pod, r.hostIP(), running.ip, init, containers, metav1.Now()))
}

func (r *Runner) writeStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	if equality.Semantic.DeepEqual(status, pod.Status) {
		return nil
	}
	pod.Status = status
	_, err := r.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write status of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// pend says in the Pod's status and in an event why it cannot start. What may
// be put right from outside (a ServiceAccount that appears) is tried again.
func (r *Runner) pend(ctx context.Context, pod *corev1.Pod, reason string, why error) error {
	message := why.Error()
	if advice := hint.Of(why); advice != "" {
		message += "; " + advice
	}
	r.tell(ctx, pod, corev1.EventTypeWarning, reason, message)
	if reason != reasonNoProgram {
		r.podQueue.AddAfter(nameOf(pod), retryStart)
	}
	return r.writeStatus(ctx, pod, pendingStatus(pod, r.hostIP(), reason, message, metav1.Now()))
}

// Why a Pod stays Pending.
const (
	reasonNoProgram = "NoLocalProgram"
	reasonConfig    = "CreateContainerConfigError" // the kubelet's word
)

// startPod starts a process for each container; on error nothing is left.
func (r *Runner) startPod(ctx context.Context, pod *corev1.Pod, faults modelsim.Faults) (*instance, string, error) {
	programs, notes, err := r.resolveAll(pod)
	if err != nil {
		return nil, reasonNoProgram, err
	}
	if len(notes) > 0 {
		r.tell(ctx, pod, corev1.EventTypeNormal, "Ignored", "has no effect in a sandbox: "+strings.Join(notes, ", "))
	}
	i, err := r.prepare(ctx, pod)
	if err != nil {
		return nil, reasonConfig, err
	}
	for _, c := range pod.Spec.InitContainers {
		if program, ok := programs[c.Name]; ok {
			i.init = append(i.init, r.newInitContainer(pod, i, c, program))
		}
	}
	for _, c := range pod.Spec.Containers {
		made := r.newContainer(pod, i, c, programs[c.Name])
		made.wanted = faults
		if len(i.init) > 0 {
			made.status.State.Waiting.Reason = waitingForInit
		}
		i.containers = append(i.containers, made)
	}
	r.mu.Lock()
	r.instances[nameOf(pod)] = i
	r.mu.Unlock()
	i.begin()
	return i, "", nil
}

// resolveAll finds the program of each container, by its name. An init
// container without one is left out, since most of them fetch what is not
// needed here, and noted with everything else that is ignored.
func (r *Runner) resolveAll(pod *corev1.Pod) (map[string]Program, []string, error) {
	programs := map[string]Program{}
	notes := map[string]bool{}
	for _, c := range pod.Spec.InitContainers {
		program, _, err := Resolve(c, r.Images)
		if err != nil {
			notes["initContainer "+c.Name+" (no local program)"] = true
			continue
		}
		programs[c.Name] = program
	}
	for _, c := range pod.Spec.Containers {
		program, ignored, err := Resolve(c, r.Images)
		if err != nil {
			return nil, nil, err
		}
		programs[c.Name] = program
		for _, note := range ignored {
			notes[note] = true
		}
	}
	return programs, slices.Sorted(maps.Keys(notes)), nil
}

// prepare gives a Pod its folder, its credentials and its address.
func (r *Runner) prepare(ctx context.Context, pod *corev1.Pod) (*instance, error) {
	account, err := r.account(ctx, pod)
	if err != nil {
		return nil, err
	}
	i := newInstance(ctx, pod.UID, filepath.Join(r.Dir, pod.Namespace+"_"+pod.Name))
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if mountsToken(pod, account) {
		if i.kubeconfig, err = r.writeKubeconfig(pod, i.dir); err != nil {
			return nil, err
		}
		if err := r.renewToken(ctx, pod, i); err != nil {
			return nil, err
		}
	}
	address, err := r.addresses.allocate()
	if err != nil {
		return nil, err
	}
	i.address, i.ip = address, address.String()
	return i, nil
}

// renewToken writes a fresh token when the last is half spent, and comes back
// for the next.
func (r *Runner) renewToken(ctx context.Context, pod *corev1.Pod, i *instance) error {
	if i.kubeconfig == "" || time.Since(i.tokenAt) < tokenRenewal {
		return nil
	}
	if err := r.writeToken(ctx, pod, i.dir); err != nil {
		return err
	}
	i.tokenAt = time.Now()
	r.podQueue.AddAfter(nameOf(pod), tokenRenewal)
	return nil
}
