package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/traffic"
)

const adapterObjects = "guides/adapters/"

// adapterService is the guide's service, with its rewrite in the suite's shape, and
// traffic for it.
func adapterService(t *testing.T) {
	t.Helper()
	s, ctx := shared.s, context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		for _, args := range []string{
			"-f " + adapterObjects + "service.yaml -f " + adapterObjects + "travel.yaml",
			"httproute/adapters configmap/adapters-travel-base-adapters", // other tests have one Gateway only
			"deployments,services,serviceaccounts -l kubectl-infer.github.io/provisioned-for",
		} {
			if out := s.kubectl(ctx, append([]string{"delete", "--wait=false"}, strings.Fields(args)...)...); out.code != 0 {
				t.Errorf("clean up: %v", out)
			}
		}
	})
	text, err := os.ReadFile(adapterObjects + "travel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rewrite := filepath.Join(t.TempDir(), "travel.yaml")
	if err := os.WriteFile(rewrite, []byte(strings.Replace(string(text), "    split:\n", "    targets:\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"apply -f " + adapterObjects + "service.yaml -f " + rewrite,
		"wait --for=create deployment/travel-epp --timeout=60s",
		"wait --for=condition=Available deployment/travel deployment/travel-epp --timeout=90s",
		"wait --for=condition=Programmed gateway/adapters-gateway --timeout=60s",
	} {
		if out := s.kubectl(ctx, strings.Fields(args)...); out.code != 0 {
			t.Fatalf("kubectl %s: %v", args, out)
		}
	}
	session(t, []step{
		{"a route", "create route adapters --gateway adapters-gateway --model travel-base=travel,travelhelper", 0, nil},
		{"a role", "install rbac --for inferencemodelrewrite/travel --user-name " + ciUser, 0, nil},
	})
	out := s.kubectl(ctx, "get", "gateway/adapters-gateway", "-o", "jsonpath={.status.addresses[0].value}")
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = traffic.Run(running, traffic.Options{
			URL: "http://" + out.stdout + ":8080", Mix: []traffic.ModelShare{{Model: "travelhelper", Weight: 1}}, Rate: 30, StreamingShare: 0.7, Seed: 2,
		}, func(traffic.Live) {})
	}()
	t.Cleanup(func() { stop(); <-done })
}

// targets is the rewrite's list.
func targets(t *testing.T) string {
	t.Helper()
	object, err := shared.s.clients.Dynamic.Resource(kube.ModelRewrites()).Namespace(namespace).Get(t.Context(), "travel", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
	rule, _ := rules[0].(map[string]any)
	raw, err := json.Marshal(rule["targets"])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// loadedOn counts the travel pods that list model.
func loadedOn(t *testing.T, model string) (n int) {
	t.Helper()
	pods, err := shared.s.clients.Core.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=travel"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		response, err := http.Get(fmt.Sprintf("http://%s:8000/v1/models", pods.Items[i].Status.PodIP))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if strings.Contains(string(text), `"`+model+`"`) {
			n++
		}
	}
	return n
}

// toAdapter is a short run to the second adapter.
func toAdapter(more ...string) []string {
	return append([]string{
		"canary", "run", "inferencemodelrewrite/travel", "--stable", "travel-helper-v1", "--canary", "travel-helper-v2",
		"--steps", "50,100", "--gate", "errors < 5%", "--calibrate", "0", "--settle", "100ms", "--scrape-interval", "100ms",
		"--min-requests", "1", "--lease-duration", "1s",
	}, more...)
}

// driftsAndIsAborted has somebody else write the list while a step bakes.
func driftsAndIsAborted(t *testing.T, before string) {
	t.Helper()
	cmd := shared.s.prepareCommand(t.Context(), shared.s.restricted, toAdapter("--bake", "10m", "--load-adapter", "travel-helper-v2=/models/travel-helper-v2")...)
	ended := make(chan output, 1)
	go func() { ended <- collect(cmd) }()
	eventually(t, 30*time.Second, "the adapter has a share", func() bool { return strings.Contains(targets(t), "travel-helper-v2") })
	foreign := `[{"op":"replace","path":"/spec/rules/0/targets","value":[{"modelRewrite":"travel-helper-v1","weight":90},{"modelRewrite":"travel-helper-v2","weight":10}]}]`
	if out := shared.s.kubectl(t.Context(), "patch", "inferencemodelrewrites.inference.networking.x-k8s.io", "travel", "--type=json", "-p", foreign); out.code != 0 {
		t.Fatal(out)
	}
	select {
	case out := <-ended:
		if out.code != 13 || !strings.Contains(out.stderr, "kubectl-patch") {
			t.Errorf("a foreign write: %v", out)
		}
	case <-time.After(time.Minute):
		t.Fatal("a foreign write did not end the run")
	}
	verb(t, 0, "travel-helper-v2 is unloaded", "abort", "inferencemodelrewrite/travel")
	if after := targets(t); after != before || loadedOn(t, "travel-helper-v2") != 0 {
		t.Errorf("aborted, but not as before\nbefore %s\nafter  %s", before, after)
	}
}

func TestAnAdapterIsRolledOutByTargetsUnderItsRole(t *testing.T) {
	adapterService(t)
	run := toAdapter("--bake", "300ms")
	out := shared.s.command(t.Context(), run...)
	if out.code != 16 || !strings.Contains(out.stderr, `does not answer for model "travel-helper-v2"`) {
		t.Errorf("an adapter that no pod has: %v", out)
	}
	claim := `{"apiVersion":"inference.networking.x-k8s.io/v1alpha2","kind":"InferenceModel","metadata":{"name":"rival"},"spec":{"modelName":"travelhelper","poolRef":{"name":"travel"}}}`
	rival := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(claim), &rival.Object); err != nil {
		t.Fatal(err)
	}
	rivals := shared.s.clients.Dynamic.Resource(kube.InferenceModels()).Namespace(namespace)
	if _, err := rivals.Create(t.Context(), rival, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if out := shared.s.command(t.Context(), run...); out.code != 16 || !strings.Contains(out.stderr, "InferenceModelRewrite travel and InferenceModel rival both say which targets serve model travelhelper") {
		t.Errorf("two objects for one model: %v", out)
	}
	if err := rivals.Delete(t.Context(), "rival", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	before := targets(t)
	driftsAndIsAborted(t, before)
	run = append(run, "--load-adapter", "travel-helper-v2=/models/travel-helper-v2")
	if out := shared.s.command(t.Context(), run...); out.code != 0 || targets(t) != `[{"modelRewrite":"travel-helper-v2","weight":100}]` || loadedOn(t, "travel-helper-v2") != 2 {
		t.Fatalf("promoted: %s, loaded on %d: %v", targets(t), loadedOn(t, "travel-helper-v2"), out)
	}
	verb(t, 0, "loaded on 2 pods", "status", "inferencemodelrewrite/travel")
	verb(t, 0, "step 2: 100% asked", "explain", "inferencemodelrewrite/travel")
	verb(t, 0, "nothing to do, travel-helper-v1 left the list", "finish", "inferencemodelrewrite/travel")
	verb(t, 0, "travel-helper-v2 is unloaded", "undo", "inferencemodelrewrite/travel")
	eventually(t, 10*time.Second, "the adapter is gone", func() bool { return loadedOn(t, "travel-helper-v2") == 0 })
	if after := targets(t); after != before {
		t.Errorf("undone, but not as before\nbefore %s\nafter  %s", before, after)
	}
	verb(t, 0, "emptied", "gc", "inferencemodelrewrite/travel", "--keep", "0s")
}
