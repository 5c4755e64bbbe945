package cluster_test

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// verb runs a canary verb and wants it to end with code.
func verb(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	out := shared.s.command(t.Context(), append([]string{"canary"}, args...)...)
	if out.code != code || !strings.Contains(out.stdout+out.stderr, says) {
		t.Errorf("%v: want exit %d and %q: %v", args, code, says, out)
	}
}

func TestAnApprovedRolloutIsFinishedOrUndone(t *testing.T) {
	t.Parallel()
	before := given(newRoute(t, "verbs", 100, 0))
	run := quick("verbs", "50:approve,100", "--wait=false")
	if out := shared.s.command(t.Context(), run...); out.code != 17 || !strings.Contains(out.stderr, "canary promote httproute/verbs") {
		t.Fatalf("a step that waits: %v", out)
	}
	if w := canaryWeight(getRoute(t, "verbs")); w != 50 {
		t.Errorf("canary weight %d while waiting", w)
	}
	verb(t, 16, "the rollout is not over", "undo", "httproute/verbs")
	verb(t, 0, "the next run of its plan obeys", "promote", "httproute/verbs")
	verb(t, 0, "the next run of its plan obeys", "promote", "httproute/verbs")
	if out := shared.s.command(t.Context(), run...); out.code != 0 {
		t.Fatalf("the approved run: %v", out)
	}
	verb(t, 16, "nothing to pause", "pause", "httproute/verbs")
	verb(t, 0, "Promoted", "history", "httproute/verbs")
	undone := shared.s.command(t.Context(), "canary", "undo", "httproute/verbs")
	if undone.code != 0 || !strings.Contains(undone.stdout, "undo requested") || strings.Contains(undone.stdout, "ASKED") ||
		!strings.Contains(undone.stdout, "-   qwen-v2 weight 100\n+   qwen-v2 weight 0\n") {
		t.Errorf("undo says what it wrote, and not the steps it undid: %v", undone)
	}
	verb(t, 0, "already at the baseline", "undo", "httproute/verbs")
	if after := given(getRoute(t, "verbs")); after != before {
		t.Errorf("undone, but not as before\nbefore %s\nafter  %s", before, after)
	}
	verb(t, 16, "not promoted to 100%", "finish", "httproute/verbs")
	if out := shared.s.command(t.Context(), quick("verbs", "100")...); out.code != 0 {
		t.Fatal(out)
	}
	verb(t, 0, "backend qwen-v1 removed", "finish", "httproute/verbs")
	verb(t, 0, "not listed any more", "finish", "httproute/verbs")
	verb(t, 16, "took the backend qwen-v1 away", "undo", "httproute/verbs")
	verb(t, 0, "kept", "gc", "httproute/verbs")
	verb(t, 0, "emptied", "gc", "httproute/verbs", "--keep", "0s")
	verb(t, 0, "nothing is recorded", "gc", "httproute/verbs")
}

func TestAPausedRunGoesOnWhenResumed(t *testing.T) {
	t.Parallel()
	newRoute(t, "paused", 100, 0)
	_, ended := begin(t, "paused", "--bake", "3s", "--lease-duration", "15s")
	verb(t, 0, "pause obeyed", "pause", "httproute/paused")
	verb(t, 0, "resume obeyed", "resume", "httproute/paused")
	verb(t, 0, "promote --full obeyed", "promote", "--full", "httproute/paused")
	if out := <-ended; out.code != 0 {
		t.Errorf("the run: %v", out)
	}
}

// TestTheOwnersNextApplyMeetsNoConflict applies a route as its owner, rolls
// out, and applies again with the new weights: we must own nothing any more.
func TestTheOwnersNextApplyMeetsNoConflict(t *testing.T) {
	t.Parallel()
	newRoute(t, "owned", 100, 0)
	routes := shared.s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace)
	apply := func(stable, canary int64, force bool) error {
		raw, err := json.Marshal(route("owned", stable, canary))
		if err != nil {
			return err
		}
		_, err = routes.Patch(t.Context(), "owned", types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: "their-pipeline", Force: &force})
		return err
	}
	if err := apply(100, 0, true); err != nil {
		t.Fatal(err)
	}
	if out := shared.s.command(t.Context(), quick("owned", "50,100")...); out.code != 0 || !strings.Contains(out.stderr, "their-pipeline") {
		t.Fatal(out)
	}
	for _, e := range getRoute(t, "owned").GetManagedFields() {
		if e.Manager == "kubectl-infer" {
			t.Errorf("our managedFields entry was left: %v", e)
		}
	}
	promoted := given(getRoute(t, "owned"))
	if err := apply(0, 100, false); err != nil {
		t.Errorf("the owner's apply with the new weights: %v", err)
	}
	if after := given(getRoute(t, "owned")); after != promoted {
		t.Errorf("the apply changed more than nothing\nbefore %s\nafter  %s", promoted, after)
	}
	if err := apply(100, 0, false); err != nil {
		t.Errorf("the owner's apply of the original: %v", err)
	}
}
