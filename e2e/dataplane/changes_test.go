package dataplane

import (
	"net/http"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

func TestAClusterThatChangesItsShapeIsServedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	a := pool("a", startPicker(t, u), false, u)
	one := uint32(100)
	a.Picker.TLS = true // which the picker does not speak
	r.push([]translate.Backend{a}, member(a, 1))
	if got := r.post([]byte(chat), nil); got.code != http.StatusServiceUnavailable {
		t.Fatalf("TLS to a picker without it: got %d", got.code)
	}
	for row, change := range map[string]func(){
		"the picker's TLS":   func() { a.Picker.TLS = false },
		"the pool's breaker": func() { a.Traffic.Breaker.Requests = &one },
	} {
		change()
		start := time.Now()
		r.push([]translate.Backend{a}, member(a, 1))
		took := time.Since(start)
		if got := r.post([]byte(chat), nil); !a.Picker.TLS && got.code != http.StatusOK || took > 5*time.Second {
			t.Errorf("%s: got %d, acknowledged after %s", row, got.code, took)
		}
	}
}
