package adapters

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func source(name string, age int, base, adapters string) Source {
	return Source{
		Namespace: "ns", Name: name, Created: time.Unix(int64(1000-age), 0),
		Data: map[string]string{"baseModel": base, "adapters": adapters},
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sources   []Source
		want      map[string]string // "" is unknown
		conflicts int
		invalid   string
	}{
		"an adapter names its base, a base itself": {
			[]Source{source("a", 1, "llama", "- x\n- z\n")},
			map[string]string{"x": "llama", "z": "llama", "llama": "llama", "w": ""},
			0, "",
		},
		"a base without adapters":   {[]Source{source("a", 1, "llama", "")}, map[string]string{"llama": "llama"}, 0, ""},
		"white space around a base": {[]Source{source("a", 1, " llama\n", "")}, map[string]string{"llama": "llama"}, 0, ""},
		"the oldest wins a conflict": {
			[]Source{source("a", 1, "young", "[x]"), source("b", 9, "old", "[x, z]"), source("c", 5, "middle", "[x]")},
			map[string]string{"x": "old", "z": "old", "young": "young"},
			2, "",
		},
		"of one age, the first by name wins": {[]Source{source("b", 1, "two", "[x]"), source("a", 1, "one", "[x]")}, map[string]string{"x": "one"}, 1, ""},
		"an adapter named as another base":   {[]Source{source("a", 9, "x", ""), source("b", 1, "y", "[x]")}, map[string]string{"x": "x", "y": "y"}, 1, ""},
		"saying the same twice is fine":      {[]Source{source("a", 2, "llama", "[x, x]"), source("b", 1, "llama", "[x]")}, map[string]string{"x": "llama"}, 0, ""},
		"no base model":                      {[]Source{source("a", 1, "", "[x]")}, map[string]string{"x": ""}, 0, "baseModel"},
		"a base that is no header value":     {[]Source{source("a", 1, "a b", "[x]")}, map[string]string{"x": ""}, 0, "visible ASCII"},
		"a name that YAML takes for a bool":  {[]Source{source("a", 1, "llama", "[x, y]")}, map[string]string{"x": ""}, 0, "quote it"},
		"a quoted name is a string":          {[]Source{source("a", 1, "llama", `["y"]`)}, map[string]string{"y": "llama"}, 0, ""},
		"adapters that are no list":          {[]Source{source("a", 1, "llama", "x: y")}, map[string]string{"llama": ""}, 0, "YAML list"},
		"an adapter with a line break":       {[]Source{source("a", 1, "llama", `["x\ny"]`)}, map[string]string{"llama": ""}, 0, `"x\ny"`},
		"a broken one harms no other":        {[]Source{source("a", 2, "llama", "{"), source("b", 1, "qwen", "[x]")}, map[string]string{"x": "qwen"}, 0, "ns/a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := Build(tt.sources)
			for name, want := range tt.want {
				if got, ok := m.BaseModel(name); got != want || ok != (want != "") {
					t.Errorf("%s: got %q, %v", name, got, ok)
				}
			}
			if len(m.Conflicts) != tt.conflicts || (len(m.Invalid) > 0) != (tt.invalid != "") || !strings.Contains(strings.Join(m.Invalid, ""), tt.invalid) {
				t.Errorf("conflicts %q, invalid %q", m.Conflicts, m.Invalid)
			}
		})
	}
}

func TestAConflictNamesBothConfigMapsAndCutsNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("m", 253)
	m := Build([]Source{source("old", 2, "a", "["+long+"]"), source("new", 1, "b", "["+long+"]")})
	want := `ConfigMap ns/new gives model "` + long[:128] + `"… the base model "b"; ConfigMap ns/old is older and wins with "a"`
	if len(m.Conflicts) != 1 || m.Conflicts[0] != want {
		t.Errorf("got %q", m.Conflicts)
	}
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	var adapters strings.Builder
	for i := range maxNames + 10 {
		fmt.Fprintf(&adapters, "- a%d\n", i)
	}
	if m := Build([]Source{source("a", 1, "llama", adapters.String())}); m.Len() != maxNames || len(m.Invalid) != 11 {
		t.Errorf("%d names, %d over the limit", m.Len(), len(m.Invalid))
	}
}
