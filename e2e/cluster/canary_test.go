package cluster_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func TestARefusedRunSaysWhyAndWritesNothing(t *testing.T) {
	t.Parallel()
	newRoute(t, "refused", 100, 0)
	newRoute(t, "listless", 100, -1)
	newRoute(t, "halfway", 70, 30)
	grant(t, "missing") // a role may be there before its target
	tests := map[string]struct {
		args []string
		code int
		says []string
	}{
		"a route that does not exist": {
			quick("missing", "50,100"), 16, []string{"httproute missing", "not found", "hint: kubectl get httproutes"},
		},
		"a stable pool the route does not list": {
			quick("refused", "50,100", "--stable", "qwen-v0"), 16, []string{"backendRef qwen-v0", "InferencePool/qwen-v1 weight 100"},
		},
		"a canary the route does not list": {
			quick("listless", "50,100"), 16, []string{"does not list backendRef qwen-v2", "hint: add --add-backend"},
		},
		"a canary pool that does not exist": {
			quick("listless", "50,100", "--add-backend", "--canary", "qwen-v3"), 16, []string{"inferencepool default/qwen-v3", "hint: kubectl get inferencepools"},
		},
		"a rule that does not exist": {
			quick("refused", "50,100", "--rule", "other"), 16, []string{`no rule is named "other"`},
		},
		"a first step at or below the present share": {
			quick("halfway", "30,100"), 16, []string{"not above the canary's present share of 30%"},
		},
		"a limit no bucket shows": {
			quick("refused", "50,100", "--gate", "ttft p95 < 1000s"), 16, []string{"no bucket edge shows 1000s", "hint: the nearest limit"},
		},
		"a promql gate and no Prometheus": {
			quick("refused", "50,100", "--gate", `promql "sum(up)" < 5`), 16, []string{"no Prometheus to ask", "hint: name the server: --prometheus"},
		},
		"steps that do not rise": {
			quick("refused", "50,25"), 2, []string{"must rise"},
		},
		"a gate with a wrong operator": {
			quick("refused", "50", "--gate", "errors > 1%"), 2, []string{"errors > 1%\n", "^"},
		},
		"a target that is not TYPE/NAME": {
			[]string{"canary", "status", "chat"}, 2, []string{"hint: write the target as TYPE/NAME, such as httproute/chat"},
		},
		"an abort of nothing": {
			[]string{"canary", "abort", "httproute/refused"}, 1, []string{"no rollout is recorded", "hint: kubectl infer canary run"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := shared.s.command(t.Context(), tt.args...)
			if out.code != tt.code {
				t.Fatalf("want exit %d: %v", tt.code, out)
			}
			for _, text := range tt.says {
				if !strings.Contains(out.stderr, text) {
					t.Errorf("stderr does not say %q:\n%s", text, out.stderr)
				}
			}
		})
	}
	for _, name := range []string{"refused", "listless", "halfway"} {
		if got := getRoute(t, name); got.GetGeneration() != 1 || len(got.GetAnnotations()) > 0 {
			t.Errorf("route %s was written: generation %d, annotations %v", name, got.GetGeneration(), got.GetAnnotations())
		}
	}
}

func TestACanaryThatIsNotListedIsAddedAndPromoted(t *testing.T) {
	t.Parallel()
	newRoute(t, "added", 100, -1)
	out := shared.s.command(t.Context(), quick("added", "50,100", "--add-backend", "-o", "json")...)
	if out.code != 0 {
		t.Fatal(out)
	}
	got := getRoute(t, "added")
	if w := canaryWeight(got); w != 100 {
		t.Errorf("canary weight %d, want 100", w)
	}
	if len(got.GetAnnotations()) > 0 {
		t.Errorf("annotations were left: %v", got.GetAnnotations())
	}
	var result struct {
		Kind, Outcome string
		ExitCode      int
		Steps         []struct{ Asked int }
	}
	if err := json.Unmarshal([]byte(out.stdout), &result); err != nil {
		t.Fatalf("%v\n%s", err, out.stdout)
	}
	if result.Kind != "CanaryResult" || result.Outcome != "Promoted" || len(result.Steps) != 2 || result.Steps[1].Asked != 100 {
		t.Errorf("result %+v", result)
	}
	again := shared.s.command(t.Context(), quick("added", "50,100", "--add-backend")...)
	if again.code != 0 || !strings.Contains(again.stderr, "already promoted") {
		t.Errorf("the same command after promotion: %v", again)
	}
}

