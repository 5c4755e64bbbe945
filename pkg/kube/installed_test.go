package kube_test

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func TestAKindThatIsNotThereIsNoMissingObject(t *testing.T) {
	t.Parallel()
	models := schema.GroupResource{Group: "g", Resource: "models"}
	unknownPath := apierrors.NewGenericServerResponse(404, "get", models, "m", "404 page not found", 0, true)
	for what, tt := range map[string]struct {
		err  error
		want bool
	}{
		"what an unknown path is answered with": {fmt.Errorf("get: %w", unknownPath), true},
		"an object that is not there":           {apierrors.NewNotFound(models, "m"), false},
		"any other error":                       {errors.New("x"), false},
		"no error":                              {nil, false},
	} {
		if got := kube.NotInstalled(tt.err); got != tt.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}
