package assets

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func TestPrerequisites(t *testing.T) {
	tests := map[string]struct {
		tool   Tool
		script map[string]string
		want   string // in the error; "" is none
	}{
		"Go 1.26 will do":              {Go, map[string]string{"go": "echo go1.26.0"}, ""},
		"a patched Go will do":         {Go, map[string]string{"go": "echo go1.27.1 X:nodwarf5"}, ""},
		"an older Go will not":         {Go, map[string]string{"go": "echo go1.25.9"}, "found go1.25.9"},
		"no Go is named":               {Go, nil, "Go 1.26 or newer: "},
		"Python 3.10 will do":          {Python, map[string]string{"python3": `[ "$1" = -c ] && echo 3.10; exit 0`}, ""},
		"Python 3.9 will not":          {Python, map[string]string{"python3": "echo 3.9"}, "found Python 3.9"},
		"Python without pip will not":  {Python, map[string]string{"python3": `[ "$1" = -c ] && echo 3.12 || { echo No module named pip; exit 1; }`}, "No module named pip"},
		"any C compiler will do":       {CCompiler, map[string]string{"clang": ""}, ""},
		"no C compiler lists the ones": {CCompiler, nil, "looked for cc, gcc, clang"},
		"make is looked for":           {Make, nil, "make: not on PATH"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for tool, body := range tt.script {
				script(t, filepath.Join(w.bin, tool), body)
			}
			err := CheckPrerequisites(t.Context(), tt.tool)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestEveryMissingToolIsNamedAtOnce(t *testing.T) {
	newWorld(t)
	err := CheckPrerequisites(t.Context(), AllTools()...)
	if err == nil {
		t.Fatal("nothing is on PATH, but nothing is missing")
	}
	for _, tool := range AllTools() {
		if !strings.Contains(hint.Of(err), string(tool)) {
			t.Errorf("hint %q does not name %s", hint.Of(err), tool)
		}
	}
}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	for platform, want := range map[[2]string]bool{
		{"linux", "amd64"}: true, {"linux", "arm64"}: true, {"linux", "386"}: false, {"darwin", "arm64"}: false,
	} {
		if err := checkPlatform(platform[0], platform[1]); (err == nil) != want {
			t.Errorf("%v: %v", platform, err)
		}
	}
}
