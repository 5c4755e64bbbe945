package plugin_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/errors.txt and docs/reference.md")

const golden = "testdata/errors.txt"

// mistake is a command line that cannot work, where it is typed.
type mistake struct {
	line  string            // {dir} is a folder with files
	api   func(f *fakeAPI)  // what is wrong with the example; nil for no cluster at all
	files map[string]string // by name
	reads bool              // metrics can be read
}

const toQwen = " --stable qwen-v1 --canary qwen-v2"

// onTheCommandLine are mistakes that no cluster is asked about.
func onTheCommandLine() map[string]mistake {
	return map[string]mistake{
		"a command that is not there":            {line: "canry run"},
		"a verb that is not there":               {line: "canary rum"},
		"a flag that is not there":               {line: "canary run httproute/chat --bakes 5m"},
		"a flag that is like no other":           {line: "canary run httproute/chat --frobnicate"},
		"a flag without its value":               {line: "canary run httproute/chat --stable"},
		"a duration without a unit":              {line: "canary run httproute/chat --bake 5"},
		"no target":                              {line: "canary run --stable a --canary b"},
		"a name without TYPE":                    {line: "canary status chat"},
		"a TYPE whose weights cannot be moved":   {line: "canary run deployment/chat --stable a --canary b"},
		"targets of two kinds":                   {line: "canary run httproute/chat inferencemodel/m --stable a --canary b"},
		"one target twice":                       {line: "canary run httproute/chat httproute/chat --stable a --canary b"},
		"no stable":                              {line: "canary run httproute/chat --canary b"},
		"the canary is stable":                   {line: "canary run httproute/chat --stable a --canary a"},
		"steps that fall":                        {line: "canary run httproute/chat --stable a --canary b --steps 50,25"},
		"steps that are no numbers":              {line: "canary run httproute/chat --stable a --canary b --steps five"},
		"a step beyond all":                      {line: "canary run httproute/chat --stable a --canary b --steps 5,150"},
		"a typo in a gate":                       {line: "canary run httproute/chat --stable a --canary b --gate 'erors < 1%'"},
		"a gate the wrong way round":             {line: "canary run httproute/chat --stable a --canary b --gate 'errors > 1%'"},
		"a gate without a unit":                  {line: "canary run httproute/chat --stable a --canary b --gate 'ttft p95 < 800'"},
		"a gate without a quantile":              {line: "canary run httproute/chat --stable a --canary b --gate 'ttft < 800ms'"},
		"a choice that there is not":             {line: "canary run httproute/chat --stable a --canary b --on-interrupt stop"},
		"metrics of an unknown program":          {line: "canary run httproute/chat --stable a --canary b --metrics sglang"},
		"an output format that there is not":     {line: "doctor -o xml"},
		"a plan file that is not there":          {line: "canary run httproute/chat -f {dir}/nope.yaml"},
		"a plan file with an unknown field":      {line: "canary run httproute/chat -f {dir}/plan.yaml", files: map[string]string{"plan.yaml": "stable: a\ncanary: b\nbakeTime: 5m\n"}},
		"a plan file with a wrong gate":          {line: "canary run httproute/chat -f {dir}/plan.yaml", files: map[string]string{"plan.yaml": "stable: a\ncanary: b\ngates:\n- errors < 1%\n- ttft < 1s\n"}},
		"a plan file with a wrong value":         {line: "canary run httproute/chat -f {dir}/plan.yaml", files: map[string]string{"plan.yaml": "stable: a\ncanary: b\nminRequests: many\n"}},
		"a plan file that is not YAML":           {line: "canary run httproute/chat -f {dir}/plan.yaml", files: map[string]string{"plan.yaml": "stable: [\n"}},
		"said in the file and on the line":       {line: "canary run httproute/chat -f {dir}/plan.yaml --stable a", files: map[string]string{"plan.yaml": "stable: a\ncanary: b\n"}},
		"a sandbox that is not installed":        {line: "sandbox up"},
		"arguments where there are none":         {line: "version extra"},
		"a resource that get does not know":      {line: "get pod"},
		"a flag of other verbs":                  {line: "get leftovers -o json"},
		"delete without saying what":             {line: "delete"},
		"a doctor's target that is none":         {line: "doctor service/chat"},
		"a shell that is not known":              {line: "completion csh"},
		"a kubeconfig that is not there":         {line: "canary status httproute/chat --kubeconfig {dir}/nope"},
		"a context that is not there":            {line: "canary status httproute/chat --context prod"},
		"a server that does not answer":          {line: "canary status httproute/chat --server http://127.0.0.1:1"},
		"a gateway address that is none":         {line: "verify split httproute/chat --gateway 10.0.0.1"},
		"a record that is not there":             {line: "canary replay {dir}/nope.jsonl"},
		"a role for nobody":                      {line: "install rbac --for httproute/chat"},
		"a route for one name to two pools":      {line: "create route chat --model qwen=a --model qwen=b"},
		"a limit that limits nothing":            {line: "create policy chat --route chat"},
		"gates on a share with nothing to judge": {line: "canary run httproute/chat --stable a --canary b --steps 50,99"},
	}
}

