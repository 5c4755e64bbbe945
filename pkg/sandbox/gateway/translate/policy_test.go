package translate

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

func policyOf(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	text := fmt.Sprintf("kind: %s\nmetadata: {name: %s, namespace: default}\nspec: {%s}\n", kind, name, spec)
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetGeneration(4)
	return o
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	const (
		atRoute   = "targetRefs: [{kind: HTTPRoute, name: chat}], "
		atGateway = "targetRefs: [{kind: Gateway, name: gw}], "
		accepted  = "Accepted=True/Accepted@4"
		partly    = accepted + " UnsupportedFields=True/NotSimulated@4"
		plain     = "0 0s 0s - -"
	)
	for _, row := range []struct {
		rule, kind, spec string
		want             string // buffer limit, timeouts, retry, requests at once
		said             string
		ignored          string
	}{
		{"bufferLimit", ClientTrafficPolicy, atGateway + "connection: {bufferLimit: 20Mi}", "20971520 0s 0s - -", accepted, ""},
		{"a bufferLimit of nothing", ClientTrafficPolicy, atGateway + "connection: {bufferLimit: '0'}", plain, "Accepted=False/Invalid@4", ""},
		{"an unknown field is named", ClientTrafficPolicy, atGateway + "tls: {}, connection: {bufferLimit: 1Ki, connectionLimit: {value: 5}}", "1024 0s 0s - -", partly, "spec.connection.connectionLimit, spec.tls"},
		{"a timeout", BackendTrafficPolicy, atRoute + "timeout: {http: {requestTimeout: 24h}}", "0 24h0m0s 0s - -", accepted, ""},
		{"a Gateway's policy reaches its routes", BackendTrafficPolicy, atGateway + "timeout: {http: {requestTimeout: 24h}}", "0 24h0m0s 0s - -", accepted, ""},
		{"targetRef, as of old", BackendTrafficPolicy, "targetRef: {kind: HTTPRoute, name: chat}, timeout: {http: {requestTimeout: 1s}}", "0 1s 0s - -", accepted, ""},
		{"a retry", BackendTrafficPolicy, atRoute + "retry: {numRetries: 3, retryOn: {triggers: [5xx], httpStatusCodes: [503]}, perRetry: {timeout: 2s}}", "0 0s 2s 3 [5xx] [503] -", accepted, ""},
		{"a circuit breaker", BackendTrafficPolicy, atRoute + "circuitBreaker: {maxParallelRequests: 1, maxPendingRequests: 1}", "0 0s 0s - 1", accepted, ""},
		{"passive health", BackendTrafficPolicy, atRoute + "healthCheck: {passive: {consecutive5XxErrors: 3, interval: 1s}, active: {}}", plain, partly, "spec.healthCheck.active"},
		{"a duration that is none", BackendTrafficPolicy, atRoute + "timeout: {http: {requestTimeout: soon}}", plain, "Accepted=False/Invalid@4", ""},
		{"a kind it cannot have", BackendTrafficPolicy, "targetRefs: [{kind: Service, name: x}, {kind: Gateway, name: gw}]", plain, "Accepted=False/Invalid@4", ""},
		{"a target of others says nothing", BackendTrafficPolicy, "targetRefs: [{kind: Gateway, name: other}]", plain, "", ""},
	} {
		o := world()
		o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 1)})
		o.Policies = append(o.Policies, policyOf(t, row.kind, "p", row.spec))
		ir, statuses := Translate(*o)
		if got := underPolicy(ir); got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
		words, message := "", ""
		for _, a := range statuses.Policies[PolicyKey{row.kind, types.NamespacedName{Namespace: "default", Name: "p"}}] {
			words += said(a.Conditions)
			message += a.Conditions[len(a.Conditions)-1].Message
		}
		if words != row.said || !strings.Contains(message, row.ignored) {
			t.Errorf("%s: got %s %q, want %s", row.rule, words, message, row.said)
		}
	}
}

func underPolicy(ir IR) string {
	r := ir.Listeners[0].Hosts[0].Routes[0]
	retry, requests := "-", "-"
	if r.Retry != nil {
		retry = fmt.Sprint(r.Retry.Attempts, r.Retry.On, r.Retry.Codes)
	}
	for _, b := range ir.Backends {
		if n := b.Traffic.Breaker.Requests; b.Name == r.Members[0].Backend && n != nil {
			requests = fmt.Sprint(*n)
		}
	}
	return fmt.Sprintf("%d %s %s %s %s", ir.Listeners[0].BufferLimit, r.Timeout, r.BackendTimeout, retry, requests)
}

