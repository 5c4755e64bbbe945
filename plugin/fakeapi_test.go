package plugin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fakeAPI is an API server that answers GET from a table, and knows the groups
// that are in it. Watches, writes and anything else are refused.
type fakeAPI struct {
	objects map[string]any  // by path; a list's path has a []any
	refused map[string]int  // status instead, by path; "" is every path
	denied  bool            // what the user asks whether they may
	asked   atomic.Int32    // requests
	groups  map[string]bool // group/version that are served
}

// at is the path of an object, or of a list without its name.
func at(groupVersion, resource, name string) string {
	prefix := "/apis/" + groupVersion
	if groupVersion == "v1" {
		prefix = "/api/v1"
	}
	return strings.TrimSuffix(prefix+"/namespaces/default/"+resource+"/"+name, "/")
}

const (
	gatewayV1  = "gateway.networking.k8s.io/v1"
	poolV1     = "inference.networking.k8s.io/v1"
	modelAlpha = "inference.networking.x-k8s.io/v1alpha2"
)

type status struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Status     string `json:"status"`
	Message    string `json:"message"`
	Reason     string `json:"reason"`
	Code       int    `json:"code"`
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	for _, path := range []string{"", r.URL.Path} {
		if code := f.refused[path]; code != 0 {
			f.refuse(w, code)
			return
		}
	}
	object, ok := f.objects[r.URL.Path]
	items, isList := object.([]any)
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		f.answer(w, http.StatusCreated, map[string]any{"status": map[string]any{"allowed": !f.denied}})
	case r.Method != http.MethodGet:
		f.refuse(w, http.StatusForbidden)
	case ok && isList:
		items = selected(items, r.URL.Query().Get("labelSelector"))
		groupVersion, kind := listOf(r.URL.Path)
		f.answer(w, http.StatusOK, map[string]any{"apiVersion": groupVersion, "kind": kind, "metadata": map[string]any{"resourceVersion": "1"}, "items": items})
	case ok:
		f.answer(w, http.StatusOK, object)
	case f.known(r.URL.Path):
		f.refuse(w, http.StatusNotFound)
	default: // as the API server says it of a group that it does not have
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("404 page not found\n"))
	}
}

// selected are the items with the label of a selector app=NAME.
func selected(items []any, selector string) []any {
	_, app, _ := strings.Cut(selector, "app=")
	return slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		labels, _, _ := unstructured.NestedStringMap(item.(map[string]any), "metadata", "labels")
		return app != "" && labels["app"] != app
	})
}

// listOf is what a list at path is called.
func listOf(path string) (groupVersion, kind string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	groupVersion = parts[1]
	if parts[0] == "apis" {
		groupVersion += "/" + parts[2]
	}
	kinds := map[string]string{
		"gateways": "Gateway", "gatewayclasses": "GatewayClass", "leases": "Lease", "deployments": "Deployment",
		"httproutes": "HTTPRoute", "inferencepools": "InferencePool", "inferencemodels": "InferenceModel",
		"pods": "Pod", "services": "Service", "configmaps": "ConfigMap", "namespaces": "Namespace",
	}
	return groupVersion, kinds[parts[len(parts)-1]] + "List"
}

func (f *fakeAPI) known(path string) bool {
	parts := strings.Split(strings.TrimPrefix(path, "/apis/"), "/")
	return strings.HasPrefix(path, "/api/v1/") || len(parts) > 1 && f.groups[parts[0]+"/"+parts[1]]
}

func (f *fakeAPI) refuse(w http.ResponseWriter, code int) {
	reasons := map[int]string{401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 500: "InternalError"}
	texts := map[int]string{401: "Unauthorized", 403: `forbidden: User "ann" may not do that`, 404: "not found", 500: "etcd is away"}
	f.answer(w, code, status{APIVersion: "v1", Kind: "Status", Status: "Failure", Message: texts[code], Reason: reasons[code], Code: code})
}

func (f *fakeAPI) answer(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what)
}

// serve starts it, and returns its address.
func (f *fakeAPI) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

// ref is a backendRef to a pool.
func ref(pool string, weight int) any {
	return map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool, "weight": weight}
}

// rule is a rule of an HTTPRoute.
func rule(name string, refs ...any) any {
	r := map[string]any{"backendRefs": refs}
	if name != "" {
		r["name"] = name
	}
	return r
}

// route is an HTTPRoute that its gateway took.
func route(name string, rules ...any) map[string]any {
	condition := func(kind string) any {
		return map[string]any{"type": kind, "status": "True", "observedGeneration": 1, "reason": kind, "lastTransitionTime": "2026-01-01T00:00:00Z", "message": ""}
	}
	parent := map[string]any{"name": "gw"}
	return map[string]any{
		"apiVersion": gatewayV1, "kind": "HTTPRoute",
		"metadata": map[string]any{"name": name, "namespace": "default", "uid": "u-" + name, "generation": 1, "resourceVersion": "1"},
		"spec":     map[string]any{"parentRefs": []any{parent}, "rules": rules},
		"status": map[string]any{"parents": []any{map[string]any{
			"parentRef": parent, "controllerName": "x/y", "conditions": []any{condition("Accepted"), condition("ResolvedRefs")},
		}}},
	}
}

