package evidence

import (
	"context"
	"fmt"

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

// Pool is one arm: an InferencePool, whose pods serve and whose pods pick, or
// one target model of it.
type Pool struct {
	Namespace, Name string
	Servers         labels.Selector // model-server pods
	Pickers         labels.Selector // endpoint-picker pods; nil for none
	Ports           []int32         // what the model servers serve on
	// Model is the target model (such as a LoRA adapter) that tells this arm
	// from the other one in the same pool; empty when the pool is all its own.
	Model string
	// Backend is the name of the arm on a gateway's pages.
	Backend string
}

func (p Pool) String() string {
	name := "inferencepool " + p.Namespace + "/" + p.Name
	if p.Model != "" {
		name = "model " + p.Model + " of " + name
	}
	return name
}

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
	found := Pool{Namespace: namespace, Name: name, Servers: labels.SelectorFromSet(servers)}
	for _, port := range pool.Spec.TargetPorts {
		found.Ports = append(found.Ports, int32(port.Number))
	}
	ref := pool.Spec.EndpointPickerRef
	if ref == nil {
		return found, nil
	}
	service, err := c.Core.CoreV1().Services(namespace).Get(ctx, string(ref.Name), metav1.GetOptions{})
	if err != nil {
		return Pool{}, hint.Wrap(fmt.Errorf("get service %s/%s, the picker of inferencepool %s: %w", namespace, ref.Name, name, err),
			"kubectl get services -n "+namespace)
	}
	found.Pickers = labels.SelectorFromSet(service.Spec.Selector)
	return found, nil
}
