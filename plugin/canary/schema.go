package canary

import (
	"encoding/json"
	"io"
	"maps"
	"slices"

	"github.com/spf13/pflag"
)

// schema is the JSON schema (draft 2020-12) of a plan file, made of the flags
// that read it. docs/canary-plan.schema.json is its output; a test compares.
func (f *planFlags) schema(out io.Writer) error {
	properties := map[string]any{
		"apiVersion": map[string]any{"const": planAPIVersion},
		"kind":       map[string]any{"const": planKind},
		"targets": map[string]any{
			"type": "array", "minItems": 1, "uniqueItems": true,
			"items":       map[string]any{"type": "string", "pattern": "^[^/]+/[^/]+$"},
			"description": "what moves, as TYPE/NAME; several move one by one and count as one step",
		},
	}
	fields := f.planFields()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		properties[name] = property(name, fields[name])
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": planKind, "type": "object",
		"additionalProperties": false, "required": []string{"stable", "canary"}, "properties": properties,
	})
}

// property is the schema of one field.
func property(name string, flag *pflag.Flag) map[string]any {
	p := map[string]any{"description": flag.Usage}
	switch flag.Value.Type() {
	case "bool":
		p["type"] = "boolean"
	case "int":
		p["type"] = "integer"
	case "float64":
		p["type"] = "number"
	case "duration":
		p["type"], p["pattern"] = "string", `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	case "stringArray":
		p["type"], p["items"] = "array", map[string]any{"type": "string"}
	default:
		p["type"] = "string"
	}
	if name == "steps" {
		p["type"] = "array"
		p["items"] = map[string]any{"anyOf": []any{
			map[string]any{"type": "integer", "minimum": 1, "maximum": 100},
			map[string]any{"type": "string", "pattern": "^[0-9]+%?(:approve)?$"},
		}}
	}
	return p
}
