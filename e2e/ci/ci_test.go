package ci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kubectl-infer/kubectl-infer/e2e/shell"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

const root = "../.."

// quick makes a rollout short enough for a test.
const quick = "--calibrate 0 --bake 500ms --settle 100ms --scrape-interval 100ms --min-requests 1 --lease-duration 1s --ignore-share"

// part finds a value of a YAML document by keys and indices.
func part(t *testing.T, file string, document int, path ...any) string {
	t.Helper()
	in, err := os.Open(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	decoder := yaml.NewDecoder(in)
	var value any
	for range document + 1 {
		value = nil
		if err := decoder.Decode(&value); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	for _, step := range path {
		switch at := value.(type) {
		case map[string]any:
			value = at[fmt.Sprint(step)]
		case []any:
			value = at[step.(int)]
		}
	}
	text, ok := value.(string)
	if !ok {
		t.Fatalf("%s has no text at %v", file, path)
	}
	return text
}

// recipe is what one system runs: the rollout, and the step that always runs
// after it.
type recipe struct {
	rollout, always string
	variables       []string // in addition to the settings
	waiting         int      // exit code of a rollout that waits for an approval
}

func recipes(t *testing.T, dir string) map[string]recipe {
	t.Helper()
	plain, err := os.ReadFile(filepath.Join(root, "docs/ci/canary.sh"))
	if err != nil {
		t.Fatal(err)
	}
	const always = `kubectl infer canary abort "$TARGET" --if-stale`
	return map[string]recipe{
		"shell": {string(plain), always, []string{"OUT=" + dir}, 17},
		"github": {
			part(t, "action.yml", 0, "runs", "steps", 1, "run"), part(t, "action.yml", 0, "runs", "steps", 2, "run"),
			[]string{"NAMESPACE=", "CONTEXT=", "FROM=", "RUNNER_TEMP=" + dir, "GITHUB_STEP_SUMMARY=" + dir + "/summary", "GITHUB_OUTPUT=" + dir + "/outputs"},
			0,
		},
		"gitlab": {
			"cd " + dir + "\n" + part(t, "docs/ci/gitlab/templates/canary.yml", 1, "canary", "script", 0),
			part(t, "docs/ci/gitlab/templates/canary.yml", 1, "canary", "after_script", 0), nil, 17,
		},
		"tekton": {
			part(t, "docs/ci/tekton-task.yaml", 0, "spec", "steps", 0, "script"), always,
			[]string{"OUTCOME_FILE=" + dir + "/outcome", "CODE_FILE=" + dir + "/code"},
			0,
		},
		"argo": {
			part(t, "docs/ci/argo-workflow.yaml", 0, "spec", "templates", 0, "script", "source"),
			part(t, "docs/ci/argo-workflow.yaml", 0, "spec", "templates", 1, "script", "source"),
			[]string{"OUT=" + dir},
			17,
		},
	}
}

// code is the exit status of what Run returned.
func code(err error) int {
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		return exited.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// service brings up two pools behind one route, and traffic for the test's length.
func service(t *testing.T) shell.Shell {
	t.Helper()
	s := shell.Up(t, root, "ci")
	out, said, err := s.Run(t.Context(), `kubectl apply -k manifests/example
kubectl wait --for=condition=Available --timeout=60s deployment --all
kubectl wait --for=jsonpath='{.status.parents[0].conditions[?(@.type=="ResolvedRefs")].status}'=True --timeout=30s httproute/chat`)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = s.Run(ctx, "exec kubectl-infer sandbox load --model qwen=1 --rate 40 --duration 5m")
	}()
	t.Cleanup(func() { stop(); <-ended })
	return s
}

func weights(t *testing.T, s shell.Shell) string {
	t.Helper()
	out, said, err := s.Run(t.Context(), `kubectl get httproute chat -o jsonpath='{range .spec.rules[0].backendRefs[*]}{.name}={.weight} {end}'`)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return strings.TrimSpace(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestTheRecipesOfPipelines runs each recipe twice over one approval, with the
// step that always runs in between: it must leave a run that waits alone.
func TestTheRecipesOfPipelines(t *testing.T) {
	t.Parallel()
	s := service(t)
	dirs := map[string]string{} // outlive their subtests: what was written is read at the end
	for _, system := range []string{"shell", "github", "gitlab", "tekton", "argo"} {
		dir := t.TempDir()
		dirs[system] = dir
		t.Run(system, func(t *testing.T) {
			r := recipes(t, dir)[system]
			variables := append(r.variables, "TARGET=httproute/chat", "STABLE=qwen-v1", "CANARY=qwen-v2", "STEPS=50:approve,100", "GATES=errors < 5%\nttft p95 < 3s\n", "ARGS="+quick)
			run := func(what, script string, want int) string {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				out, said, err := s.Run(ctx, script, variables...)
				if code(err) != want {
					t.Fatalf("%s: exit code %d, want %d\n%s%s", what, code(err), want, out, said)
				}
				return out + said
			}
			run("up to the approval", r.rollout, r.waiting)
			if said := run("the step that always runs", r.always, 0); !strings.Contains(said, "ended in order") {
				t.Errorf("the step that always runs said:\n%s", said)
			}
			run("the approval", "kubectl infer canary promote httproute/chat", 0)
			run("to the end", r.rollout, 0)
			if got := weights(t, s); got != "qwen-v1=0 qwen-v2=100" {
				t.Errorf("the weights are %s", got)
			}
			run("the way back", "kubectl infer canary undo httproute/chat && kubectl infer canary gc httproute/chat --keep 0s", 0)
		})
	}
	for file, wants := range map[string][]string{
		dirs["shell"] + "/canary-junit.xml":    {`<testsuite name="canary default/httproute/chat: qwen-v1 → qwen-v2"`, `failures="0"`},
		dirs["shell"] + "/canary-summary.md":   {"### WAITING", "### PROMOTED"},
		dirs["shell"] + "/canary-events.jsonl": {`"type":"Transition"`, `"type":"Ended"`},
		dirs["github"] + "/outputs":            {"exit-code=17", "outcome=Waiting", "exit-code=0", "outcome=Promoted", "ceiling=100"},
		dirs["github"] + "/summary":            {"### PROMOTED"},
		dirs["gitlab"] + "/canary.env":         {"CANARY_OUTCOME=Promoted", "CANARY_CEILING=100"},
		dirs["tekton"] + "/outcome":            {"Promoted"},
		dirs["tekton"] + "/code":               {"0"},
		dirs["argo"] + "/canary-result.json":   {`"outcome": "Promoted"`},
	} {
		text := read(t, file)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q:\n%s", filepath.Base(file), want, text)
			}
		}
	}
	t.Run("what Tekton's and Argo's own definitions say", func(t *testing.T) { defined(t, s) })
	t.Run("a runner that died", func(t *testing.T) { died(t, s) })
	t.Run("a gate for tools that move weights themselves", func(t *testing.T) { judged(t, s) })
}

// TestTheRecipesHaveTheirSystemsShape parses what GitHub and GitLab publish a
// schema for.
func TestTheRecipesHaveTheirSystemsShape(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "bash", "schemas.sh").CombinedOutput()
	if err != nil || strings.Count(string(out), "ok -- validation done") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}

// defined sends the recipes that are objects of a cluster to an API server that has
// the pipelines' own definitions and checks strictly, keeping nothing: as they are,
// and with a field that is not there.
func defined(t *testing.T, s shell.Shell) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s.Define(t, assets.PipelineDefinitions()...)
	for file, field := range map[string]string{"docs/ci/tekton-task.yaml": "securityContext:", "docs/ci/argo-workflow.yaml": "retryStrategy:"} {
		const strictly = "kubectl create --dry-run=server --validate=strict -f -"
		if out, said, err := s.Run(ctx, strictly+" <"+file); err != nil {
			t.Errorf("%s: %v\n%s%s", file, err, out, said)
		}
		misspelt := "misspelt" + field
		out, said, err := s.Run(ctx, "sed 's/"+field+"/"+misspelt+"/' "+file+" | "+strictly)
		if err == nil || !strings.Contains(said, strings.TrimSuffix(misspelt, ":")) {
			t.Errorf("%s with %s was not refused: %v\n%s%s", file, misspelt, err, out, said)
		}
	}
}

