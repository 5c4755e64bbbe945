package scaffold

import (
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// The images of model servers unless another is named.
const (
	VLLMImage      = "vllm/vllm-openai:v0.11.0"
	SimulatorImage = "kubectl-infer/model-server-sim"
)

// Adapter is a LoRA adapter: the name that clients ask for, and where it is.
type Adapter struct{ Name, Path string }

// ParseAdapter reads NAME=PATH, a folder in the container or a repository.
func ParseAdapter(text string) (Adapter, error) {
	name, path, ok := strings.Cut(text, "=")
	if !ok || name == "" || path == "" || len(name) > maxModelName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Adapter{}, hint.Errorf("--adapter travel-helper-v1=example/travel-helper-v1", "--adapter %q is not NAME=PATH", text)
	}
	return Adapter{Name: name, Path: path}, nil
}

// ModelServerOptions are what create model-server was asked for.
type ModelServerOptions struct {
	About
	Model     string // what is loaded: a repository or a folder
	Served    string // the name that clients ask for; empty is Model
	Adapters  []Adapter
	MaxLoRAs  int // adapters in one batch; 0 is as many as there are
	Image     string
	Replicas  int
	Port      int
	GPUs      int    // of each Pod
	Secret    string // with the key token: of the models' hub
	Simulated bool
	Flags     []string // more of the model server's own
}

// NameOf is a name for objects made of the name that clients ask for, without
// what comes before its last slash.
func NameOf(o ModelServerOptions) string {
	name := o.Served
	if name == "" {
		name = o.Model
	}
	return labelSet{}.take(name[strings.LastIndexByte(name, '/')+1:])
}

func (o ModelServerOptions) check() error {
	names := map[string]bool{o.Served: true}
	for _, a := range o.Adapters {
		if names[a.Name] {
			return hint.Errorf("give each adapter a name of its own", "name %q is given twice", a.Name)
		}
		names[a.Name] = true
	}
	switch {
	case o.Model == "":
		return hint.Errorf("--model example/qwen-7b", "no model is named")
	case o.Replicas < 1, o.Port < 1, o.Port > 65535, o.GPUs < 0, o.MaxLoRAs < 0:
		return hint.Errorf("--replicas 2 --port 8000 --gpus 1", "replicas %d, port %d, GPUs %d or adapters in a batch %d cannot be", o.Replicas, o.Port, o.GPUs, o.MaxLoRAs)
	}
	return nil
}

// ModelServer is a Deployment of vLLM, or of the simulator where there are no
// GPUs. Its Pods have the label app: NAME, by which a pool selects them.
func ModelServer(o ModelServerOptions) (*appsv1.Deployment, error) {
	if o.Served == "" {
		o.Served = o.Model
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	selector := map[string]string{"app": o.Name}
	pod := corev1.PodSpec{
		Containers:                    []corev1.Container{o.container()},
		SecurityContext:               &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		AutomountServiceAccountToken:  pointer(false),
		TerminationGracePeriodSeconds: pointer[int64](130), // answers that are being streamed end by themselves
	}
	if o.Simulated {
		pod.SecurityContext.RunAsNonRoot, pod.SecurityContext.RunAsUser = pointer(true), pointer[int64](65532)
	} else {
		pod.Volumes = []corev1.Volume{{Name: "shm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}}
	}
	return &appsv1.Deployment{
		TypeMeta: typed("apps/v1", "Deployment"), ObjectMeta: o.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: pointer(int32(o.Replicas)), Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: selector}, Spec: pod},
		},
	}, nil
}

func (o ModelServerOptions) container() corev1.Container {
	image := o.Image
	switch {
	case image == "" && o.Simulated:
		image = SimulatorImage
	case image == "":
		image = VLLMImage
	}
	health := func(period, failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromString("http")}},
			PeriodSeconds: period, FailureThreshold: failures,
		}
	}
	c := corev1.Container{
		Name: "model-server", Image: image, Args: o.args(),
		Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: int32(o.Port)}},
		StartupProbe:   health(2, 900), // half an hour to load a large model
		ReadinessProbe: health(2, 3), LivenessProbe: health(10, 6),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	if o.Secret != "" {
		c.Env = append(c.Env, corev1.EnvVar{Name: "HF_TOKEN", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: o.Secret}, Key: "token"},
		}})
	}
	if o.Simulated {
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")}
		return c
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "shm", MountPath: "/dev/shm"}}
	if o.GPUs > 0 {
		gpus := corev1.ResourceList{"nvidia.com/gpu": *resource.NewQuantity(int64(o.GPUs), resource.DecimalSI)}
		c.Resources = corev1.ResourceRequirements{Requests: gpus, Limits: gpus}
	}
	return c
}

// args are vLLM's, which the simulator reads too.
func (o ModelServerOptions) args() []string {
	args := []string{"--model", o.Model, "--served-model-name", o.Served, "--port", strconv.Itoa(o.Port)}
	if o.GPUs > 1 {
		args = append(args, "--tensor-parallel-size", strconv.Itoa(o.GPUs))
	}
	if len(o.Adapters) > 0 {
		most := o.MaxLoRAs
		if most == 0 {
			most = len(o.Adapters)
		}
		args = append(args, "--enable-lora", "--max-loras", strconv.Itoa(most), "--lora-modules")
		for _, a := range o.Adapters {
			args = append(args, fmt.Sprintf("%s=%s", a.Name, a.Path))
		}
	}
	return append(args, o.Flags...)
}
