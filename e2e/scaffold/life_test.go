package scaffold_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
	"github.com/kubectl-infer/kubectl-infer/plugin/apply"
)

// newNamespace makes one in which only Pods of level restricted may be.
func newNamespace(t *testing.T, name string) {
	t.Helper()
	_, err := shared.clients.Core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func says(t *testing.T, what string, r result, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%s: want exit %d: %v", what, code, r)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%s: %q is not said: %v", what, text, r)
		}
	}
}

// TestInstalledServersRunRestrictedUnderTheirRolesAndLeaveNothing runs both of
// our servers in a namespace that admits level restricted only, each under the
// Role it is installed with: a picker is ready once it could read its pool.
func TestInstalledServersRunRestrictedUnderTheirRolesAndLeaveNothing(t *testing.T) {
	t.Parallel()
	const ns = "restricted"
	newNamespace(t, ns)
	must(t, "create", "model-server", "m", "--model", "m", "--simulated", "--replicas", "1", "-n", ns)
	says(t, "the sandbox is found", must(t, "create", "pool", "m", "--selector", "app=m", "-n", ns), 0,
		"provider sandbox: gatewayclass kubectl-infer-sandbox", "inferencepool.inference.networking.k8s.io/m serverside-applied")
	says(t, "a picker", must(t, "install", "endpoint-picker", "--pool", "m", "-n", ns, "--timeout", patience.String()), 0,
		"deployment.apps/m-picker serverside-applied", "deployment m-picker: 1 of 1 available")
	must(t, "create", "gateway", "gw", "--provider", "none", "--gateway-class", "nobodys", "-n", ns)
	says(t, "a body router", must(t, "install", "body-router", "--gateway", "gw", "--provider", "none", "-n", ns, "--timeout", patience.String()), 0,
		"deployment body-router: 2 of 2 available", "is left to you")
	says(t, "again: nothing changes", must(t, "install", "body-router", "--gateway", "gw", "--provider", "none", "-n", ns, "-o", "name"), 0, "deployment.apps/body-router\n")
	pods, err := shared.clients.Core.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: scaffold.ComponentLabel})
	if err != nil || len(pods.Items) != 3 {
		t.Fatalf("%d pods of ours, want 3: %v", len(pods.Items), err)
	}
	for _, pod := range pods.Items {
		if account := pod.Spec.ServiceAccountName; account != "m-picker" && account != "body-router" {
			t.Errorf("pod %s runs as %s", pod.Name, account)
		}
	}
	says(t, "the picker goes", must(t, "uninstall", "endpoint-picker", "--pool", "m", "-n", ns, "--timeout", patience.String()), 0, "role.rbac.authorization.k8s.io/m-picker deleted")
	says(t, "the body router goes", must(t, "uninstall", "body-router", "-n", ns, "--timeout", patience.String()), 0, "deployment.apps/body-router deleted")
	for _, at := range apply.Resources() {
		list, err := shared.clients.Dynamic.Resource(at).Namespace(ns).List(t.Context(), metav1.ListOptions{LabelSelector: scaffold.PartOf})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if err == nil && len(list.Items) > 0 {
			t.Errorf("%d %s are left", len(list.Items), at.Resource)
		}
	}
	says(t, "nothing is left to take", must(t, "uninstall", "body-router", "-n", ns), 0, "nothing of body-router body-router is in namespace restricted")
}

// TestWhatIsNotReadyIsNamed has an image that no program stands for.
func TestWhatIsNotReadyIsNamed(t *testing.T) {
	t.Parallel()
	const ns = "never"
	newNamespace(t, ns)
	must(t, "create", "pool", "m", "--selector", "app=m", "-n", ns)
	r := infer(t, "install", "endpoint-picker", "--pool", "m", "-n", ns, "--image", "example.com/nothing:v1", "--timeout", "10s")
	says(t, "not ready", r, 1, "deployment m-picker in namespace never is not ready after 10s", "hint: kubectl describe pods -n never")
	must(t, "uninstall", "endpoint-picker", "--pool", "m", "-n", ns, "--timeout", patience.String())
}