func pool(name string) map[string]any {
	return map[string]any{
		"apiVersion": poolV1, "kind": "InferencePool", "metadata": map[string]any{"name": name, "namespace": "default"},
		"spec": map[string]any{
			"selector":    map[string]any{"matchLabels": map[string]any{"app": name}},
			"targetPorts": []any{map[string]any{"number": 8000}}, "endpointPickerRef": map[string]any{"name": name + "-picker", "port": map[string]any{"number": 9002}},
		},
	}
}

// pod is ready, and nothing listens on its address's port 9090.
func pod(name, app string, ready bool) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "namespace": "default", "uid": "u-" + name, "labels": map[string]any{"app": app}},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i", "ports": []any{map[string]any{"name": "metrics", "containerPort": 1}}}}},
		"status": map[string]any{"phase": "Running", "podIP": "127.0.0.1", "conditions": []any{map[string]any{
			"type": "Ready", "status": map[bool]string{true: "True", false: "False"}[ready],
		}}},
	}
}

// example is two pools behind one route, as manifests/example, with an API server
// that has nothing else.
func example() *fakeAPI {
	f := &fakeAPI{
		objects: map[string]any{}, refused: map[string]int{},
		groups: map[string]bool{gatewayV1: true, poolV1: true, "coordination.k8s.io/v1": true, "apps/v1": true},
	}
	docs := route("docs", rule("", ref("qwen-v1", 1)))
	docs["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["matches"] = []any{map[string]any{"headers": []any{map[string]any{"name": "x-docs", "value": "yes"}}}}
	chat := route("chat", rule("chat", ref("qwen-v1", 100), ref("qwen-v2", 0)))
	f.objects[at(gatewayV1, "httproutes", "chat")] = chat
	f.objects[at(gatewayV1, "httproutes", "")] = []any{chat, docs}
	var pools, pods, services []any
	for _, name := range []string{"qwen-v1", "qwen-v2"} {
		f.objects[at(poolV1, "inferencepools", name)] = pool(name)
		service := map[string]any{
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name + "-picker", "namespace": "default"},
			"spec": map[string]any{"selector": map[string]any{"app": name + "-picker"}},
		}
		f.objects[at("v1", "services", name+"-picker")] = service
		pools, services = append(pools, pool(name)), append(services, service)
		pods = append(pods, pod(name+"-1", name, true), pod(name+"-picker-1", name+"-picker", true))
	}
	f.objects[at(poolV1, "inferencepools", "")] = pools
	f.objects[at("v1", "pods", "")] = pods
	f.objects[at("v1", "services", "")] = services
	f.gateway()
	for _, none := range []string{at("v1", "configmaps", ""), at("coordination.k8s.io/v1", "leases", ""), "/api/v1/pods", "/apis/apps/v1/deployments"} {
		f.objects[none] = []any{}
	}
	f.objects["/api/v1/namespaces"] = []any{
		map[string]any{"metadata": map[string]any{"name": "default"}}, map[string]any{"metadata": map[string]any{"name": "team-a"}},
	}
	return f
}

// measure lets every pod's metrics page be read: a picker of ours that had no
// request yet.
func (f *fakeAPI) measure(t *testing.T) {
	t.Helper()
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte("# TYPE infer_picker_ready_endpoints gauge\ninfer_picker_ready_endpoints 1\n" +
			"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3\n" +
			"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc 0.25\n" +
			"# TYPE infer_picker_requests_started_total counter\ninfer_picker_requests_started_total{model=\"qwen\",target_model=\"qwen\"} 7\n"))
	}))
	t.Cleanup(pages.Close)
	port, err := strconv.ParseInt(pages.URL[strings.LastIndexByte(pages.URL, ':')+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.objects[at("v1", "pods", "")].([]any) {
		container := p.(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		container["ports"].([]any)[0].(map[string]any)["containerPort"] = port
	}
}

// gateway adds gw and its class, and what discovery says.
func (f *fakeAPI) gateway() {
	condition := func(kinds ...string) any {
		var list []any
		for _, kind := range kinds {
			list = append(list, map[string]any{"type": kind, "status": "True", "reason": kind})
		}
		return map[string]any{"conditions": list}
	}
	f.objects["/apis/"+gatewayV1+"/gatewayclasses"] = []any{map[string]any{
		"apiVersion": gatewayV1, "kind": "GatewayClass", "metadata": map[string]any{"name": "c"},
		"spec": map[string]any{"controllerName": "x/y"}, "status": condition("Accepted"),
	}}
	f.objects[at(gatewayV1, "gateways", "")] = []any{map[string]any{
		"apiVersion": gatewayV1, "kind": "Gateway", "metadata": map[string]any{"name": "gw", "namespace": "default"},
		"spec": map[string]any{"gatewayClassName": "c"}, "status": condition("Accepted", "Programmed"),
	}}
	var groups []any
	for _, kind := range []struct{ groupVersion, resource string }{{gatewayV1, "httproutes"}, {poolV1, "inferencepools"}} {
		group, version, _ := strings.Cut(kind.groupVersion, "/")
		of := map[string]any{"groupVersion": kind.groupVersion, "version": version}
		groups = append(groups, map[string]any{"name": group, "versions": []any{of}, "preferredVersion": of})
		f.objects["/apis/"+kind.groupVersion] = map[string]any{
			"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": kind.groupVersion,
			"resources": []any{map[string]any{"name": kind.resource, "namespaced": true, "kind": kind.resource, "verbs": []any{"list"}}},
		}
	}
	f.objects["/apis"] = map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
	f.objects["/api"] = map[string]any{"kind": "APIVersions", "versions": []any{"v1"}}
}
