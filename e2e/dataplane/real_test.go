package dataplane

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/kubectl-infer/kubectl-infer/picker/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// realPicker is cmd/endpoint-picker in this process, with its default TLS.
type realPicker struct {
	address   netip.AddrPort
	terminate context.CancelFunc // SIGTERM
	ended     chan error
}

func startRealPicker(t *testing.T, endpoints ...*upstream) *realPicker {
	t.Helper()
	p := &realPicker{address: freeAddress(t), ended: make(chan error, 1)}
	var list []string
	for _, u := range endpoints {
		list = append(list, u.address.String())
	}
	args := []string{
		"--bind-address", "127.0.0.1", "--endpoints", strings.Join(list, ","), "--drain-window", "0s",
		"--grpc-port", fmt.Sprint(p.address.Port()),
		"--grpc-health-port", fmt.Sprint(freeAddress(t).Port()), "--metrics-port", fmt.Sprint(freeAddress(t).Port()),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.terminate = cancel
	done := make(chan struct{})
	go func() { defer close(done); p.ended <- server.Main(ctx, args, io.Discard) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

func TestTheRealPickerOverTLS(t *testing.T) {
	t.Parallel()
	for _, mode := range []xds.PickerMode{xds.PickerBuffered, xds.PickerFullDuplex} {
		t.Run(string(mode), func(t *testing.T) { t.Parallel(); realPickerServes(t, mode) })
	}
}

func realPickerServes(t *testing.T, mode xds.PickerMode) {
	r := newRig(t, xds.Settings{PickerMode: mode})
	u, u2 := startUpstream(t), startUpstream(t)
	p := startRealPicker(t, u, u2)
	a := pool("a", nil, false, u, u2)
	a.Picker.Endpoints, a.Picker.TLS = []netip.AddrPort{p.address}, true
	r.push([]translate.Backend{a}, member(a, 1))
	eventually(t, "the picker answers", func() bool { return r.post([]byte(chat), nil).code == http.StatusOK })
	for _, size := range []int{23, 64 << 10, 4 << 20} {
		for range 20 {
			got := r.post(chatOf(size), nil)
			if got.code != http.StatusOK || got.echo.Length != size || got.echo.Headers.Get(header.DestinationEndpoint) != got.echo.Upstream {
				t.Fatalf("%d bytes: got %d, %d bytes at %s, asked %s", size, got.code, got.echo.Length,
					got.echo.Upstream, got.echo.Headers.Get(header.DestinationEndpoint))
			}
		}
	}
	if got, err := r.do(http.MethodGet, http.NoBody, nil); err != nil || got.code != http.StatusOK {
		t.Errorf("without a body: got %d, %v", got.code, err)
	}
}

func TestSIGTERMOfTheRealPickerCutsNoRunningStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, xds.Settings{})
	u := startUpstream(t)
	p := startRealPicker(t, u)
	a := pool("a", nil, false, u)
	a.Picker.Endpoints, a.Picker.TLS = []netip.AddrPort{p.address}, true
	r.push([]translate.Backend{a}, member(a, 1))
	eventually(t, "the picker answers", func() bool { return r.post([]byte(chat), nil).code == http.StatusOK })
	running := startStreams(t, r)
	p.terminate()
	if err := <-p.ended; err != nil {
		t.Errorf("the picker ended with %v", err)
	}
	u.tick(false)
	wantEvent(t, running, "data: 1")
	wantCut(t, 0, running, u)
}