// inTheCluster are mistakes that only the cluster shows.
func inTheCluster() map[string]mistake {
	chat := func(f *fakeAPI) map[string]any {
		return f.objects[at(gatewayV1, "httproutes", "chat")].(map[string]any)
	}
	set := func(resource, name string, object any) func(*fakeAPI) {
		return func(f *fakeAPI) { f.objects[at(gatewayV1, resource, name)] = object }
	}
	meta := func(f *fakeAPI) map[string]any { return chat(f)["metadata"].(map[string]any) }
	run := "canary run httproute/chat" + toQwen
	return map[string]mistake{
		"a token that has expired":               {line: run, api: func(f *fakeAPI) { f.refused[""] = 401 }},
		"a verb that is not allowed":             {line: run, api: func(f *fakeAPI) { f.refused[at(gatewayV1, "httproutes", "chat")] = 403 }},
		"a server in trouble":                    {line: run, api: func(f *fakeAPI) { f.refused[""] = 500 }},
		"a route that is not there":              {line: "canary run httproute/chatt" + toQwen, api: func(*fakeAPI) {}},
		"the wrong namespace":                    {line: run + " -n team-a", api: func(*fakeAPI) {}},
		"a definition that is not installed":     {line: "canary run inferencemodel/travel --stable a --canary b", api: func(*fakeAPI) {}},
		"a route without such a backend":         {line: "canary run httproute/chat --stable qwen-v0 --canary qwen-v2", api: func(*fakeAPI) {}},
		"a canary that the rule does not list":   {line: "canary run httproute/chat --stable qwen-v1 --canary qwen-v3", api: func(*fakeAPI) {}},
		"two rules that match":                   {line: run, api: set("httproutes", "chat", route("chat", rule("a", ref("qwen-v1", 1), ref("qwen-v2", 0)), rule("b", ref("qwen-v1", 1), ref("qwen-v2", 0))))},
		"a rule that is not there":               {line: run + " --rule nope", api: func(*fakeAPI) {}},
		"weights that cannot be written exactly": {line: run + " --steps 5", api: set("httproutes", "chat", route("chat", rule("", ref("qwen-v1", 1), ref("qwen-v2", 0), ref("qwen-v0", 1))))},
		"a backend that is a Service":            {line: "canary run httproute/chat --stable web-v1 --canary web-v2", api: set("httproutes", "chat", route("chat", rule("", map[string]any{"kind": "Service", "group": "", "name": "web-v1"}, map[string]any{"kind": "Service", "group": "", "name": "web-v2"})))},
		"a limit that no bucket shows":           {line: run + " --gate 'ttft p95 < 400s'", reads: true, api: func(*fakeAPI) {}},
		"a canary without a ready pod":           {line: run, reads: true, api: func(f *fakeAPI) { f.objects[at("v1", "pods", "")].([]any)[2] = pod("qwen-v2-1", "qwen-v2", false) }},
		"a pod that does not answer": {line: run, reads: true, api: func(f *fakeAPI) {
			for _, name := range []string{"qwen-v1", "qwen-v2"} {
				p := pool(name)
				p["spec"].(map[string]any)["targetPorts"] = []any{map[string]any{"number": 1}}
				f.objects[at(poolV1, "inferencepools", name)] = p
			}
		}},
		"weights that Argo CD owns": {line: run, reads: true, api: func(f *fakeAPI) { meta(f)["labels"] = map[string]any{"argocd.argoproj.io/instance": "shop"} }},
		"weights that another rollout moves": {line: run, api: func(f *fakeAPI) {
			meta(f)["annotations"] = map[string]any{"kubectl-infer.github.io/rollout": `{"run":"r-7","epoch":3}`}
		}},
		"a route that its gateway refused":     {line: run, api: func(f *fakeAPI) { delete(chat(f), "status") }},
		"a pool that is not there":             {line: run, api: func(f *fakeAPI) { delete(f.objects, at(poolV1, "inferencepools", "qwen-v2")) }},
		"a picker's Service that is not there": {line: run, api: func(f *fakeAPI) { delete(f.objects, at("v1", "services", "qwen-v2-picker")) }},
		"no ready picker":                      {line: run + " --metrics picker", api: func(f *fakeAPI) { f.objects[at("v1", "pods", "")] = []any{pod("p", "qwen-v1-picker", false)} }},
		"no metrics":                           {line: run + " --metrics picker --metrics-via direct", api: func(*fakeAPI) {}},
		"an unfinished rollout with another plan": {line: run, api: func(f *fakeAPI) {
			f.objects[at("v1", "configmaps", "infer-httproute-chat")] = map[string]any{
				"metadata": map[string]any{"name": "infer-httproute-chat", "namespace": "default"},
				"data":     map[string]any{"record.json": `{"format":3,"run":"r-7","phase":"Baking","goal":5,"holder":"ann@laptop (pid 7)","planDigest":"00","plan":{"target":"httproute/chat","canary":"qwen-v3"}}`},
			}
		}},
		"a rollout that was never begun":      {line: "canary status httproute/chat", api: func(*fakeAPI) {}},
		"an abort of nothing":                 {line: "canary abort httproute/chat", api: func(*fakeAPI) {}},
		"a route to verify that is not there": {line: "verify split httproute/nope", api: func(*fakeAPI) {}},
		"a namespace without pools":           {line: "top -n team-a", api: func(*fakeAPI) {}},
		"a journal of another version": {line: "canary status httproute/chat", api: func(f *fakeAPI) {
			f.objects[at("v1", "configmaps", "infer-httproute-chat")] = map[string]any{"metadata": map[string]any{"name": "infer-httproute-chat", "namespace": "default"}, "data": map[string]any{"record.json": `{"format":99}`}}
		}},
	}
}

