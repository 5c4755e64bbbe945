package plugin_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// says wants every pattern in a text, with runs of spaces taken for one.
func says(t *testing.T, text string, patterns ...string) {
	t.Helper()
	text = regexp.MustCompile(` +`).ReplaceAllString(text, " ")
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(text) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

func TestGetShowsWhatARolloutSees(t *testing.T) {
	f := example()
	f.groups[modelAlpha] = true
	f.objects[at(modelAlpha, "inferencemodels", "")] = []any{map[string]any{
		"apiVersion": modelAlpha, "kind": "InferenceModel", "metadata": map[string]any{"name": "travel", "namespace": "default"},
		"spec": map[string]any{
			"modelName": "trip", "poolRef": map[string]any{"name": "qwen-v1", "group": "inference.networking.k8s.io"},
			"targetModels": []any{map[string]any{"name": "a1", "weight": 30}, map[string]any{"name": "a2", "weight": 10}},
		},
	}}
	f.objects[at("v1", "configmaps", "")] = []any{map[string]any{
		"metadata": map[string]any{"name": "infer-httproute-chat", "namespace": "default"},
		"data":     map[string]any{"record.json": `{"format":3,"run":"r","phase":"Baking","goal":25,"updated":"2026-11-29T10:00:00Z","plan":{"target":"httproute/chat"}}`},
	}}
	address := f.serve(t)
	code, out, stderr := run(t, address, "get")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	says(t, out,
		`^default qwen-v1 v1 1/1 qwen-v1-picker 1 chat 100%, docs 100%$`, `^default qwen-v2 v1 1/1 qwen-v2-picker 1 chat 0%$`,
		`^default inferencemodel/travel qwen-v1 trip a1 75%, a2 25% none$`,
		`^default chat gw chat qwen-v1 100%, qwen-v2 0% yes Baking at 25%, 2026-11-29 10:00$`, `^default docs gw 0 qwen-v1 100% yes none$`)
	_, out, _ = run(t, address, "get", "routes", "-o", "json")
	var list struct {
		Routes []struct {
			Name     string
			Backends []struct{ Percent float64 }
		}
		Pools []any
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Routes) != 2 || list.Routes[0].Backends[0].Percent != 100 || list.Pools != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, out, _ = run(t, address, "get", "-n", "team-a", "-o", "json"); !strings.Contains(out, `"pools": []`) {
		t.Errorf("a list without items is no list: %s", out)
	}
	code, out, stderr = run(t, address, "get", "pools", "-n", "team-a")
	if code != 0 || out != "" || !strings.Contains(stderr, "no pools in namespace team-a") {
		t.Errorf("exit %d: %q %q", code, out, stderr)
	}
}

func TestGetSaysWhatItMayNotRead(t *testing.T) {
	f := example()
	f.refused[at("v1", "pods", "")] = 403
	code, out, stderr := run(t, f.serve(t), "get", "routes")
	if code != 0 || !strings.Contains(stderr, "note: pods could not be read") || !strings.Contains(out, "chat") {
		t.Errorf("exit %d: %q %q", code, out, stderr)
	}
}

func TestTopShowsLoadByPodAndTarget(t *testing.T) {
	f := example()
	f.measure(t)
	address := f.serve(t)
	code, out, stderr := run(t, address, "top", "--interval", "100ms", "--watch", "--count", "2")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	says(t, out, `^default/qwen-v1 qwen-v1-1 yes 3 0 25% 0$`, `^default/qwen-v2 qwen 0 0 none ended$`)
	if n := strings.Count(out, "KV CACHE"); n != 2 {
		t.Errorf("shown %d times, want 2", n)
	}
	_, out, _ = run(t, address, "top", "--interval", "100ms", "-o", "json")
	var d struct {
		Pods   []struct{ KVCache float64 }
		Models []struct{ Model string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || len(d.Pods) != 2 || d.Pods[0].KVCache != 0.25 || len(d.Models) != 2 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTopGoesOnWithoutAPodThatCannotBeRead(t *testing.T) {
	code, out, stderr := run(t, example().serve(t), "top", "--interval", "100ms", "--metrics-via", "direct")
	if code != 0 || !strings.Contains(stderr, "note: pod qwen-v1-1 of pool default/qwen-v1 cannot be read") {
		t.Errorf("exit %d: %q", code, stderr)
	}
	says(t, out, `^default/qwen-v1 qwen-v1-1 yes \? \? \? 0$`)
}

func TestDoctorEndsWith18OnlyWhenSomethingIsWrong(t *testing.T) {
	well := func() *fakeAPI {
		f := example()
		f.measure(t)
		return f
	}
	tests := map[string]struct {
		world func() *fakeAPI
		args  []string
		code  int
		says  string
	}{
		"a clean set-up":           {well, nil, 0, `"findings": \[\]`},
		"an error":                 {func() *fakeAPI { f := well(); delete(f.objects, at(gatewayV1, "gateways", "")); return f }, nil, 18, `"check": "route-status"`},
		"a warning":                {well, []string{"--gate", "ttft p95 < 730ms"}, 18, `"check": "gate-between"`},
		"what the user may not do": {func() *fakeAPI { f := well(); f.denied = true; return f }, nil, 18, `you may not get httproutes/chat, nor patch`},
		"a note":                   {func() *fakeAPI { f := well(); f.refused["/apis/"+gatewayV1+"/gatewayclasses"] = 403; return f }, nil, 0, `"check": "unread"`},
		"pods not asked":           {example, []string{"--objects-only"}, 0, `"findings": \[\]`},
		"a target nobody may list": {func() *fakeAPI {
			f := well()
			f.denied = true
			f.refused[at(gatewayV1, "httproutes", "")] = 403
			return f
		}, []string{"httproute/chat"}, 18, `"object": "httproute/chat"`},
		"pickers that cannot answer": {example, []string{"--metrics-via", "direct"}, 18, `"check": "picker-silent"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := run(t, tt.world().serve(t), append([]string{"doctor", "-o", "json"}, tt.args...)...)
			if code != tt.code {
				t.Errorf("exit %d, want %d: %s%s", code, tt.code, out, stderr)
			}
			says(t, out, tt.says)
		})
	}
}

func TestDoctorPrintsObjectWhyAndFix(t *testing.T) {
	f := example()
	delete(f.objects, at(gatewayV1, "gateways", ""))
	code, out, stderr := run(t, f.serve(t), "doctor", "--objects-only")
	if code != 18 {
		t.Errorf("exit %d", code)
	}
	says(t, out, `^ERROR default/httproute/chat \(route-status\)$`, `^ why gateway gw does not serve it as it is`, `^ fix kubectl get httproute chat -n default`)
	says(t, stderr, `^namespace default: looked at 2 routes, 2 pools, 0 models, 4 pods, 0 gateways and 0 rollouts; 2 errors, 0 warnings, 0 notes$`)
}
