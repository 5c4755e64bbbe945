package dataplane

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// asked is how many requests reached a replica.
func (r *replica) asked(t *testing.T) float64 {
	t.Helper()
	const started = "infer_picker_requests_started_total"
	client := scrape.NewClient()
	defer client.CloseIdleConnections()
	page, err := scrape.Fetch(t.Context(), client, r.page, []string{started}, scrape.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := page.Sum(started, nil)
	return n
}

// Two replicas are asked in turn, and both know all model servers; when one of them
// goes, as Pods go, the other is asked for everything and no request fails.
func TestTwoReplicasOfThePickerServeOnePool(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	servers := []*upstream{startUpstream(t), startUpstream(t), startUpstream(t)}
	replicas := []*replica{startReplica(t, servers...), startReplica(t, servers...)}
	publish := func(running ...*replica) {
		a := pool("a", nil, false, servers...)
		a.Picker.Endpoints = nil
		for _, p := range running {
			a.Picker.Endpoints = append(a.Picker.Endpoints, p.address)
		}
		r.push([]translate.Backend{a}, member(a, 1))
	}
	publish(replicas...)
	const requests = 120
	for range requests {
		if got := r.post([]byte(chat), nil); got.code != http.StatusOK {
			t.Fatalf("got %d", got.code)
		}
	}
	first, second := replicas[0].asked(t), replicas[1].asked(t)
	if first+second != requests || first < requests/4 || second < requests/4 {
		t.Errorf("%v and %v requests reached the replicas, of %d", first, second, requests)
	}
	for i, u := range servers {
		if n := u.picked.Load(); n < requests/12 {
			t.Errorf("model server %d was picked %d times of %d", i, n, requests)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var served, failed atomic.Int64
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for ctx.Err() == nil {
				got, err := r.do(http.MethodPost, strings.NewReader(chat), nil)
				served.Add(1)
				if err != nil || got.code != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	publish(replicas[1])
	replicas[0].end(t)
	gone := served.Load()
	eventually(t, "requests go on", func() bool { return served.Load() > gone+40 })
	stop()
	group.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
	replicas[1].end(t)
}
