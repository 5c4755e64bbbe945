package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

func TestAnAPIServerHasOneShapeOfRewritesInEachGroup(t *testing.T) {
	t.Parallel()
	paths := map[string]string{}
	for _, name := range append(assets.Definitions(), assets.ModelRewriteSplitCRDs) {
		paths[name] = filepath.Join(t.TempDir(), name)
		text := name
		switch name {
		case assets.ModelRewriteCRDs:
			text = "group: inference.networking.x-k8s.io, targets, default: inference.networking.k8s.io"
		case assets.ModelRewriteSplitCRDs:
			text = "group: inference.networking.x-k8s.io, split"
		}
		if err := os.WriteFile(paths[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const llmd = "group: llm-d.ai, targets, default: inference.networking.k8s.io"
	for shape, want := range map[RewriteShape]string{
		ShapeTargets: llmd + "\ngroup: inference.networking.x-k8s.io, targets, default: inference.networking.k8s.io",
		ShapeSplit:   llmd + "\ngroup: inference.networking.x-k8s.io, split",
	} {
		documents, err := definitions(paths, shape)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, d := range documents {
			if strings.HasPrefix(string(d), "group: ") {
				found = append(found, string(d))
			}
		}
		if got := strings.Join(found, "\n"); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", shape, got, want)
		}
	}
}
