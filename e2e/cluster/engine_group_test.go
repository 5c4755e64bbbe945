package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

func TestSeveralRoutesMoveAsOne(t *testing.T) {
	t.Parallel()
	first, second := given(newRoute(t, "pair-a", 100, 0)), given(newRoute(t, "pair-b", 100, 0))
	grant(t, "pair-a", "pair-b")
	_, ended := begin(t, "pair-b", "httproute/pair-a", "--bake", "10m", "--lease-duration", "15s")
	if a, b := canaryWeight(getRoute(t, "pair-a")), canaryWeight(getRoute(t, "pair-b")); a != 50 || b != 50 {
		t.Errorf("canary weights %d and %d", a, b)
	}
	if out := shared.s.command(t.Context(), quick("pair-b", "100")...); out.code != 16 {
		t.Errorf("another rollout of one of them: %v", out)
	}
	verb(t, 0, "httproute/pair-b: canary share is 50%, accepted", "status", "httproute/pair-a")
	verb(t, 1, "hint: kubectl infer canary status httproute/pair-a", "status", "httproute/pair-b")
	verb(t, 0, "abort requested", "abort", "httproute/pair-a")
	if out := <-ended; out.code != 19 {
		t.Errorf("the aborted run: %v", out)
	}
	if a, b := given(getRoute(t, "pair-a")), given(getRoute(t, "pair-b")); a != first || b != second {
		t.Errorf("not as before\n%s\n%s\n%s\n%s", first, a, second, b)
	}
	if out := shared.s.command(t.Context(), quick("pair-a", "50,100", "httproute/pair-b")...); out.code != 0 {
		t.Errorf("both to the end: %v", out)
	}
	for _, name := range []string{"pair-a", "pair-b"} {
		if got := getRoute(t, name); canaryWeight(got) != 100 || len(got.GetAnnotations()) > 0 {
			t.Errorf("%s: canary weight %d, annotations %v", name, canaryWeight(got), got.GetAnnotations())
		}
	}
}

// TestARollbackLandsWhileMetadataIsWritten has another client write a label of
// the route 50 times a second: it changes the object, never the rule.
func TestARollbackLandsWhileMetadataIsWritten(t *testing.T) {
	t.Parallel()
	newRoute(t, "busy", 100, 0)
	_, ended := begin(t, "busy", "--bake", "10m", "--lease-duration", "15s")
	stop := make(chan struct{})
	var writes int
	var writer sync.WaitGroup
	writer.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			patch := fmt.Sprintf(`{"metadata":{"labels":{"beat":"%d"}}}`, writes)
			_, err := shared.s.clients.Dynamic.Resource(kube.HTTPRoutes()).Namespace(namespace).Patch(t.Context(), "busy", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil {
				t.Errorf("write a label: %v", err)
				return
			}
			writes++
		}
	})
	verb(t, 0, "", "abort", "httproute/busy")
	close(stop)
	writer.Wait()
	out := <-ended
	if out.code != 19 || canaryWeight(getRoute(t, "busy")) != 0 {
		t.Errorf("the aborted run: %v", out)
	}
	record := recorded(t, "busy")
	took := record.Restored.Sub(record.Decided)
	t.Logf("restored %v after the decision, beside %d writes", took, writes)
	if took <= 0 || took > 10*time.Second {
		t.Errorf("restored only %v after the decision", took)
	}
}
