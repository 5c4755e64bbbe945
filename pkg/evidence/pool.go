package evidence

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	inferencev1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// defaultMetricsPort is where pickers serve their metrics unless a container
// port is named "metrics".
const defaultMetricsPort = 9090

// Pool is an InferencePool as evidence needs it: whose pods serve, and whose
// pods pick.
type Pool struct {
	Namespace, Name string
	Servers         labels.Selector // model-server pods
	Pickers         labels.Selector // endpoint-picker pods
}

func (p Pool) String() string { return "inferencepool " + p.Namespace + "/" + p.Name }

// ResolvePool reads the pool and its picker's Service.
func ResolvePool(ctx context.Context, c *kube.Clients, namespace, name string) (Pool, error) {
	object, err := c.Dynamic.Resource(kube.InferencePools()).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		err = fmt.Errorf("get inferencepool %s/%s: %w", namespace, name, err)
		if apierrors.IsNotFound(err) {
			return Pool{}, hint.Wrap(err, "kubectl get inferencepools -n "+namespace)
		}
		return Pool{}, err
	}
	var pool inferencev1.InferencePool
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pool); err != nil {
		return Pool{}, fmt.Errorf("read inferencepool %s/%s: %w", namespace, name, err)
	}
	servers := labels.Set{}
	for k, v := range pool.Spec.Selector.MatchLabels {
		servers[string(k)] = string(v)
	}
	ref := pool.Spec.EndpointPickerRef
	if ref == nil {
		return Pool{}, hint.Errorf("set spec.endpointPickerRef to the Service of an endpoint picker",
			"inferencepool %s/%s has no endpoint picker, so nothing counts its requests", namespace, name)
	}
	service, err := c.Core.CoreV1().Services(namespace).Get(ctx, string(ref.Name), metav1.GetOptions{})
	if err != nil {
		return Pool{}, hint.Wrap(fmt.Errorf("get service %s/%s, the picker of inferencepool %s: %w", namespace, ref.Name, name, err),
			"kubectl get services -n "+namespace)
	}
	return Pool{
		Namespace: namespace, Name: name,
		Servers: labels.SelectorFromSet(servers),
		Pickers: labels.SelectorFromSet(service.Spec.Selector),
	}, nil
}

// ready says whether a pod is ready and stays.
func ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.PodIP == "" {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func restarts(pod *corev1.Pod) int {
	n := 0
	for _, c := range pod.Status.ContainerStatuses {
		n += int(c.RestartCount)
	}
	return n
}

func metricsPort(pod *corev1.Pod) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == "metrics" {
				return port.ContainerPort
			}
		}
	}
	return defaultMetricsPort
}
