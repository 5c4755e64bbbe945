package dataplane

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	pickerserver "github.com/kubectl-infer/kubectl-infer/picker/server"
	bodyrouterserver "github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// program is a server of ours that runs in this process.
type program struct {
	address   netip.AddrPort     // of its ext_proc service
	terminate context.CancelFunc // SIGTERM
	ended     chan error
}

// startProgram returns when the server accepts connections.
func startProgram(t *testing.T, main func(context.Context, []string, io.Writer) error, args ...string) *program {
	t.Helper()
	own := freeAddresses(t, 3)
	p := &program{address: own[0], ended: make(chan error, 1)}
	args = append(args,
		"--bind-address", p.address.Addr().String(), "--drain-window", "0s", "--grpc-port", fmt.Sprint(p.address.Port()),
		"--grpc-health-port", fmt.Sprint(own[1].Port()), "--metrics-port", fmt.Sprint(own[2].Port()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.terminate = cancel
	done := make(chan struct{})
	go func() { defer close(done); p.ended <- main(ctx, args, t.Output()) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, "the server accepts connections", func() bool {
		select {
		case err := <-p.ended:
			t.Fatalf("the server ended: %v", err)
		default:
		}
		conn, err := net.Dial("tcp", p.address.String())
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return p
}

// startBodyRouter is cmd/body-router; every test has the real one.
func startBodyRouter(t *testing.T, tls bool) netip.AddrPort {
	t.Helper()
	return startProgram(t, bodyrouterserver.Main, fmt.Sprintf("--secure-serving=%v", tls)).address
}

// startRealPicker is cmd/endpoint-picker, with its default TLS.
func startRealPicker(t *testing.T, endpoints ...*upstream) *program {
	t.Helper()
	list := make([]string, len(endpoints))
	for i, u := range endpoints {
		list[i] = u.address.String()
	}
	return startProgram(t, pickerserver.Main, "--endpoints", strings.Join(list, ","))
}

func TestTheRealServersOverTLS(t *testing.T) {
	t.Parallel()
	for _, mode := range []xds.PickerMode{xds.PickerBuffered, xds.PickerFullDuplex} {
		t.Run(string(mode), func(t *testing.T) { t.Parallel(); realServersServe(t, mode) })
	}
}

func realServersServe(t *testing.T, mode xds.PickerMode) {
	r := newRig(t, xds.Settings{PickerMode: mode, BodyRouterTLS: true})
	u, u2 := startUpstream(t), startUpstream(t)
	p := startRealPicker(t, u, u2)
	a := pool("a", nil, false, u, u2)
	a.Picker.Endpoints, a.Picker.TLS = []netip.AddrPort{p.address}, true
	r.push([]translate.Backend{a}, member(a, 1))
	eventually(t, "the picker answers", func() bool { return r.post([]byte(chat), nil).code == http.StatusOK })
	for _, size := range []int{23, 64 << 10, 4 << 20} {
		for range 20 {
			got := r.post(chatOf(size), nil)
			if got.code != http.StatusOK || got.echo.Length != size || got.echo.Headers.Get(header.DestinationEndpoint) != got.echo.Upstream ||
				got.echo.Headers.Get(header.ModelName) != "m" {
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
