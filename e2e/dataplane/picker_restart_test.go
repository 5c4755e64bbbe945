package dataplane

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pickerserver "github.com/kubectl-infer/kubectl-infer/picker/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// replica is the endpoint picker as a Pod of a Deployment has it.
type replica struct {
	address   netip.AddrPort
	page      string             // URL of its metrics
	terminate context.CancelFunc // what SIGTERM does
	ended     chan error
}

// startReplica starts a picker over model servers and waits for its readiness.
func startReplica(t *testing.T, servers ...*upstream) *replica {
	t.Helper()
	own := freeAddresses(t, 2)
	r, page := &replica{address: own[0], ended: make(chan error, 1)}, own[1]
	r.page = "http://" + page.String() + "/metrics"
	var endpoints []string
	for _, u := range servers {
		endpoints = append(endpoints, u.address.String())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.terminate = cancel
	args := []string{
		"--endpoints=" + strings.Join(endpoints, ","), "--bind-address=" + page.Addr().String(), "--secure-serving=false", "--grpc-health-port=0",
		fmt.Sprint("--grpc-port=", r.address.Port()), fmt.Sprint("--metrics-port=", page.Port()), "--drain-window=300ms", "--scrape-timeout=50ms",
	}
	go func() { r.ended <- pickerserver.Main(ctx, args, io.Discard) }()
	eventually(t, "a picker is ready", func() bool {
		response, err := http.Get("http://" + page.String() + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return r
}

// rewind makes the next streams begin anew.
func (u *upstream) rewind() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ticks, u.done = 0, false
}

func (r *replica) end(t *testing.T) {
	t.Helper()
	r.terminate()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// rollPickers replaces two replicas in turn, each time under 20 running streams and
// new requests on a pool that fails closed: nothing is cut, and no request fails.
func rollPickers(t *testing.T, restarts int) {
	const workers = 2
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	replicas := [2]*replica{startReplica(t, u), startReplica(t, u)}
	publish := func() {
		a := pool("a", nil, false, u)
		a.Picker.Endpoints = []netip.AddrPort{replicas[0].address, replicas[1].address}
		r.push([]translate.Backend{a}, member(a, 1))
	}
	publish()
	eventually(t, "the pickers answer", func() bool { return r.post([]byte(chat), nil).code == http.StatusOK })
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
	for i := range restarts {
		running, before := startStreams(t, r), served.Load()
		old := replicas[i%2]
		replicas[i%2] = startReplica(t, u)
		publish()
		old.end(t)
		u.tick(false)
		wantEvent(t, running, "data: 1")
		eventually(t, "requests go on", func() bool { return served.Load() > before+workers })
		wantCut(t, 0, running, u)
		u.rewind()
	}
	stop()
	group.Wait()
	for _, p := range replicas {
		p.end(t)
	}
	t.Logf("%d restarts: %d of %d requests failed", restarts, failed.Load(), served.Load())
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
}

func TestRollingRestartsOfThePickerCutNoStream(t *testing.T) {
	t.Parallel()
	rollPickers(t, 5)
}