// died kills a rollout in mid-step: the step that always runs takes it back.
func died(t *testing.T, s shell.Shell) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	before := weights(t, s)
	out, said, err := s.Run(ctx, `kubectl-infer canary run httproute/chat --stable qwen-v1 --canary qwen-v2 --steps 50,100 `+quick+` --bake 10m & run=$!
kubectl wait --for=jsonpath='{.spec.rules[0].backendRefs[1].weight}'=50 --timeout=60s httproute/chat
kill -KILL $run
wait $run || true
kubectl infer canary abort httproute/chat --if-stale`)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	if got := weights(t, s); got != before {
		t.Errorf("the weights are %s, were %s", got, before)
	}
}

// judged asks for a verdict on a canary that kubectl moved, once while it is well
// and once while its servers fail.
func judged(t *testing.T, s shell.Shell) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const verdict = `kubectl infer gate httproute/chat --once --stable qwen-v1 --canary qwen-v2 --gate 'errors < 5%' \
  --calibrate 2s --bake 20s --scrape-interval 200ms --min-requests 20 -o json || echo "exit code $?"
`
	out, said, err := s.Run(ctx, `weights() { kubectl patch httproute chat --type json -p '[
  {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": '$1'},
  {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": '$2'}]' >&2; }
weights 50 50
`+verdict+`
kubectl infer sandbox break deployment/qwen-v2 --error-rate 0.5 >&2
`+verdict+`
kubectl infer sandbox break --reset >&2
weights 100 0`)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, said)
	}
	_, second, _ := strings.Cut(out, `"kind": "GateVerdict"`)
	well, worse, found := strings.Cut(second, `"kind": "GateVerdict"`)
	if !found || !strings.Contains(well, `"verdict": "Pass"`) || strings.Contains(well, "exit code") {
		t.Errorf("of a healthy canary:\n%s%s", out, said)
	}
	if !strings.Contains(worse, `"verdict": "Fail"`) || !strings.Contains(worse, "exit code 18") {
		t.Errorf("of one that fails:\n%s%s", out, said)
	}
}
