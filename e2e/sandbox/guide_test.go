package sandbox

import (
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox"
)

// guideObjects are those of ACK's mirroring guide, in short: its class, an
// EnvoyProxy, port 80, and a pool of v1alpha2 whose picker nobody makes.
const guideObjects = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: example-gateway-class}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: custom-proxy-config}
spec: {provider: {type: Kubernetes, kubernetes: {envoyService: {type: ClusterIP}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: guide}
spec:
  gatewayClassName: example-gateway-class
  infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: custom-proxy-config}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata: {name: guide}
spec:
  targetPortNumber: 8000
  selector: {app: server}
  extensionRef: {name: guide-ext-proc}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: guide}
spec:
  parentRefs: [{name: guide}]
  hostnames: [guide.example.com]
  rules:
  - backendRefs: [{group: inference.networking.x-k8s.io, kind: InferencePool, name: guide}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {kind: Service, name: shadow, port: 8000}}}]
---
apiVersion: v1
kind: Service
metadata: {name: shadow}
spec:
  selector: {app: server}
  ports: [{port: 8000}]
`

// guide applies the objects and sends the guide's request from inside a Pod.
func guide(t *testing.T, s sandbox.State) {
	apply(t, s, guideObjects)
	mustKubectl(t, s, "wait", "--for=condition=Programmed", "gateway/guide", "--timeout=20s")
	mustKubectl(t, s, "wait", "--for=create", "deployment/guide-ext-proc", "--timeout=20s")
	mustKubectl(t, s, "wait", "--for=condition=Available", "deployment/guide-ext-proc", "--timeout=30s")
	said := mustKubectl(t, s, "get", "gateway", "guide", "-o", "jsonpath={.status.conditions[*].message} {.status.listeners[0].conditions[*].message}")
	if !strings.Contains(said, "spec.infrastructure has no effect") || !strings.Contains(said, "port 80 is served at 8080") {
		t.Errorf("the Gateway says %q", said)
	}
	before := strings.Count(mustKubectl(t, s, "logs", "deploy/server"), "POST /v1/chat/completions")
	address := mustKubectl(t, s, "get", "gateway/guide", "-o", "jsonpath={.status.addresses[0].value}")
	var out output
	eventually(t, "the guide's request is answered", func() bool {
		out = kubectl(t, s, "exec", "sleeper", "--", "curl", "-sS", "-X", "POST", address+":8080/v1/chat/completions",
			"-H", "Content-Type: application/json", "-H", "host: guide.example.com", "-d", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
		return strings.Contains(out.stdout, `"chat.completion"`)
	}, func() string { return out.String() })
	eventually(t, "the server has logged the request and its mirror", func() bool {
		return strings.Count(mustKubectl(t, s, "logs", "deploy/server"), `"POST /v1/chat/completions HTTP/1.1" 200 OK`) >= before+2
	}, func() string { return "" })

	pod := strings.Fields(mustKubectl(t, s, "get", "pods", "-l", "kubectl-infer.github.io/provisioned-for=guide", "-o",
		"jsonpath={.items[*].status.podIP} {.items[*].spec.serviceAccountName}"))
	if len(pod) != 2 || pod[1] != "guide-ext-proc" {
		t.Fatalf("the provisioned picker's Pod has address and account %v", pod)
	}
	metrics := mustKubectl(t, s, "exec", "sleeper", "--", "curl", "-sS", pod[0]+":9090/metrics")
	if !strings.Contains(metrics, `infer_picker_picks_total{namespace="default",pool="guide"`) {
		t.Errorf("it was not asked:\n%s", metrics)
	}
	for verb, want := range map[string]string{"list": "yes", "delete": "no"} {
		if got := kubectl(t, s, "auth", "can-i", verb, "pods", "--as=system:serviceaccount:default:guide-ext-proc").stdout; strings.TrimSpace(got) != want {
			t.Errorf("may its account %s pods? %q, want %s", verb, got, want)
		}
	}
}
