package cluster_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/traffic"
)

// shadowUser has no right but those of `install rbac --mirror`.
const shadowUser = "mirror-ci"

// toShadow starts a short mirror as shadowUser. Other tests break the shadow's pool
// as they like, so its verdict is not asked for.
func toShadow(more string) string {
	return "mirror start httproute/copied --as " + shadowUser + " --to inferencepool/qwen-v2 --percent 50 --max-tokens-per-second 100000 --probe none" +
		" --calibrate 500ms --settle 100ms --scrape-interval 200ms --min-requests 1 --lease-duration 1s --gate errors<99% " + more
}

// mirrors counts the RequestMirror filters of the route.
func mirrors(t *testing.T) int {
	t.Helper()
	rules, _, _ := unstructured.NestedSlice(getRoute(t, "copied").Object, "spec", "rules")
	rule, _ := rules[0].(map[string]any)
	filters, _ := rule["filters"].([]any)
	return len(filters)
}

// TestAMirrorNeedsNoMoreThanItsRole goes through a mirror's life as a user who may
// do what the role allows: refused without --mirror, a dry run, one to its end, one
// that is interrupted.
func TestAMirrorNeedsNoMoreThanItsRole(t *testing.T) {
	t.Parallel()
	newRoute(t, "copied", 100, -1)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = traffic.Run(ctx, traffic.Options{
			URL: "http://" + shared.s.gateway, Mix: []traffic.ModelShare{{Model: "qwen", Weight: 1}}, Rate: 20, StreamingShare: 0.7, Seed: 3,
			Header: http.Header{"X-Route": {"copied"}},
		}, func(traffic.Live) {})
	}()
	t.Cleanup(func() { stop(); <-done })
	const role = "install rbac --for httproute/copied --user-name " + shadowUser
	session(t, []step{
		{"a role for canaries", role, 0, nil},
		{"is not enough", toShadow("--duration 1s"), 16, []string{"forbidden", "hint: somebody who may: kubectl infer install rbac --mirror --for httproute/copied"}},
		{"one for mirrors, too", role + " --mirror", 0, nil},
		{"a dry run", toShadow("--dry-run server"), 0, []string{"would copy 50% of the requests to inferencepool/qwen-v2"}},
	})
	if n := mirrors(t); n != 0 {
		t.Fatalf("the dry run left %d filters", n)
	}
	out := admin(t, toShadow("--duration 1s"))
	// A GatewayClass is of the whole cluster: that it may not be read is said, and no more.
	if out.code != 0 || strings.Count(out.stderr, "forbidden") > strings.Count(out.stderr, "gatewayclasses") {
		t.Errorf("a mirror to its end: %v", out)
	}
	cmd := shared.s.prepareCommand(ctx, shared.s.kubeconfig, strings.Fields(toShadow("--duration 1m"))...)
	ended := make(chan output, 1)
	go func() { ended <- collect(cmd) }()
	eventually(t, time.Minute, "copies", func() bool { return mirrors(t) == 1 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.code != 11 {
		t.Errorf("one that is interrupted: %v", out)
	}
	if n := mirrors(t); n != 0 {
		t.Errorf("%d filters were left", n)
	}
}
