package scaffold_test

import (
	"encoding/json"
	"testing"

	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

// TestTheFilterInTheEnvoyFilterIsEnvoys reads what no definition of Istio's
// checks, as Envoy does: every field known, every value allowed.
func TestTheFilterInTheEnvoyFilterIsEnvoys(t *testing.T) {
	t.Parallel()
	istio, err := provider.Named("istio")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := scaffold.Wiring(istio, scaffold.About{Name: "body-router", Namespace: "models"}, "gw")
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, o := range objects {
		content, err := scaffold.Plain(o)
		if err != nil {
			t.Fatal(err)
		}
		patches, _, _ := unstructured.NestedSlice(content.Object, "spec", "configPatches")
		for _, p := range patches {
			patch, _ := p.(map[string]any)
			filter, found, _ := unstructured.NestedMap(patch, "patch", "value", "typed_config")
			if !found {
				continue
			}
			seen = true
			delete(filter, "@type")
			raw, err := json.Marshal(filter)
			if err != nil {
				t.Fatal(err)
			}
			config := &procv3.ExternalProcessor{}
			if err := protojson.Unmarshal(raw, config); err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			if err := config.ValidateAll(); err != nil {
				t.Error(err)
			}
			if got := config.GetGrpcService().GetEnvoyGrpc().GetClusterName(); got != "outbound|9004||body-router.models.svc.cluster.local" {
				t.Errorf("it calls cluster %s", got)
			}
			if config.GetProcessingMode().GetRequestBodyMode() != procv3.ProcessingMode_BUFFERED || config.GetRouteCacheAction() != procv3.ExternalProcessor_CLEAR {
				t.Errorf("the route is not matched again after the body: %v", config)
			}
		}
	}
	if !seen {
		t.Error("there is no filter")
	}
}
