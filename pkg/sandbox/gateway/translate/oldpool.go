package translate

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
)

// OldPoolGroup is the API group of InferencePool v1alpha2.
const OldPoolGroup = "inference.networking.x-k8s.io"

// oldPickerPort is what v1alpha2 means when extensionRef names no port.
const oldPickerPort = 9002

// poolKey names an InferencePool of either group.
type poolKey struct {
	types.NamespacedName
	old bool
}

// suffix is what follows the kind in a backend's name.
func (k poolKey) suffix() string {
	if k.old {
		return "-v1alpha2/" + k.String()
	}
	return "/" + k.NamespacedName.String()
}

func (k poolKey) group() string {
	if k.old {
		return OldPoolGroup
	}
	return infv1.GroupName
}

// ConvertOldPool reads an InferencePool of v1alpha2 as one of v1.
func ConvertOldPool(o *unstructured.Unstructured) (*infv1.InferencePool, error) {
	var old struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			Selector         map[infv1.LabelKey]infv1.LabelValue `json:"selector"`
			TargetPortNumber int32                               `json:"targetPortNumber"`
			ExtensionRef     *struct {
				Group       *infv1.Group                    `json:"group"`
				Kind        infv1.Kind                      `json:"kind"`
				Name        infv1.ObjectName                `json:"name"`
				PortNumber  *infv1.PortNumber               `json:"portNumber"`
				FailureMode infv1.EndpointPickerFailureMode `json:"failureMode"`
			} `json:"extensionRef"`
		} `json:"spec"`
	}
	body, err := json.Marshal(o.Object)
	if err == nil {
		err = json.Unmarshal(body, &old)
	}
	if err != nil {
		return nil, fmt.Errorf("read v1alpha2 inferencepool %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	pool := &infv1.InferencePool{ObjectMeta: old.ObjectMeta}
	pool.Spec.Selector.MatchLabels = old.Spec.Selector
	pool.Spec.TargetPorts = []infv1.Port{{Number: infv1.PortNumber(old.Spec.TargetPortNumber)}}
	if ref := old.Spec.ExtensionRef; ref != nil {
		port := &infv1.Port{Number: oldPickerPort}
		if ref.PortNumber != nil {
			port.Number = *ref.PortNumber
		}
		pool.Spec.EndpointPickerRef = &infv1.EndpointPickerRef{
			Group: ref.Group, Kind: ref.Kind, Name: ref.Name, Port: port, FailureMode: ref.FailureMode,
		}
	}
	return pool, nil
}
