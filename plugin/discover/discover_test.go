package discover

import (
	"strings"
	"testing"
)

func TestRulesHaveSplit(t *testing.T) {
	t.Parallel()
	// As a kube-apiserver publishes it, with other kinds of the group beside it.
	const document = `{"openapi":"3.0.0","components":{"schemas":{
		"io.x-k8s.networking.inference.v1alpha2.InferenceModel":{"properties":{"spec":{"properties":{"split":{"type":"string"}}}}},
		"io.x-k8s.networking.inference.v1alpha2.InferenceModelRewriteList":{"properties":{"items":{"type":"array"}}},
		"io.x-k8s.networking.inference.v1alpha2.InferenceModelRewrite":{"properties":{"kind":{"type":"string"},"spec":{"type":"object","properties":{
			"poolRef":{"type":"object"},"rules":{"type":"array","items":{"type":"object","properties":{"matches":{"type":"array"},"FIELD":{"type":"array"}}}}}}}}}}}`
	tests := map[string]struct {
		document string
		want     bool
	}{
		"the list is called split":   {strings.Replace(document, "FIELD", "split", 1), true},
		"the list is called targets": {strings.Replace(document, "FIELD", "targets", 1), false},
		"the kind is not in it":      {`{"components":{"schemas":{}}}`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := rulesHaveSplit([]byte(tt.document)); err != nil || got != tt.want {
				t.Errorf("got %t, %v, want %t", got, err, tt.want)
			}
		})
	}
	if _, err := rulesHaveSplit([]byte("<html>")); err == nil {
		t.Error("what is no OpenAPI document is read")
	}
}
