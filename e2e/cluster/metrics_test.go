package cluster_test

import (
	"strings"
	"testing"
)

func TestMetricsAreReachedByTheWayThatWorks(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		via  string
		code int
		says string
	}{
		"a port-forward through the API server and the kubelet": {"port-forward", 0, "endpoint-picker, port-forward"},
		// The API server never proxies to loopback, where the sandbox's pods live.
		"a pod proxy that the API server refuses": {"pod-proxy", 16, "metrics of the endpoint pickers cannot be read from here: pod-proxy"},
		"whatever works":          {"auto", 0, "endpoint-picker, direct"},
		"a way that there is not": {"pigeon", 2, `"pigeon" is not one of`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := "via-" + tt.via
			newRoute(t, route, 100, 0)
			out := shared.s.command(t.Context(), quick(route, "50,100", "--metrics-via", tt.via)...)
			if out.code != tt.code || !strings.Contains(out.stderr, tt.says) {
				t.Errorf("want exit %d and %q: %v", tt.code, tt.says, out)
			}
		})
	}
}
