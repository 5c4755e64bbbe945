package scaffold_test

import (
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

func named(t *testing.T, name string) provider.Provider {
	t.Helper()
	p, err := provider.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGolden shows what providers differ in, for a reader and against accidents.
func TestGolden(t *testing.T) {
	t.Parallel()
	router := scaffold.About{Name: "body-router", Namespace: "models", Verb: "install-body-router", Part: "body-router"}
	tests := map[string]func() ([]runtime.Object, error){
		"wiring-istio":         func() ([]runtime.Object, error) { return scaffold.Wiring(named(t, "istio"), router, "gw") },
		"wiring-envoy-gateway": func() ([]runtime.Object, error) { return scaffold.Wiring(named(t, "envoy-gateway"), router, "gw") },
		"wiring-gke":           func() ([]runtime.Object, error) { return scaffold.Wiring(named(t, "gke"), router, "gw") },
		"gateway-agentgateway": func() ([]runtime.Object, error) {
			return scaffold.Gateway(scaffold.GatewayOptions{About: scaffold.About{Name: "gw", Namespace: "models", Verb: "create-gateway"}, Provider: named(t, "agentgateway"), Port: 80, Buffer: "20Mi"})
		},
		"pool-ack-v1alpha2": func() ([]runtime.Object, error) {
			return scaffold.Pool(scaffold.PoolOptions{
				About: scaffold.About{Name: "qwen", Namespace: "models", Verb: "create-pool"}, Provider: named(t, "ack"),
				API: provider.PoolV1alpha2, Selector: map[string]string{"app": "qwen"}, Ports: []int{8000},
			})
		},
		"model-server": func() ([]runtime.Object, error) {
			d, err := scaffold.ModelServer(scaffold.ModelServerOptions{
				About: scaffold.About{Name: "qwen", Namespace: "models", Verb: "create-model-server"}, Model: "example/qwen-7b", Served: "qwen",
				Adapters: []scaffold.Adapter{{Name: "travel-v1", Path: "example/travel-v1"}}, Replicas: 2, Port: 8000, GPUs: 2, Secret: "hub",
			})
			return []runtime.Object{d}, err
		},
	}
	for name, build := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := build()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata", name+".yaml"), "", objects)
		})
	}
}

// TestAProjectIsInOrder: what is needed comes before what needs it, and every
// file but the kustomization is listed in it, once.
func TestAProjectIsInOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"istio":   "kustomization 10-gateway 20-body-router 30-model-server 40-pool 50-picker 60-route",
		"ack":     "kustomization 10-gateway 30-model-server 40-pool 60-route 70-limits",
		"gke":     "kustomization 10-gateway 20-body-router 30-model-server 40-pool 50-picker 60-route 70-limits",
		"ngf":     "kustomization 10-gateway 30-model-server 40-pool 50-picker 60-route",
		"sandbox": "kustomization 10-gateway 30-model-server 40-pool 50-picker 60-route 70-limits",
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := scaffold.Project(scaffold.ProjectOptions{
				About: scaffold.About{Name: "qwen", Namespace: "models", Verb: "init"}, Provider: named(t, name), Gateway: "gw", Port: 80, Timeout: time.Hour,
				Server: scaffold.ModelServerOptions{Model: "example/qwen-7b", Served: "qwen", Replicas: 2, Port: 8000, GPUs: 1},
				Images: scaffold.Images{BodyRouter: "kubectl-infer/body-router", Picker: "kubectl-infer/endpoint-picker"},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range files {
				if got != "" {
					got += " "
				}
				got += f.Name[:len(f.Name)-len(".yaml")]
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if name == "istio" {
				compareText(t, "testdata/init-istio-kustomization.yaml", files[0].Text)
			}
		})
	}
}