func TestAbortFromAnotherTerminalRestoresTheBaseline(t *testing.T) {
	t.Parallel()
	before := given(newRoute(t, "aborted", 100, -1))
	cmd := shared.s.prepareCommand(t.Context(), shared.s.restricted, quick("aborted", "50,100", "--add-backend", "--bake", "10m")...)
	ended := make(chan output, 1)
	go func() { ended <- collect(cmd) }()
	eventually(t, 20*time.Second, "the canary has half of the traffic", func() bool { return canaryWeight(getRoute(t, "aborted")) == 50 })

	if out := shared.s.command(t.Context(), "canary", "status", "httproute/aborted"); out.code != 0 || !strings.Contains(out.stdout, "ceiling 50%") {
		t.Errorf("status: %v", out)
	}
	if out := shared.s.command(t.Context(), quick("aborted", "60,100", "--add-backend")...); out.code != 16 || !strings.Contains(out.stderr, "another plan") {
		t.Errorf("a run of another plan: %v", out)
	}
	if out := shared.s.command(t.Context(), "canary", "abort", "httproute/aborted"); out.code != 0 {
		t.Errorf("abort: %v", out)
	}
	if out := <-ended; out.code != 19 || !strings.Contains(out.stdout, "abort requested") {
		t.Errorf("the aborted run: %v", out)
	}
	if after := given(getRoute(t, "aborted")); after != before {
		t.Errorf("the route is not as before\nbefore %s\nafter  %s", before, after)
	}
}

func TestAnInterruptHoldsAndTheSameCommandGoesOn(t *testing.T) {
	t.Parallel()
	newRoute(t, "interrupted", 100, 0)
	run := quick("interrupted", "50,100", "--bake", "2s")
	cmd := shared.s.prepareCommand(t.Context(), shared.s.restricted, run...)
	ended := make(chan output, 1)
	go func() { ended <- collect(cmd) }()
	eventually(t, 20*time.Second, "the canary has half of the traffic", func() bool { return canaryWeight(getRoute(t, "interrupted")) == 50 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 12 {
		t.Fatalf("interrupted run: %v", out)
	}
	if w := canaryWeight(getRoute(t, "interrupted")); w != 50 {
		t.Errorf("canary weight %d after the interrupt, want the approved 50", w)
	}
	if out := shared.s.command(t.Context(), run...); out.code != 0 || !strings.Contains(out.stderr, "resume") {
		t.Errorf("the resumed run: %v", out)
	}
}

func TestAForeignWeightIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	newRoute(t, "drift", 100, 0)
	cmd := shared.s.prepareCommand(t.Context(), shared.s.restricted, quick("drift", "50,100", "--bake", "10m")...)
	ended := make(chan output, 1)
	go func() { ended <- collect(cmd) }()
	eventually(t, 20*time.Second, "the canary has half of the traffic", func() bool { return canaryWeight(getRoute(t, "drift")) == 50 })
	_, err := shared.s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace).Patch(t.Context(), "drift", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":33}]`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 13 || !strings.Contains(out.stderr, "changed") {
		t.Errorf("run with a foreign weight: %v", out)
	}
	if w := canaryWeight(getRoute(t, "drift")); w != 33 {
		t.Errorf("canary weight %d, the foreign 33 was overwritten", w)
	}
	if out := shared.s.command(t.Context(), "canary", "abort", "httproute/drift"); out.code != 0 {
		t.Errorf("abort after drift: %v", out)
	}
}
