// Package adapters reads which base model serves each LoRA adapter, from the
// ConfigMaps that the body routers of both projects use, and follows them.
//
// A ConfigMap names one base model and its adapters:
//
//	data:
//	  baseModel: llama-3
//	  adapters: |
//	    - support
//	    - sales
//
// It is read when it has one of the labels in Labels. Names are global: where
// two ConfigMaps disagree about a name, the older one wins and the conflict is
// reported. Start reading at Build, which is pure; watch.go feeds it.
//
// Source: gateway-api-inference-extension v1.5.0 pkg/bbr (base-model-to-header)
// and its successor in llm-d.
package adapters

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Labels are the labels, each with the value "true", that mark a ConfigMap as
// ours to read.
func Labels() []string {
	return []string{"inference.networking.k8s.io/bbr-managed", "inference.llm-d.ai/ipp-managed"}
}

const (
	maxName  = 253    // bytes of a name, as in package bodyrouter
	maxNames = 10_000 // names read; each may become a metric label
	logName  = 128    // bytes of a name that a report shows
)

// Source is one ConfigMap.
type Source struct {
	Namespace, Name string
	Created         time.Time
	Data            map[string]string
}

func (s Source) String() string { return s.Namespace + "/" + s.Name }

// Map is a snapshot of all ConfigMaps. It never changes.
type Map struct {
	bases map[string]string
	// Conflicts and Invalid are sentences that name the ConfigMap; sorted.
	Conflicts, Invalid []string
}

// BaseModel returns the base model that serves name, which is name itself for a
// base model; not ok when no ConfigMap has the name.
func (m *Map) BaseModel(name string) (string, bool) {
	base, ok := m.bases[name]
	return base, ok
}

// Len returns the number of names.
func (m *Map) Len() int { return len(m.bases) }

// Build reads the ConfigMaps, the oldest first (then by namespace and name).
func Build(sources []Source) *Map {
	sources = slices.Clone(sources)
	slices.SortFunc(sources, func(a, b Source) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	m := &Map{bases: map[string]string{}}
	owner := map[string]Source{}
	for _, s := range sources {
		base, names, err := s.read()
		if err != nil {
			m.Invalid = append(m.Invalid, fmt.Sprintf("ConfigMap %s: %v", s, err))
			continue
		}
		for _, name := range names {
			switch first, taken := m.bases[name]; {
			case taken && first != base:
				m.Conflicts = append(m.Conflicts, fmt.Sprintf("ConfigMap %s gives model %s the base model %s; ConfigMap %s is older and wins with %s",
					s, quote(name), quote(base), owner[name], quote(first)))
			case taken:
			case len(m.bases) == maxNames:
				m.Invalid = append(m.Invalid, fmt.Sprintf("ConfigMap %s: model %s is over the limit of %d names", s, quote(name), maxNames))
			default:
				m.bases[name], owner[name] = base, s
			}
		}
	}
	slices.Sort(m.Conflicts)
	slices.Sort(m.Invalid)
	return m
}

// read returns the base model and all names it serves, its own first.
func (s Source) read() (base string, names []string, err error) {
	base = strings.TrimSpace(s.Data["baseModel"])
	if !valid(base) {
		return "", nil, fmt.Errorf("baseModel %s is not 1 to %d visible ASCII characters", quote(base), maxName)
	}
	var adapters []any
	if err := yaml.UnmarshalStrict([]byte(s.Data["adapters"]), &adapters); err != nil {
		return "", nil, fmt.Errorf("adapters is not a YAML list")
	}
	names = append(names, base)
	for _, adapter := range adapters {
		name, ok := adapter.(string)
		if !ok { // y, 1.10 and null are no strings in YAML; nobody means "true" or "1.1"
			return "", nil, fmt.Errorf("adapter %v is not a string; quote it", adapter)
		}
		if !valid(name) {
			return "", nil, fmt.Errorf("adapter %s is not 1 to %d visible ASCII characters", quote(name), maxName)
		}
		names = append(names, name)
	}
	return base, names, nil
}

// Equal reports whether both maps answer and report the same.
func (m *Map) Equal(o *Map) bool {
	return maps.Equal(m.bases, o.bases) && slices.Equal(m.Conflicts, o.Conflicts) && slices.Equal(m.Invalid, o.Invalid)
}

// valid is what the scanner takes for a model name.
func valid(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

func quote(name string) string {
	if len(name) > logName {
		return fmt.Sprintf("%q…", name[:logName])
	}
	return fmt.Sprintf("%q", name)
}
