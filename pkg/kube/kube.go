// Package kube makes the Kubernetes clients the rest of the project uses, from
// a kubeconfig or from inside a cluster. Start at New; nothing is dialled
// until a client is used, so help and completion stay instant.
package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// HTTPRoutes is the resource gateway.networking.k8s.io/v1 httproutes. Routes
// and pools are handled as unstructured objects, so that fields newer than
// this build survive and can be tested as the server has them.
func HTTPRoutes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
}

// Gateways is the resource gateway.networking.k8s.io/v1 gateways.
func Gateways() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
}

// GatewayClasses is the resource gateway.networking.k8s.io/v1 gatewayclasses.
func GatewayClasses() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}
}

// InferencePools is the resource inference.networking.k8s.io/v1 inferencepools.
func InferencePools() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "inference.networking.k8s.io", Version: "v1", Resource: "inferencepools"}
}

// AlphaInferencePools are inference.networking.x-k8s.io/v1alpha2 inferencepools.
func AlphaInferencePools() schema.GroupVersionResource { return alpha("inferencepools") }

// InferenceModels are inference.networking.x-k8s.io/v1alpha2 inferencemodels.
func InferenceModels() schema.GroupVersionResource { return alpha("inferencemodels") }

// ModelRewrites are inference.networking.x-k8s.io/v1alpha2 inferencemodelrewrites.
func ModelRewrites() schema.GroupVersionResource { return alpha("inferencemodelrewrites") }

// LLMDModelRewrites are llm-d.ai/v1alpha2 inferencemodelrewrites.
func LLMDModelRewrites() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "llm-d.ai", Version: "v1alpha2", Resource: "inferencemodelrewrites"}
}

func alpha(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "inference.networking.x-k8s.io", Version: "v1alpha2", Resource: resource}
}

// Clients talk to one cluster, in one namespace by default.
type Clients struct {
	Config    *rest.Config
	Core      kubernetes.Interface
	Dynamic   dynamic.Interface
	Namespace string
}

// New builds clients from the kubectl flags in getter. It does not contact the
// cluster.
func New(getter genericclioptions.RESTClientGetter) (*Clients, error) {
	config, err := getter.ToRESTConfig()
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("load kubeconfig: %w", err),
			"kubectl config get-contexts   # or, for a rehearsal: kubectl infer sandbox up --detach")
	}
	namespace, _, err := getter.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("read namespace from kubeconfig: %w", err)
	}
	return ForConfig(config, namespace)
}

// ForConfig builds clients from a ready REST configuration.
func ForConfig(config *rest.Config, namespace string) (*Clients, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 100
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build core client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build dynamic client: %w", err)
	}
	return &Clients{Config: config, Core: core, Dynamic: dyn, Namespace: namespace}, nil
}
