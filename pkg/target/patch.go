package target

import (
	"encoding/json"
	"fmt"
	"strings"
)

// operation is one step of a JSON Patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func (o operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]any{"op": o.Op, "path": o.Path})
	}
	return json.Marshal(map[string]any{"op": o.Op, "path": o.Path, "value": o.Value})
}

// pointer joins reference tokens into a JSON Pointer (RFC 6901 §3).
func pointer(tokens ...any) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		text := fmt.Sprint(token)
		text = strings.ReplaceAll(text, "~", "~0")
		b.WriteString(strings.ReplaceAll(text, "/", "~1"))
	}
	return b.String()
}

func rulePath(p place, tokens ...any) string {
	return pointer(append([]any{"spec", "rules", p.rule}, tokens...)...)
}

func testStamp(stamp string) operation {
	return operation{Op: "test", Path: pointer("metadata", "annotations", StampAnnotation), Value: stamp}
}

// movePatch sets w on the rule as read. When the canary is not listed yet it
// is appended as ref at weight w.canary.
func movePatch(rule any, p place, w weights, ref map[string]any) []operation {
	ops := []operation{
		{Op: "test", Path: rulePath(p), Value: rule},
		{Op: "add", Path: rulePath(p, "backendRefs", p.stable, "weight"), Value: w.stable},
	}
	if p.canary >= 0 {
		return append(ops, operation{Op: "add", Path: rulePath(p, "backendRefs", p.canary, "weight"), Value: w.canary})
	}
	added := map[string]any{}
	for k, v := range ref {
		added[k] = v
	}
	added["weight"] = w.canary
	return append(ops, operation{Op: "add", Path: rulePath(p, "backendRefs", "-"), Value: added})
}

// restorePatch puts back the two weights of the baseline rule, absent ones
// included, and takes out a canary the baseline did not list. It tests only
// who the backends are.
func restorePatch(now any, p place, baseline any, was place) []operation {
	refs, old := backendsOf(now), backendsOf(baseline)
	ops := testIdentity(p, p.stable, refs)
	if p.canary >= 0 {
		ops = append(ops, testIdentity(p, p.canary, refs)...)
	}
	ops = append(ops, restoreWeight(rulePath(p, "backendRefs", p.stable), refs[p.stable], old[was.stable])...)
	switch {
	case p.canary < 0:
	case was.canary < 0:
		ops = append(ops, operation{Op: "remove", Path: rulePath(p, "backendRefs", p.canary)})
	default:
		ops = append(ops, restoreWeight(rulePath(p, "backendRefs", p.canary), refs[p.canary], old[was.canary])...)
	}
	return ops
}

func testIdentity(p place, index int, refs []any) []operation {
	m, _ := refs[index].(map[string]any)
	var ops []operation
	for _, key := range []string{"group", "kind", "name", "namespace"} {
		if value, ok := m[key]; ok {
			ops = append(ops, operation{Op: "test", Path: rulePath(p, "backendRefs", index, key), Value: value})
		}
	}
	return ops
}

// restoreWeight gives the entry at path, which is now, the weight of old; nothing
// when it has it.
func restoreWeight(path string, now, old any) []operation {
	path += pointer("weight")
	before, _ := old.(map[string]any)
	weight, had := before["weight"]
	if had {
		return []operation{{Op: "add", Path: path, Value: weight}}
	}
	current, _ := now.(map[string]any)
	if _, has := current["weight"]; has {
		return []operation{{Op: "remove", Path: path}}
	}
	return nil
}

// seizePatch puts stamp on an object last seen at resourceVersion. Taking the
// object over is the one write that tests the version: it moves no weight and
// may be repeated freely.
func seizePatch(resourceVersion, stamp string, annotated bool) []operation {
	ops := []operation{{Op: "test", Path: pointer("metadata", "resourceVersion"), Value: resourceVersion}}
	if !annotated {
		ops = append(ops, operation{Op: "add", Path: pointer("metadata", "annotations"), Value: map[string]string{}})
	}
	return append(ops, operation{Op: "add", Path: pointer("metadata", "annotations", StampAnnotation), Value: stamp})
}

// releasePatch removes our stamp, and the annotations map with it when nothing
// else is in it. Our own managedFields entries (their indexes in own) go with
// it: they would claim the rules against the owner's next apply.
func releasePatch(stamp string, annotations map[string]string, own []int) []operation {
	ops := []operation{testStamp(stamp)}
	for i := len(own) - 1; i >= 0; i-- {
		path := pointer("metadata", "managedFields", own[i])
		ops = append(ops, operation{Op: "test", Path: path + "/manager", Value: FieldManager}, operation{Op: "remove", Path: path})
	}
	if len(annotations) == 1 {
		return append(ops,
			operation{Op: "test", Path: pointer("metadata", "annotations"), Value: annotations},
			operation{Op: "remove", Path: pointer("metadata", "annotations")})
	}
	return append(ops, operation{Op: "remove", Path: pointer("metadata", "annotations", StampAnnotation)})
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
