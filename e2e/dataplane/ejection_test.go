package dataplane

import (
	"net/http"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// Passive health takes a failing endpoint out of the choice that Envoy makes,
// not out of a picker's.
func TestAFailingEndpointIsEjectedFromTheFallbackOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	good, bad := startUpstream(t), startUpstream(t)
	bad.fail.Store(1 << 30)
	ejection := &translate.Ejection{
		Consecutive5xx: ptr.To[uint32](1), Interval: 20 * time.Millisecond, BaseEjectionTime: time.Minute, MaxEjectionPercent: ptr.To[uint32](50),
	}

	open := pool("open", nil, true, good, bad)
	open.Traffic.Ejection = ejection
	r.push([]translate.Backend{open}, member(open, 1))
	eventually(t, "the failing endpoint is met", func() bool { return r.post([]byte(chat), nil).code == http.StatusServiceUnavailable })
	seen := bad.seen.Load()
	for range 40 {
		if got := r.post([]byte(chat), nil); got.code != http.StatusOK {
			t.Errorf("after its ejection: got %d", got.code)
		}
	}
	if now := bad.seen.Load(); now != seen {
		t.Errorf("the ejected endpoint was asked %d times more", now-seen)
	}

	picked := pool("picked", startPicker(t, bad), true, good, bad)
	picked.Traffic.Ejection = ejection
	r.push([]translate.Backend{picked}, member(picked, 1))
	for range 5 {
		if got := r.post([]byte(chat), nil); got.code != http.StatusServiceUnavailable {
			t.Errorf("what a picker names is used even so: got %d", got.code)
		}
	}
}
