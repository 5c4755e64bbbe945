package config

import (
	"encoding/json"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/picker/score"
)

// Config is what a file says. A nil field is not in it.
type Config struct {
	Weights                score.Weights
	ShedQueue, ShedKVCache *float64
	MaxEndpoints           *int
	Scheme, Path           *string // of metrics pages
	Insecure               *bool   // their certificates are not verified
	// Unused names what the file has and this picker does not, sorted.
	Unused []string
}

// file is the part of an EndpointPickerConfig that is read.
type file struct {
	Kind               string
	Plugins            []plugin
	SchedulingProfiles []profile
	SaturationDetector struct {
		thresholds
		PluginRef string
	}
	Parser struct{ PluginRef string }
}

type plugin struct {
	Name, Type string
	Parameters json.RawMessage
}

type profile struct {
	Name    string
	Plugins []struct {
		PluginRef string
		Weight    *float64
	}
}

type thresholds struct {
	QueueDepthThreshold, KVCacheUtilThreshold *float64
}

// Kind is the kind of a configuration file.
const Kind = "EndpointPickerConfig"

// Read reads a file. Names that it does not define, and YAML that is none, are
// errors.
func Read(text []byte) (*Config, error) {
	var f file
	var all map[string]json.RawMessage
	if err := yaml.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("read %s: %w", Kind, err)
	}
	if err := yaml.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", Kind, err)
	}
	if f.Kind != Kind {
		return nil, fmt.Errorf("read %s: its kind is %q", Kind, f.Kind)
	}
	c := &Config{}
	for key := range all {
		if !slices.Contains([]string{"apiVersion", "kind", "plugins", "schedulingProfiles", "saturationDetector", "parser", "dataLayer"}, key) {
			c.Unused = append(c.Unused, key)
		}
	}
	c.ShedQueue, c.ShedKVCache = f.SaturationDetector.QueueDepthThreshold, f.SaturationDetector.KVCacheUtilThreshold
	types := map[string]string{}
	for _, p := range f.Plugins {
		if p.Name == "" {
			p.Name = p.Type
		}
		types[p.Name] = p.Type
		if err := c.plugin(p); err != nil {
			return nil, err
		}
	}
	if err := c.profiles(f.SchedulingProfiles, types); err != nil {
		return nil, err
	}
	slices.Sort(c.Unused)
	c.Unused = slices.Compact(c.Unused)
	return c, nil
}

// scorers gives, for the reference's scorers, ours and the reference's default
// weight.
func scorers() map[string]struct {
	name  string
	usual float64
} {
	return map[string]struct {
		name  string
		usual float64
	}{
		"queue-scorer":                 {"queue", 2},
		"kv-cache-utilization-scorer":  {"kv-cache", 2},
		"prefix-cache-scorer":          {"prefix", 3},
		"lora-affinity-scorer":         {"lora", 1},
		"running-requests-size-scorer": {"requests", 1},
		"active-request-scorer":        {"requests", 1},
	}
}

// ours are the plugins that need no word: this picker always does what they do, or
// the same in its own way.
func ours() []string {
	return []string{
		"max-score-picker", "weighted-random-picker", "single-profile-handler", "openai-parser", "passthrough-parser",
		"core-metrics-extractor", "metrics-data-source", "utilization-detector", "approx-prefix-cache-producer", "inflight-load-producer",
	}
}

// plugin reads what a plugin's parameters say.
func (c *Config) plugin(p plugin) error {
	var parameters struct {
		thresholds
		MaxNumOfEndpoints  *int
		Scheme, Path       *string
		InsecureSkipVerify *bool
	}
	if len(p.Parameters) > 0 {
		if err := json.Unmarshal(p.Parameters, &parameters); err != nil {
			return fmt.Errorf("read %s: parameters of plugin %s: %w", Kind, p.Name, err)
		}
	}
	scorer, isScorer := scorers()[p.Type]
	switch {
	case p.Type == "max-score-picker" || p.Type == "weighted-random-picker":
		c.MaxEndpoints = parameters.MaxNumOfEndpoints
	case p.Type == "utilization-detector":
		c.ShedQueue, c.ShedKVCache = parameters.QueueDepthThreshold, parameters.KVCacheUtilThreshold
	case p.Type == "metrics-data-source":
		c.Scheme, c.Path, c.Insecure = parameters.Scheme, parameters.Path, parameters.InsecureSkipVerify
	case isScorer && len(p.Parameters) > 0:
		c.Unused = append(c.Unused, "parameters of "+scorer.name+" ("+p.Type+")")
	case !isScorer && !slices.Contains(ours(), p.Type):
		c.Unused = append(c.Unused, p.Type)
	}
	return nil
}

// profiles reads the weights of the first profile, the only one that is used.
func (c *Config) profiles(profiles []profile, types map[string]string) error {
	if len(profiles) == 0 {
		return nil
	}
	for _, other := range profiles[1:] {
		c.Unused = append(c.Unused, "profile "+other.Name)
	}
	c.Weights = score.Weights{"queue": 0, "kv-cache": 0, "prefix": 0}
	sum, n := 0.0, 0.0
	for _, ref := range profiles[0].Plugins {
		kind, ok := types[ref.PluginRef]
		if !ok {
			return fmt.Errorf("read %s: profile %s refers to plugin %q, which is not in plugins", Kind, profiles[0].Name, ref.PluginRef)
		}
		if s, ok := scorers()[kind]; ok {
			weight := 1.0
			if ref.Weight != nil {
				weight = *ref.Weight
			}
			c.Weights[s.name] = weight / s.usual
			sum, n = sum+weight/s.usual, n+1
		}
	}
	if sum > 0 {
		for name := range c.Weights {
			c.Weights[name] *= n / sum
		}
	}
	if _, err := score.New(c.Weights); err != nil {
		return fmt.Errorf("read %s: profile %s: %w", Kind, profiles[0].Name, err)
	}
	return nil
}
