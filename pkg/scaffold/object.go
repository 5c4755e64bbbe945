package scaffold

import (
	"bytes"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// About is what every object has: its name and namespace, the verb that made it,
// and what it is a part of. Without a verb it carries none of our labels:
// manifests/ is made so.
type About struct{ Name, Namespace, Verb, Part string }

// called is the same for an object of another name.
func (a About) called(name string) About {
	a.Name = name
	return a
}

func (a About) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: a.Name, Namespace: a.Namespace, Labels: a.labels()}
}

func (a About) labels() map[string]string {
	if a.Verb == "" {
		return nil
	}
	set := Labels(a.Verb)
	if a.Part != "" {
		set[PartOf] = a.Part
	}
	return set
}

// custom is an object of a kind for which there is no Go type here.
func (a About) custom(apiVersion, kind string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec}}
	o.SetName(a.Name)
	if a.Namespace != "" {
		o.SetNamespace(a.Namespace)
	}
	if set := a.labels(); set != nil {
		o.SetLabels(set)
	}
	return o
}

// Plain is an object as a person would write it: no status, no empty times, no
// empty settings of a Deployment.
func Plain(o runtime.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	delete(content, "status")
	dropEmpty(content, "metadata", "creationTimestamp")
	dropEmpty(content, "spec", "strategy")
	dropEmpty(content, "spec", "template", "metadata", "creationTimestamp")
	containers, _, _ := unstructured.NestedFieldNoCopy(content, "spec", "template", "spec", "containers")
	list, _ := containers.([]any)
	for _, c := range list {
		if container, ok := c.(map[string]any); ok {
			dropEmpty(container, "resources")
		}
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// dropEmpty removes a field that is nil or an empty object.
func dropEmpty(content map[string]any, fields ...string) {
	value, found, err := unstructured.NestedFieldNoCopy(content, fields...)
	if empty, ok := value.(map[string]any); found && err == nil && (value == nil || ok && len(empty) == 0) {
		unstructured.RemoveNestedField(content, fields...)
	}
}

// YAML writes objects as the documents of one stream.
func YAML(objects ...runtime.Object) ([]byte, error) {
	var out bytes.Buffer
	for i, o := range objects {
		content, err := Plain(o)
		if err != nil {
			return nil, err
		}
		text, err := yaml.Marshal(content.Object)
		if err != nil {
			return nil, fmt.Errorf("encode object: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

// Image is one of our own images: below a registry where one is given.
func Image(registry, name string) string {
	image := "kubectl-infer/" + name
	if registry = strings.TrimSuffix(registry, "/"); registry != "" {
		image = registry + "/" + image
	}
	return image
}