func TestTheOlderPolicyWinsAndARoutesOwnOverItsGateways(t *testing.T) {
	t.Parallel()
	o := world()
	o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 1)})
	spec := func(target, timeout string) string {
		return "targetRefs: [{kind: " + target + "}], timeout: {http: {requestTimeout: " + timeout + "}}"
	}
	o.Policies = []*unstructured.Unstructured{
		policyOf(t, BackendTrafficPolicy, "b", spec("HTTPRoute, name: chat", "2s")),
		policyOf(t, BackendTrafficPolicy, "a", spec("HTTPRoute, name: chat", "1s")),
		policyOf(t, BackendTrafficPolicy, "gateway", spec("Gateway, name: gw", "3s")),
	}
	ir, statuses := Translate(*o)
	if got := underPolicy(ir); got != "0 1s 0s - -" {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]string{"a": "Accepted=True/Accepted@4", "b": "Accepted=False/Conflicted@4", "gateway": "Accepted=True/Accepted@4"} {
		ancestors := statuses.Policies[PolicyKey{BackendTrafficPolicy, types.NamespacedName{Namespace: "default", Name: name}}]
		if got := said(ancestors[0].Conditions); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestAPolicyWithLimitsGivesItsRouteABackendOfItsOwn(t *testing.T) {
	t.Parallel()
	o := world()
	o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 1)})
	o.route("other", []gwv1.HTTPBackendRef{poolRef("a", 1)})
	o.Policies = append(o.Policies, policyOf(t, BackendTrafficPolicy, "p", "targetRefs: [{kind: HTTPRoute, name: chat}], circuitBreaker: {maxParallelRequests: 1}"))
	ir, _ := Translate(*o)
	var names []string
	for _, b := range ir.Backends {
		names = append(names, b.Name+" asks "+b.Picker.Name)
	}
	want := "pool/default/a asks picker/default/a pool/default/a@default/p/chat asks picker/default/a"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAPolicyOfOneRuleLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	o := world()
	name := gwv1.SectionName("qwen")
	r := o.route(chatName, []gwv1.HTTPBackendRef{poolRef("a", 1)})
	r.Spec.Rules = append(r.Spec.Rules, *r.Spec.Rules[0].DeepCopy())
	r.Spec.Rules[0].Name = &name
	target := "targetRefs: [{kind: HTTPRoute, name: chat"
	o.Policies = []*unstructured.Unstructured{
		policyOf(t, BackendTrafficPolicy, "one", target+", sectionName: qwen}], timeout: {http: {requestTimeout: 1s}}"),
		policyOf(t, BackendTrafficPolicy, "whole", target+"}], timeout: {http: {requestTimeout: 2s}}"),
	}
	ir, statuses := Translate(*o)
	routes := ir.Listeners[0].Hosts[0].Routes
	if len(routes) != 2 || routes[0].Timeout.String() != "1s" || routes[1].Timeout.String() != "2s" {
		t.Errorf("got %+v", routes)
	}
	for _, policy := range []string{"one", "whole"} {
		ancestors := statuses.Policies[PolicyKey{BackendTrafficPolicy, types.NamespacedName{Namespace: "default", Name: policy}}]
		if got := said(ancestors[0].Conditions); got != "Accepted=True/Accepted@4" {
			t.Errorf("%s: %s", policy, got)
		}
	}
}

func TestAPoolOfV1Alpha2IsReadAsOneOfV1(t *testing.T) {
	t.Parallel()
	o := policyOf(t, "InferencePool", "old", "selector: {app: a}, targetPortNumber: 8000, extensionRef: {name: epp, failureMode: FailOpen}")
	pool, err := ConvertOldPool(o)
	if err != nil {
		t.Fatal(err)
	}
	ref := pool.Spec.EndpointPickerRef
	got := fmt.Sprintf("%s %v %v %s:%d %s", pool.Name, pool.Spec.Selector.MatchLabels, pool.Spec.TargetPorts[0].Number, ref.Name, ref.Port.Number, ref.FailureMode)
	if got != "old map[app:a] 8000 epp:9002 FailOpen" {
		t.Errorf("got %s", got)
	}
}
