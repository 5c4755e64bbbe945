package podrunner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// defaultGrace is a Pod's without terminationGracePeriodSeconds.
const defaultGrace = 30 * time.Second

// waitingForInit is the kubelet's word for a container whose turn comes later.
const waitingForInit = "PodInitializing"

// newInitContainer is a container that runs to its end, again after a failure
// unless the Pod's policy is Never; a sidecar, with a policy of its own, is kept.
func (r *Runner) newInitContainer(pod *corev1.Pod, i *instance, spec corev1.Container, program Program) *container {
	c := r.newContainer(pod, i, spec, program)
	switch {
	case spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways:
		c.policy = corev1.RestartPolicyAlways
	case c.policy == corev1.RestartPolicyAlways:
		c.policy = corev1.RestartPolicyOnFailure
	}
	return c
}

func (r *Runner) newContainer(pod *corev1.Pod, i *instance, spec corev1.Container, program Program) *container {
	base := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": i.dir, "TMPDIR": os.TempDir(), "HOSTNAME": pod.Name,
		"POD_IP": i.ip, "POD_NAME": pod.Name, "POD_NAMESPACE": pod.Namespace,
	}
	if i.kubeconfig != "" {
		base["KUBECONFIG"] = i.kubeconfig
	}
	args := expandAll(program.Args, variables(base, pod, spec))
	path, words := program.Name, args
	if !program.Local {
		path, words = r.Executable, slices.Concat([]string{program.Name}, args)
	}
	key := nameOf(pod)
	c := &container{
		env:     environment(base, pod, spec),
		logPath: filepath.Join(r.LogDir, LogName(pod.Namespace, pod.Name, spec.Name)),
		probe:   readinessProbe(spec, i.ip, r.probes), client: r.probes, policy: pod.Spec.RestartPolicy,
		startup:   optionalProbe(spec.StartupProbe, spec, i.ip, r.probes),
		liveness:  optionalProbe(spec.LivenessProbe, spec, i.ip, r.probes),
		killGrace: defaultGrace,
		changed:   func() { r.podQueue.Add(key) },
		say:       func(kind, reason, message string) { r.tell(i.ctx, pod, kind, reason, message) },
		kick:      make(chan struct{}, 1), done: make(chan struct{}),
		status: corev1.ContainerStatus{
			Name: spec.Name, Image: spec.Image, ImageID: imageID(program.Name), Started: new(true),
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		},
	}
	if seconds := pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		c.killGrace = time.Duration(*seconds) * time.Second
	}
	if program.Name == ModelServer {
		c.faultsURL = faultsURL(i.ip, spec, args)
	}
	c.start = func() (child, error) {
		return r.Starter.Start(process.Spec{
			Name: fmt.Sprintf("container %s of pod %s", spec.Name, key), Path: path, Args: words, Dir: i.dir,
			Env: c.env, LogPath: c.logPath,
		})
	}
	return c
}

// imageID says in a container's status which program stands for its image.
func imageID(program string) string { return "sandbox://" + program }

// LogName is the file a container's output goes to.
func LogName(namespace, pod, container string) string {
	return namespace + "_" + pod + "_" + container + ".log"
}
