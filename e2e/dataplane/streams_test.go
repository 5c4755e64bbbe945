package dataplane

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

const streams = 20

// startStreams opens event streams and waits for the first event of each.
func startStreams(t *testing.T, r *rig) []*sse {
	t.Helper()
	running := make([]*sse, streams)
	for i := range running {
		running[i] = r.openStream()
	}
	wantEvent(t, running, "data: 0")
	return running
}

func wantEvent(t *testing.T, running []*sse, want string) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for i, s := range running {
		select {
		case got := <-s.events:
			if got != want {
				t.Fatalf("stream %d: got %q, want %q", i, got, want)
			}
		case err := <-s.err:
			t.Fatalf("stream %d ended before %q: %v", i, want, err)
		case <-limit:
			t.Fatalf("stream %d: no %q within 10s", i, want)
		}
	}
}

// wantCut lets the streams end and counts those that were cut.
func wantCut(t *testing.T, want int, running []*sse, u *upstream) {
	t.Helper()
	u.tick(true)
	cut := 0
	for _, s := range running {
		if err := <-s.err; err != nil {
			cut++
			t.Log(err)
		}
	}
	if cut != want {
		t.Errorf("%d of %d streams were cut, want %d", cut, len(running), want)
	}
}

func TestAWeightChangeIsLiveAndCutsNoRunningStream(t *testing.T) {
	t.Parallel()
	const changes = 10
	r := newRig(t, xds.Settings{})
	uA, uB := startUpstream(t), startUpstream(t)
	a, b := pool("a", startPicker(t, uA), false, uA), pool("b", startPicker(t, uB), false, uB)
	both := []translate.Backend{a, b}
	r.push(both, member(a, 100), member(b, 0))
	running := startStreams(t, r)
	events := []string{"data: 1", "data: 2", "data: 3", "data: 4", "data: 5", "data: 6", "data: 7", "data: 8", "data: 9", "data: 10"}
	for i := range changes {
		toB := uint32(100 * ((i + 1) % 2))
		start := time.Now()
		r.push(both, member(a, 100-toB), member(b, toB))
		want := map[bool]string{true: "test/b", false: "test/a"}[toB == 100]
		eventually(t, "the new weights serve", func() bool {
			got := r.post([]byte(chat), nil)
			if got.code != http.StatusOK {
				t.Errorf("a request during the change got %d", got.code)
			}
			return got.backend == want
		})
		if took := time.Since(start); took > time.Second {
			t.Errorf("change %d was live after %s", i, took)
		}
		uA.tick(false)
		wantEvent(t, running, events[i])
	}
	wantCut(t, 0, running, uA)
}

func TestRemovingAPoolCutsNoRunningStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	uA, uB := startUpstream(t), startUpstream(t)
	a, b := pool("a", startPicker(t, uA), false, uA), pool("b", startPicker(t, uB), false, uB)
	r.push([]translate.Backend{a}, member(a, 1))
	running := startStreams(t, r)
	r.push([]translate.Backend{b}, member(b, 1))
	eventually(t, "the other pool serves", func() bool { return r.post([]byte(chat), nil).backend == "test/b" })
	uA.tick(false)
	wantEvent(t, running, "data: 1")
	wantCut(t, 0, running, uA)
}

func TestAPickerThatLeavesUnderRunningStreams(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule     string
		failOpen bool
		leave    func(*picker)
		cut      int
		after    int // code of the next request
	}{
		{"closing with OK cuts nothing when FailClose", false, (*picker).leave, 0, http.StatusServiceUnavailable},
		{"closing with OK cuts nothing when FailOpen", true, (*picker).leave, 0, http.StatusOK},
		{"a kill cuts nothing when FailOpen", true, (*picker).die, 0, http.StatusOK},
		{"a kill cuts all it watched when FailClose", false, (*picker).die, streams, http.StatusServiceUnavailable},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, xds.Settings{})
			u := startUpstream(t)
			p := startPicker(t, u)
			a := pool("a", p, row.failOpen, u)
			r.push([]translate.Backend{a}, member(a, 1))
			running := startStreams(t, r)
			if got := p.open.Load(); got != streams {
				t.Fatalf("the picker watches %d of %d streams", got, streams)
			}
			row.leave(p)
			eventually(t, "the picker is gone", func() bool { return p.open.Load() == 0 })
			u.tick(false)
			if row.cut == 0 {
				wantEvent(t, running, "data: 1")
			}
			if got := r.post([]byte(chat), nil); got.code != row.after {
				t.Errorf("the next request got %d, want %d", got.code, row.after)
			}
			wantCut(t, row.cut, running, u)
		})
	}
}

func TestNoRequestFailsWhilePoolsComeAndGo(t *testing.T) {
	t.Parallel()
	const changes, workers = 40, 6
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	p := startPicker(t, u)
	a := pool("a", p, false, u)
	r.push([]translate.Backend{a}, member(a, 1))
	ctx, stop := context.WithCancel(t.Context())
	var served, failed atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for ctx.Err() == nil {
				if got, err := r.do(http.MethodPost, strings.NewReader(chat), nil); err != nil || got.code != http.StatusOK {
					failed.Add(1)
					t.Logf("got %d, %v", got.code, err)
				}
				served.Add(1)
			}
		})
	}
	for i := range changes {
		before := served.Load()
		fresh := pool(fmt.Sprint("new-", i), p, false, u) // Envoy has never heard of it
		if i%2 == 0 {
			r.push([]translate.Backend{a, fresh}, member(a, 1), member(fresh, 1))
		} else {
			r.push([]translate.Backend{fresh}, member(fresh, 1))
		}
		eventually(t, "requests go on", func() bool { return served.Load() > before+workers })
	}
	stop()
	group.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed during %d changes", failed.Load(), served.Load(), changes)
	}
}
