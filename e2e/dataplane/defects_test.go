package dataplane

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// The defects of real providers that Envoy itself takes part in show to a client
// and to the pickers what they show there.
func TestProviderDefectsMisbehaveAsTheRealOnesDo(t *testing.T) {
	t.Parallel()
	const requests = 60
	r := newRig(t, xds.Settings{})
	uA, uB := startUpstream(t), startUpstream(t)
	pA, pB := startPicker(t, uA), startPicker(t, uB)
	a, b := pool("a", pA, false, uA), pool("b", pB, false, uB)
	send := func(members ...translate.Member) map[string]int {
		r.push([]translate.Backend{a, b}, members...)
		served := map[string]int{}
		for range requests {
			if got := r.post([]byte(chat), nil); got.code == http.StatusOK {
				served[got.backend]++
			}
		}
		return served
	}
	t.Run("one-epp-per-rule: the split looks right, one picker is asked", func(t *testing.T) {
		ofA, ofB := member(a, 1), member(b, 1)
		ofA.Picker = b.Name
		served := send(ofA, ofB)
		if served["test/a"] == 0 || served["test/b"] == 0 || pA.asked.Load() != 0 || int(pB.asked.Load()) != requests {
			t.Errorf("served %v, pickers asked %d and %d times", served, pA.asked.Load(), pB.asked.Load())
		}
		if int(pB.wrong.Load()) != served["test/a"] {
			t.Errorf("%d answers from elsewhere than asked, want pool a's %d", pB.wrong.Load(), served["test/a"])
		}
	})
	t.Run("ignore-weights: a member of weight 0 is served", func(t *testing.T) {
		if served := send(member(a, 1), member(b, 1)); served["test/b"] == 0 {
			t.Errorf("served %v", served)
		}
	})
	t.Run("always-fail-closed: FailOpen without a picker is refused", func(t *testing.T) {
		pA.server.Stop()
		if served := send(member(a, 1)); served["test/a"] != 0 {
			t.Errorf("served %v", served)
		}
	})
}

func TestInFullDuplexNotEvenTheRoutesTimeoutEndsASilentPicker(t *testing.T) {
	t.Parallel()
	const limit = 50 * time.Millisecond
	r := newRig(t, xds.Settings{PickerMode: xds.PickerFullDuplex, MessageTimeout: limit})
	u := startUpstream(t)
	p := startPicker(t, u)
	p.silent.Store(true)
	a := pool("a", p, true, u) // FailOpen does not help either
	route := catchAll(member(a, 1))
	route.Timeout = 2 * limit // the router starts it, and is never reached
	if err := r.tryPush([]translate.Backend{a}, route); err != nil {
		t.Fatal(err)
	}
	r.client.Timeout = 10 * limit
	if got, err := r.do(http.MethodPost, strings.NewReader(chat), nil); !os.IsTimeout(err) {
		t.Errorf("got %d, %v", got.code, err)
	}
}
