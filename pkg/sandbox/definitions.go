package sandbox

import (
	"bytes"
	"fmt"
	"os"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

// RewriteShape is what InferenceModelRewrites of inference.networking.x-k8s.io
// call their list: the two forms are one CRD, so an API server has one of them.
type RewriteShape string

// The shapes.
const (
	ShapeTargets RewriteShape = "targets" // inference extension v1.3 to v1.5
	ShapeSplit   RewriteShape = "split"   // v1.2
)

// definitions are the CustomResourceDefinitions of a sandbox, one document for
// each asset. The kinds of llm-d.ai are in no module that resolves: they are those
// of inference extension v1.5.0 under another group, always with targets.
func definitions(paths map[string]string, shape RewriteShape) ([][]byte, error) {
	var documents [][]byte
	for _, name := range assets.Definitions() {
		text, err := os.ReadFile(paths[name])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if name == assets.ModelRewriteCRDs {
			documents = append(documents, ofLLMD(text))
			if shape == ShapeSplit {
				if text, err = os.ReadFile(paths[assets.ModelRewriteSplitCRDs]); err != nil {
					return nil, fmt.Errorf("read %s: %w", assets.ModelRewriteSplitCRDs, err)
				}
			}
		}
		documents = append(documents, text)
	}
	return documents, nil
}

// ofLLMD moves definitions to llm-d's group. The group of the pools that they
// refer to is another one, and stays.
func ofLLMD(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("inference.networking.x-k8s.io"), []byte("llm-d.ai"))
}
