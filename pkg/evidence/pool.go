package evidence

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
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
	// Service says that the arm is a plain Service, not an InferencePool.
	Service bool
}

func (p Pool) String() string {
	name := "inferencepool " + p.Namespace + "/" + p.Name
	if p.Service {
		name = "service " + p.Namespace + "/" + p.Name
	}
	if p.Model != "" {
		name = "model " + p.Model + " of " + name
	}
	return name
}

// PoolRef names an InferencePool of either group.
type PoolRef struct{ Group, Name string }

func (r PoolRef) String() string { return "inferencepool " + r.Name }

// KnownPools says whether group is one of those InferencePools are of.
func KnownPools(group string) bool {
	return group == kube.InferencePools().Group || group == kube.AlphaInferencePools().Group
}

// ResolvePool reads the pool and its picker's Service.
func ResolvePool(ctx context.Context, c *kube.Clients, namespace string, ref PoolRef) (Pool, error) {
	resource := kube.InferencePools()
	if ref.Group == kube.AlphaInferencePools().Group {
		resource = kube.AlphaInferencePools()
	}
	object, err := c.Dynamic.Resource(resource).Namespace(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		err = fmt.Errorf("get inferencepool %s/%s: %w", namespace, ref.Name, err)
		if apierrors.IsNotFound(err) {
			return Pool{}, hint.Wrap(err, "kubectl get "+resource.GroupResource().String()+" -n "+namespace)
		}
		return Pool{}, err
	}
	found, picker, err := ReadPool(object)
	if err != nil || picker == "" {
		return found, err
	}
	service, err := c.Core.CoreV1().Services(namespace).Get(ctx, picker, metav1.GetOptions{})
	if err != nil {
		return Pool{}, hint.Wrap(fmt.Errorf("get service %s/%s, the picker of inferencepool %s: %w", namespace, picker, ref.Name, err),
			"kubectl get services -n "+namespace)
	}
	found.Pickers = labels.SelectorFromSet(service.Spec.Selector)
	return found, nil
}

// ResolveService reads a plain Service as an arm: the pods behind one of its
// ports, which is the only one where port is 0. It returns that port too.
func ResolveService(ctx context.Context, c *kube.Clients, namespace, name string, port int32) (Pool, int32, error) {
	service, err := c.Core.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		err = fmt.Errorf("get service %s/%s: %w", namespace, name, err)
		if apierrors.IsNotFound(err) {
			return Pool{}, 0, hint.Wrap(err, "kubectl get services,inferencepools -n "+namespace)
		}
		return Pool{}, 0, err
	}
	if len(service.Spec.Selector) == 0 {
		return Pool{}, 0, hint.Errorf("name a Service that selects the model servers' pods", "service %s/%s selects no pods, so their counters cannot be found", namespace, name)
	}
	var ports []string
	for _, p := range service.Spec.Ports {
		ports = append(ports, strconv.Itoa(int(p.Port)))
		if port != 0 && p.Port != port || port == 0 && len(service.Spec.Ports) > 1 {
			continue
		}
		if p.TargetPort.Type == intstr.String {
			return Pool{}, 0, hint.Errorf("give its targetPort as a number", "service %s/%s: port %d leads to the port named %s of its pods", namespace, name, p.Port, p.TargetPort.StrVal)
		}
		target := p.TargetPort.IntVal
		if target == 0 {
			target = p.Port
		}
		return Pool{Namespace: namespace, Name: name, Servers: labels.SelectorFromSet(service.Spec.Selector), Ports: []int32{target}, Service: true}, p.Port, nil
	}
	return Pool{}, 0, hint.Errorf("--to service/"+name+":PORT", "service %s/%s has the ports %s, of which one must be chosen", namespace, name, strings.Join(ports, ", "))
}

// readPool reads inference.networking.k8s.io/v1 InferencePool, and returns the
// name of its picker's Service.
func readPool(object map[string]any, into *Pool) (picker string, err error) {
	var pool inferencev1.InferencePool
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &pool); err != nil {
		return "", fmt.Errorf("read inferencepool %s/%s: %w", into.Namespace, into.Name, err)
	}
	servers := labels.Set{}
	for k, v := range pool.Spec.Selector.MatchLabels {
		servers[string(k)] = string(v)
	}
	into.Servers = labels.SelectorFromSet(servers)
	for _, port := range pool.Spec.TargetPorts {
		into.Ports = append(into.Ports, int32(port.Number))
	}
	if ref := pool.Spec.EndpointPickerRef; ref != nil {
		picker = string(ref.Name)
	}
	return picker, nil
}

// readAlphaPool is readPool for inference.networking.x-k8s.io/v1alpha2, where
// the selector is the labels themselves and the port is one.
func readAlphaPool(object map[string]any, into *Pool) (picker string, err error) {
	servers, _, err := unstructured.NestedStringMap(object, "spec", "selector")
	if err != nil {
		return "", fmt.Errorf("read inferencepool %s/%s: %w", into.Namespace, into.Name, err)
	}
	into.Servers = labels.SelectorFromSet(servers)
	if port, ok, _ := unstructured.NestedInt64(object, "spec", "targetPortNumber"); ok {
		into.Ports = []int32{int32(port)}
	}
	picker, _, _ = unstructured.NestedString(object, "spec", "extensionRef", "name")
	return picker, nil
}