// TestWhatAMistakeIsAnsweredWith holds every message, hint and exit code to
// testdata/errors.txt, where they are read as a user reads them.
func TestWhatAMistakeIsAnsweredWith(t *testing.T) {
	said := map[string]string{}
	for _, all := range []map[string]mistake{onTheCommandLine(), inTheCluster()} {
		for name, m := range all {
			said[name] = m.answer(t)
		}
	}
	if len(said) < 40 {
		t.Fatalf("%d mistakes", len(said))
	}
	if *update {
		var b strings.Builder
		b.WriteString("What is typed wrong, and what comes back. go test ./plugin -run Mistake -update\n")
		for _, name := range slices.Sorted(maps.Keys(said)) {
			fmt.Fprintf(&b, "\n# %s\n%s", name, said[name])
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, block := range strings.Split(string(raw), "\n\n# ")[1:] {
		name, text, _ := strings.Cut(block, "\n")
		want[name] = strings.TrimRight(text, "\n") + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if said[name] != want[name] {
			t.Errorf("%s\ngot:\n%swant:\n%s", name, said[name], want[name])
		}
		if !strings.Contains(said[name], "\nhint: ") || !strings.Contains(said[name], "\nerror: ") || strings.Contains(said[name], "exit 0") {
			t.Errorf("%s has no error, no hint, or the exit code of a success:\n%s", name, said[name])
		}
	}
	if len(want) != len(said) {
		t.Errorf("%s has %d mistakes, there are %d", golden, len(want), len(said))
	}
}

// answer types the mistake, and returns the line, the exit code and what came
// back, with what differs from machine to machine taken out.
func (m mistake) answer(t *testing.T) string {
	t.Helper()
	dir, address := t.TempDir(), "http://127.0.0.1:1"
	for name, text := range m.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if m.api != nil {
		f := example()
		m.api(f)
		if m.reads {
			f.measure(t)
		}
		address = f.serve(t)
	}
	t.Setenv("KUBECONFIG", kubeconfig(t, address))
	t.Setenv("PATH", dir)
	code, out, stderr := run(t, "", split(strings.ReplaceAll(m.line, "{dir}", dir))...)
	if out != "" {
		t.Errorf("%s: on stdout: %q", m.line, out)
	}
	if m.api != nil {
		stderr = strings.ReplaceAll(strings.ReplaceAll(stderr, address, "SERVER"), strings.TrimPrefix(address, "http://"), "SERVER")
	}
	stderr = strings.ReplaceAll(stderr, dir, "DIR")
	return fmt.Sprintf("$ kubectl infer %s\nexit %d\n%s", strings.ReplaceAll(m.line, "{dir}", "DIR"), code, stderr)
}

// split is a shell's, as far as the examples and mistakes need it.
func split(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