// TestInitThenApplyServes is the first deployment: a directory, kubectl apply -k,
// and a request by the name of the model; then again; then a conflict.
func TestInitThenApplyServes(t *testing.T) {
	t.Parallel()
	const ns = "first"
	newNamespace(t, ns)
	dir := filepath.Join(t.TempDir(), "first")
	must(t, "init", dir, "-n", ns, "--name", "first", "--model", "first-model", "--simulated", "--replicas", "1", "--provider", "sandbox", "--gateway-port", "8080")
	says(t, "a directory that is not empty", infer(t, "init", dir, "--model", "x", "--provider", "sandbox"), 16, "is not empty", "hint: ")
	must(t, "init", dir, "-n", ns, "--name", "first", "--model", "first-model", "--simulated", "--replicas", "1", "--provider", "sandbox", "--gateway-port", "8080", "--force")
	applied := func() string {
		cmd := exec.CommandContext(t.Context(), shared.kubectl, "apply", "-k", dir, "--kubeconfig", shared.kubeconfig)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl apply -k: %v\n%s", err, out)
		}
		return string(out)
	}
	if out := applied(); !strings.Contains(out, "inferencepool.inference.networking.k8s.io/first created") {
		t.Errorf("the pool was not created:\n%s", out)
	}
	before := generations(t, ns)
	if out := applied(); strings.Contains(out, " created") {
		t.Errorf("applying it again creates something:\n%s", out)
	}
	if diff := cmp.Diff(before, generations(t, ns)); diff != "" || len(before) < 5 {
		t.Errorf("applying it again changes something, of %d objects:\n%s", len(before), diff)
	}
	awaitAnswer(t, ns, "inference-gateway", "first-model")
	says(t, "whose fields they are", infer(t, "create", "pool", "first", "--selector", "app=other", "-n", ns), 1,
		`conflicts with "kubectl-client-side-apply"`, ".spec.selector", "hint: leave it to its owner")
	says(t, "all of it is found", must(t, "get", "leftovers", "-n", ns), 0, "deployment.apps/first-picker", "inferencepool.inference.networking.k8s.io/first", "init")
	says(t, "and goes", must(t, "delete", "--all-created", "-n", ns), 0, "gateway.gateway.networking.k8s.io/inference-gateway deleted")
	says(t, "whole", must(t, "get", "leftovers", "-n", ns), 0, "nothing of kubectl-infer's")
}

// generations are of every object of ours that counts them.
func generations(t *testing.T, ns string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, at := range apply.Resources() {
		list, err := shared.clients.Dynamic.Resource(at).Namespace(ns).List(t.Context(), metav1.ListOptions{LabelSelector: scaffold.ManagedBy + "=" + scaffold.Manager})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if err == nil {
			for i := range list.Items {
				if g := list.Items[i].GetGeneration(); g > 0 {
					all[apply.Name(&list.Items[i])] = g
				}
			}
		}
	}
	return all
}

// awaitAnswer asks a Gateway for a model until it answers 200.
func awaitAnswer(t *testing.T, ns, gateway, model string) {
	t.Helper()
	body := fmt.Sprintf(`{"model":%q,"prompt":"hello","max_tokens":2}`, model)
	last := "not asked yet"
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		found, err := shared.clients.Dynamic.Resource(kube.Gateways()).Namespace(ns).Get(ctx, gateway, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		g := &gwv1.Gateway{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, g); err != nil {
			return false, err
		}
		if len(g.Status.Addresses) == 0 {
			last = "the Gateway has no address"
			return false, nil
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.Status.Addresses[0].Value+":8080/v1/completions", bytes.NewReader([]byte(body)))
		if err != nil {
			return false, err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			last = err.Error()
			return false, nil
		}
		defer response.Body.Close()
		last = response.Status
		return response.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		t.Fatalf("no answer for model %s: %v (last: %s)", model, err, last)
	}
}

// TestModelKindIsWhatTheClusterServes: of the kinds the sandbox has, the newest.
func TestModelKindIsWhatTheClusterServes(t *testing.T) {
	t.Parallel()
	says(t, "a rewrite", must(t, "create", "model", "m", "--pool", "nowhere", "--target", "a=90", "--target", "b=10", "--dry-run=server", "-o", "yaml"), 0,
		"kind: InferenceModelRewrite", "targets:", "inferencepool nowhere is not there yet")
}
