package scaffold

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// AdapterMaps are the ConfigMaps that name the base model of each adapter, one
// for each model that has any: the body router sets X-Gateway-Base-Model-Name
// from them. They carry the labels of both projects' body routers; package
// bodyrouter/adapters reads them.
func AdapterMaps(name, namespace string, models []Model) ([]*corev1.ConfigMap, error) {
	var maps []*corev1.ConfigMap
	used := labelSet{}
	for _, m := range models {
		if len(m.Adapters) == 0 {
			continue
		}
		adapters, err := yaml.Marshal(m.Adapters)
		if err != nil {
			return nil, fmt.Errorf("encode adapters of model %s: %w", m.Name, err)
		}
		set := Labels("create-route")
		set["inference.networking.k8s.io/bbr-managed"] = "true"
		set["inference.llm-d.ai/ipp-managed"] = "true"
		maps = append(maps, &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Name: name + "-" + used.take(m.Name) + "-adapters", Namespace: namespace, Labels: set},
			Data:       map[string]string{"baseModel": m.Name, "adapters": string(adapters)},
		})
	}
	return maps, nil
}
