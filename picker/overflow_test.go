package picker

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
)

func TestWhatACircuitBreakerKeepsBackCountsApart(t *testing.T) {
	t.Parallel()
	const envoys = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
	for rule, tc := range map[string]struct {
		headers []string
		body    string
		want    int
	}{
		"Envoy's header says so":                              {[]string{":status", "503", "x-envoy-overloaded", "true"}, "x", 1},
		"the header is suppressed, and its answer says so":    {[]string{":status", "503"}, envoys, 1},
		"a model server's own 503":                            {[]string{":status", "503"}, `{"error":"overloaded"}`, 0},
		"a reset connection is no overflow":                   {[]string{":status", "503"}, strings.Replace(envoys, "overflow", "connection failure", 1), 0},
		"an answer that speaks of overflows":                  {[]string{":status", "200"}, envoys, 0},
		"another status with the header is a limit of others": {[]string{":status", "429", "x-envoy-overloaded", "true"}, "x", 0},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, serving(0, "m"))
			g.request(nil, false, "x-gateway-model-name", "m")
			g.requestBody(`{"model":"m"}`)
			g.responseHeaders(nil, false, tc.headers...)
			g.responseBody(tc.body, true)
			g.conv.Close(extproc.Finished)
			if got := testutil.ToFloat64(g.handler.Metrics.overflows); int(got) != tc.want {
				t.Errorf("%v overflows, want %d", got, tc.want)
			}
			if n := testutil.CollectAndCount(g.handler.Metrics.finished); n != 1 {
				t.Errorf("%d codes: an overflow is finished with its code, too", n)
			}
		})
	}
}
