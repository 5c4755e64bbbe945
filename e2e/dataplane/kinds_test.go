package dataplane

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/controlplane"
)

// The manifests of an ACK guide, more or less: its class, a pool whose picker
// nobody made, a pool of v1alpha2, and policies.
const ackManifests = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ack-gateway}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ack, namespace: default}
spec:
  gatewayClassName: ack-gateway
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: bare, namespace: default}
spec:
  selector: {matchLabels: {app: bare}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: bare-epp, port: {number: 9002}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata: {name: old, namespace: default}
spec:
  selector: {app: a}
  targetPortNumber: %PORT%
  extensionRef: {name: a-epp}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ack, namespace: default}
spec:
  parentRefs: [{name: ack}]
  rules:
  - matches: [{path: {value: /bare}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: bare}]
  - backendRefs: [{group: inference.networking.x-k8s.io, kind: InferencePool, name: old}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: {name: limit, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: ack}]
  connection: {bufferLimit: 64Ki}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: long, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: ack}]
  timeout: {http: {requestTimeout: 300ms}}
  circuitBreaker: {maxConnections: 1000}
  loadBalancer: {type: Random}
`

// resource is the plural that the manifests' kinds have.
func (c *cluster) resource(o *unstructured.Unstructured) dynamic.ResourceInterface {
	gvk := o.GroupVersionKind()
	plural := strings.ToLower(gvk.Kind) + "s"
	switch {
	case strings.HasSuffix(gvk.Kind, "Class"):
		plural = "gatewayclasses"
	case strings.HasSuffix(gvk.Kind, "Policy"):
		plural = strings.TrimSuffix(plural, "ys") + "ies"
	}
	resource := must[dynamic.Interface](c.t)(dynamic.NewForConfig(c.config)).Resource(schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: plural})
	if o.GetNamespace() == "" {
		return resource
	}
	return resource.Namespace(o.GetNamespace())
}

// says waits until an object's status, in Kubernetes' own words, has all of these.
func (c *cluster) says(t *testing.T, o *unstructured.Unstructured, words ...string) {
	t.Helper()
	var status string
	defer func() {
		if t.Failed() {
			t.Logf("%s %s says %s", o.GetKind(), o.GetName(), status)
		}
	}()
	eventually(t, o.GetKind()+" "+o.GetName()+" says "+strings.Join(words, ", "), func() bool {
		now := must[*unstructured.Unstructured](t)(c.resource(o).Get(t.Context(), o.GetName(), metav1.GetOptions{}))
		status = fmt.Sprint(now.Object["status"])
		for _, w := range words {
			if !strings.Contains(status, w) {
				return false
			}
		}
		return true
	})
}

// ack applies the manifests and expects what ACK would do.
func (c *cluster) ack(t *testing.T, u *upstream, served *picker) {
	if err := controlplane.InstallCRDs(t.Context(), c.config, c.late...); err != nil {
		t.Fatal(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	for _, text := range strings.Split(strings.ReplaceAll(ackManifests, "%PORT%", fmt.Sprint(u.address.Port())), "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		objects[o.GetKind()+" "+o.GetName()] = must[*unstructured.Unstructured](t)(c.resource(o).Create(t.Context(), o, metav1.CreateOptions{}))
	}
	c.says(t, objects["GatewayClass ack-gateway"], "type:Accepted", "status:True")
	c.says(t, objects["InferencePool bare"], "provisioned by this gateway", "gateway.envoyproxy.io/gatewayclass-controller")
	c.says(t, objects["InferencePool old"], "name:ack", "reason:Accepted", "reason:ResolvedRefs")
	c.says(t, objects["ClientTrafficPolicy limit"], "name:ack", "status:True type:Accepted")
	c.says(t, objects["BackendTrafficPolicy long"], "status:True type:Accepted", "ignores spec.loadBalancer")
	c.provisioned(t)

	r := &rig{t: t, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(r.client.CloseIdleConnections)
	r.address = c.addressOf(t, "ack")
	asked := served.asked.Load()
	if got := r.post([]byte(chat), nil); got.code != http.StatusOK || got.backend != "default/old" || served.asked.Load() != asked+1 {
		t.Errorf("the pool of v1alpha2: got %d from %q, its picker asked %d times", got.code, got.backend, served.asked.Load()-asked)
	}
	if got := r.post(chatOf(65<<10), nil); got.code != http.StatusRequestEntityTooLarge {
		t.Errorf("above bufferLimit: got %d", got.code)
	}
	response := must[*http.Response](t)(r.client.Get(r.url("/hang")))
	response.Body.Close()
	if response.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("past the policy's requestTimeout: got %d", response.StatusCode)
	}
	// Its picker has no Pod here, and the pool fails closed.
	response = must[*http.Response](t)(r.client.Get(r.url("/bare")))
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a pool without a running picker: got %d", response.StatusCode)
	}
}

func (c *cluster) provisioned(t *testing.T) {
	const name = "bare-epp"
	d := must[*appsv1.Deployment](t)(c.core.AppsV1().Deployments("default").Get(t.Context(), name, metav1.GetOptions{}))
	container := d.Spec.Template.Spec.Containers[0]
	poolName := slices.ContainsFunc(container.Env, func(e corev1.EnvVar) bool { return e.Name == "POOL_NAME" && e.Value == "bare" })
	if args := strings.Join(container.Args, " "); !poolName || !strings.Contains(args, "--pool-name=$(POOL_NAME) --pool-namespace=$(POD_NAMESPACE)") {
		t.Errorf("the provisioned picker has arguments %s and environment %v", args, container.Env)
	}
	_, serviceErr := c.core.CoreV1().Services("default").Get(t.Context(), name, metav1.GetOptions{})
	_, accountErr := c.core.CoreV1().ServiceAccounts("default").Get(t.Context(), name, metav1.GetOptions{})
	_, roleErr := c.core.RbacV1().Roles("default").Get(t.Context(), name, metav1.GetOptions{})
	_, bindingErr := c.core.RbacV1().RoleBindings("default").Get(t.Context(), name, metav1.GetOptions{})
	for _, err := range []error{serviceErr, accountErr, roleErr, bindingErr} {
		if err != nil {
			t.Error(err)
		}
	}
}
