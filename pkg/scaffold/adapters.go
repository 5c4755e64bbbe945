package scaffold

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// AdapterMaps are the ConfigMaps that name the base model of each adapter, one
// for each model that has any: the body router sets X-Gateway-Base-Model-Name
// from them. They carry the labels of both projects' body routers; package
// bodyrouter/adapters reads them.
func AdapterMaps(about About, models []Model) ([]*corev1.ConfigMap, error) {
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
		meta := about.called(about.Name + "-" + used.take(m.Name) + "-adapters").meta()
		if meta.Labels == nil {
			meta.Labels = map[string]string{}
		}
		meta.Labels["inference.networking.k8s.io/bbr-managed"] = "true"
		meta.Labels["inference.llm-d.ai/ipp-managed"] = "true"
		maps = append(maps, &corev1.ConfigMap{
			TypeMeta: typed("v1", "ConfigMap"), ObjectMeta: meta,
			Data: map[string]string{"baseModel": m.Name, "adapters": string(adapters)},
		})
	}
	return maps, nil
}
