package scaffold_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
)

// verb is one command line, for the providers that can: what it makes is held
// against the definitions. Providers that are not named must refuse it.
type verb struct{ line, providers string }

const everyProvider = "ack istio agentgateway gke envoy-gateway ngf sandbox none"

// verbs are all that create and install make, with everything they can be asked
// for. {class} is there for the provider that has no class of its own.
func verbs() []verb {
	return []verb{
		{"create gateway gw {class}", everyProvider},
		{"create gateway gw --buffer 20Mi {class}", "ack agentgateway envoy-gateway ngf sandbox"},
		{"create pool qwen --selector app=qwen --port 8000", everyProvider},
		{"create pool qwen --selector app=qwen --port 8000 --port 8001 --failure-mode FailClose --pool-api " + provider.PoolV1, everyProvider},
		{"create pool qwen --selector app=qwen --failure-mode FailOpen", "ack istio agentgateway gke ngf sandbox none"},
		{"create pool qwen --selector app=qwen --pool-api " + provider.PoolV1alpha2, "ack sandbox none"},
		{"create route chat --gateway gw --model qwen=qwen,a,b", everyProvider},
		{"create route chat --gateway gw --model qwen=qwen --timeout 1h", "ack istio agentgateway envoy-gateway ngf sandbox none"},
		{"create route chat --gateway gw --model qwen=qwen --canary qwen=qwen-v2", "ack istio agentgateway gke ngf sandbox none"},
		{"create policy p --gateway gw --pool qwen --max-concurrent 8 --max-pending 4", "ack istio envoy-gateway sandbox"},
		{"create policy p --route chat --pool qwen --timeout 1h", "ack agentgateway gke envoy-gateway sandbox"},
		{"create policy p --route chat --retry 2", "ack agentgateway envoy-gateway sandbox"},
		{"create policy p --gateway gw --buffer 20Mi", "ack agentgateway envoy-gateway ngf sandbox"},
		{"install body-router --gateway gw", "istio gke envoy-gateway none"},
		{"install body-router --gateway gw --autoscale 2-6 --monitor service --registry example.com/models", "istio gke envoy-gateway none"},
		{"install endpoint-picker --pool qwen", "istio agentgateway gke envoy-gateway ngf sandbox none"},
		{"install endpoint-picker --pool qwen --autoscale 1-3 --monitor pod --image example.com/p@sha256:" + strings.Repeat("0a", 32), "istio agentgateway gke envoy-gateway ngf sandbox none"},
	}
}

// TestEveryObjectPassesTheRealDefinitions sends what every provider × verb makes
// to the API server, which checks it strictly and keeps nothing. What a provider
// cannot do must be refused with a hint. Kinds whose definitions no module
// carries are let through for providers that are marked as not proven, only.
func TestEveryObjectPassesTheRealDefinitions(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			for _, v := range verbs() {
				line := strings.Replace(v.line, "{class}", map[bool]string{true: "--gateway-class some-class"}[p.Name == "none"], 1)
				r := infer(t, append(strings.Fields(line), "--provider", p.Name, "--dry-run=client", "-o", "json")...)
				if !strings.Contains(" "+v.providers+" ", " "+p.Name+" ") {
					if r.code != 2 && r.code != 16 || !strings.Contains(r.stderr, "hint: ") {
						t.Errorf("%s: want a refusal with a hint: %v", line, r)
					}
					continue
				}
				if r.code != 0 {
					t.Errorf("%s: %v", line, r)
					continue
				}
				checkAll(t, p, line, objectsIn(t, r.stdout))
			}
		})
	}
}

// TestWhatNeedsNoProviderPassesTheRealDefinitions does the same for model servers
// and models. Of the kinds of rewrites the sandbox serves one.
func TestWhatNeedsNoProviderPassesTheRealDefinitions(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"create model-server qwen --model example/qwen-7b --served-name qwen --adapter a=x/a --adapter b=x/b --max-loras 1 --gpus 2 --token-secret hub --flag=--max-model-len=8192",
		"create model-server qwen --model qwen --simulated --replicas 3 --port 9000",
		"create model m --pool qwen --target a=90 --target b=10 --api inferencemodel --pool-group inference.networking.x-k8s.io --priority -1",
		"create model m --pool qwen --target a=90 --target b=10 --api inferencemodelrewrite --priority 10",
		"create model m --pool qwen --target a --model-name x/y --api inferencemodelrewrite",
	} {
		r := must(t, append(strings.Fields(line), "--dry-run=client", "-o", "json")...)
		checkAll(t, provider.Provider{Proof: provider.CheckedInCommon}, line, objectsIn(t, r.stdout))
	}
}

// TestInitWritesWhatPassesTheRealDefinitions does the same for the files of init.
func TestInitWritesWhatPassesTheRealDefinitions(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		dir := filepath.Join(t.TempDir(), p.Name)
		args := []string{"init", dir, "--model", "example/Qwen-7B", "--adapter", "a=x/a", "--provider", p.Name}
		if p.Name == "none" {
			args = append(args, "--gateway-class", "some-class")
		}
		must(t, args...)
		files, err := filepath.Glob(filepath.Join(dir, "[0-9]*.yaml"))
		if err != nil || len(files) < 5 {
			t.Fatalf("%s: %d files, %v", p.Name, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(text, []byte("# ")) {
				t.Errorf("%s has no comment", file)
			}
			var objects []*unstructured.Unstructured
			for _, document := range bytes.Split(text, []byte("\n---\n")) {
				o := &unstructured.Unstructured{}
				if err := yaml.Unmarshal(document, &o.Object); err != nil {
					t.Fatal(err)
				}
				objects = append(objects, o)
			}
			checkAll(t, p, "init "+p.Name, objects)
		}
	}
}

// objectsIn reads one object, or a List.
func objectsIn(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var list struct {
		Kind  string
		Items []map[string]any
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if list.Kind != "List" {
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		return []*unstructured.Unstructured{o}
	}
	var objects []*unstructured.Unstructured
	for _, item := range list.Items {
		raw, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(raw, &o.Object); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	return objects
}

// unproven are the kinds whose definitions no Go module carries.
func unproven(group string) bool {
	return group == "networking.gke.io" || group == "gateway.nginx.org"
}

// checkAll has the API server check each object strictly, keeping none.
func checkAll(t *testing.T, p provider.Provider, line string, objects []*unstructured.Unstructured) {
	t.Helper()
	if len(objects) == 0 {
		t.Errorf("%s made nothing", line)
	}
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		at, known := apply.Resource(gvk.GroupKind())
		if !known {
			t.Errorf("%s made a %s, which apply does not know", line, gvk)
			continue
		}
		if unproven(gvk.Group) {
			if p.Proven() {
				t.Errorf("%s: no definition of %s is at hand, and %s is not marked so", line, gvk, p.Name)
			}
			continue
		}
		raw, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		at.Version = gvk.Version
		var resource dynamic.ResourceInterface = shared.clients.Dynamic.Resource(at)
		if o.GetNamespace() != "" {
			resource = shared.clients.Dynamic.Resource(at).Namespace(o.GetNamespace())
		}
		force := true
		_, err = resource.Patch(t.Context(), o.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{
			FieldManager: "scaffold-test", Force: &force, DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
		})
		if err != nil {
			t.Errorf("%s: %s: %v\n%s", line, apply.Name(o), err, raw)
		}
	}
}
