package config

import (
	"encoding/json"
	"strings"
	"testing"
)

const head = "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"

// What the reference's charts write, with the sentences they may hold beside it.
func TestRead(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ text, want string }{
		"the charts' default is this picker's": {
			`plugins: [{type: queue-scorer}, {type: kv-cache-utilization-scorer}, {type: prefix-cache-scorer},
  {type: metrics-data-source, parameters: {scheme: "http", path: "/metrics", insecureSkipVerify: true}}, {type: core-metrics-extractor}]
schedulingProfiles: [{name: default, plugins: [{pluginRef: queue-scorer, weight: 2}, {pluginRef: kv-cache-utilization-scorer, weight: 2}, {pluginRef: prefix-cache-scorer, weight: 3}]}]`,
			`{"Weights":{"kv-cache":1,"prefix":1,"queue":1},"Scheme":"http","Path":"/metrics","Insecure":true}`,
		},
		"that of v1.0, with no weights, leans less on prefixes": {
			`plugins: [{type: queue-scorer}, {type: kv-cache-utilization-scorer}, {type: prefix-cache-scorer}]
schedulingProfiles: [{name: default, plugins: [{pluginRef: queue-scorer}, {pluginRef: kv-cache-utilization-scorer}, {pluginRef: prefix-cache-scorer}]}]`,
			`{"Weights":{"kv-cache":1.125,"prefix":0.75,"queue":1.125}}`,
		},
		"a weight is relative to the reference's own": {
			`plugins: [{type: queue-scorer}, {type: lora-affinity-scorer}]
schedulingProfiles: [{name: p, plugins: [{pluginRef: queue-scorer, weight: 4}, {pluginRef: lora-affinity-scorer, weight: 6}]}]`,
			`{"Weights":{"kv-cache":0,"lora":1.5,"prefix":0,"queue":0.5}}`,
		},
		"a scorer left out is off": {
			`plugins: [{name: q, type: queue-scorer}]
schedulingProfiles: [{name: p, plugins: [{pluginRef: q}]}]`,
			`{"Weights":{"kv-cache":0,"prefix":0,"queue":1}}`,
		},
		"no profile: the defaults":        {"plugins: []", `{}`},
		"thresholds, in the file of v1.0": {"saturationDetector: {queueDepthThreshold: 7, kvCacheUtilThreshold: 0.9}", `{"ShedQueue":7,"ShedKVCache":0.9}`},
		"thresholds, as a plugin of v1.5": {"plugins: [{type: utilization-detector, parameters: {queueDepthThreshold: 7}}]\nsaturationDetector: {pluginRef: utilization-detector}", `{"ShedQueue":7}`},
		"fallbacks":                       {"plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: 3}}]", `{"MaxEndpoints":3}`},
		"what this picker does not have is named once": {
			`featureGates: [flowControl]
flowControl: {maxBytes: 1Gi}
plugins: [{type: predicted-latency-producer}, {name: a, type: prefix-cache-affinity-filter}, {name: b, type: prefix-cache-affinity-filter}, {type: prefix-cache-scorer, parameters: {blockSizeTokens: 64}}]
schedulingProfiles: [{name: p, plugins: [{pluginRef: a}, {pluginRef: b}, {pluginRef: prefix-cache-scorer, weight: 3}]}, {name: decode, plugins: []}]`,
			`{"Weights":{"kv-cache":0,"prefix":1,"queue":0},"Unused":["featureGates","flowControl","parameters of prefix (prefix-cache-scorer)","predicted-latency-producer","prefix-cache-affinity-filter","profile decode"]}`,
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			c, err := Read([]byte(head + tc.text))
			if err != nil {
				t.Fatal(err)
			}
			fields := map[string]any{}
			text, _ := json.Marshal(c)
			_ = json.Unmarshal(text, &fields)
			for name, value := range fields {
				if value == nil {
					delete(fields, name)
				}
			}
			var want map[string]any
			_ = json.Unmarshal([]byte(tc.want), &want)
			got, _ := json.Marshal(fields)
			expected, _ := json.Marshal(want)
			if string(got) != string(expected) {
				t.Errorf("got  %s\nwant %s", got, expected)
			}
		})
	}
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ text, names string }{
		"not YAML":                           {"\t", "yaml"},
		"another kind":                       {"kind: Deployment", "Deployment"},
		"an empty file":                      {"", `""`},
		"a plugin that is not defined":       {head + "schedulingProfiles: [{name: p, plugins: [{pluginRef: queue-scorer}]}]", `profile p refers to plugin "queue-scorer"`},
		"a weight that is none":              {head + "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: queue-scorer, weight: -2}]}]", "weight -1 of"},
		"parameters of another shape":        {head + "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: many}}]", "max-score-picker"},
		"a list where there should be a map": {"[]", "EndpointPickerConfig"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if c, err := Read([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.names) {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}
