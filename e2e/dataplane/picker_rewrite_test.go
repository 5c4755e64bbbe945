package dataplane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	ours "github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/picker/rewrite"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/header"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/translate"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/gateway/xds"
)

// startRewriter is our picker with one rule and without an API server.
func startRewriter(t *testing.T, from, to string, endpoints ...*upstream) netip.AddrPort {
	t.Helper()
	p := ours.New(ours.Options{})
	snapshot := &ours.Snapshot{}
	for _, u := range endpoints {
		snapshot.Endpoints = append(snapshot.Endpoints, ours.NewEndpoint(u.address))
	}
	p.SetSnapshot(snapshot)
	table := rewrite.NewTable([]rewrite.Object{{Rules: []rewrite.Rule{{Model: from, Targets: []rewrite.Target{{Model: to, Weight: 1}}}}}})
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	registry := prometheus.NewRegistry()
	handler := &ours.Handler{
		Picker: p, Metrics: ours.NewMetrics(registry, "test", "a", 0), Clock: clock.RealClock{}, Log: log,
		Rewrites: func() *rewrite.Table { return table },
	}
	address := freeAddress(t)
	options := extproc.DefaultOptions(address.Addr().String(), int(address.Port()), 0)
	options.MetricsPort, options.SecureServing, options.DrainWindow = 0, false, 0
	server, err := extproc.Listen(options, log, func(context.Context) extproc.Processor { return handler.NewProcessor() })
	if err != nil {
		t.Fatal(err)
	}
	server.SetReady(true)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, registry) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address
}

// Through a real Envoy the model server gets the target's name, every other byte
// as it was, and a length that is right, in both modes and with either framing.
func TestPickerRewritesTheModelInTheBody(t *testing.T) {
	t.Parallel()
	for _, mode := range []xds.PickerMode{xds.PickerBuffered, xds.PickerFullDuplex} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, xds.Settings{PickerMode: mode})
			u := startUpstream(t)
			a := pool("a", nil, false, u)
			a.Picker.Endpoints = []netip.AddrPort{startRewriter(t, "m", "m-lora-2026", u)}
			r.push([]translate.Backend{a}, member(a, 1))
			eventually(t, "the picker answers", func() bool { return r.post([]byte(chat), nil).code == http.StatusOK })
			for _, size := range []int{64, 70 << 10, 2 << 20} {
				body := chatOf(size)
				want := bytes.Replace(body, []byte(`"model":"m"`), []byte(`"model":"m-lora-2026"`), 1)
				sum := sha256.Sum256(want)
				for framing, reader := range map[string]func() *bytes.Reader{"content-length": func() *bytes.Reader { return bytes.NewReader(body) }, "chunked": func() *bytes.Reader { return bytes.NewReader(body) }} {
					got, err := r.send(framing == "chunked", reader())
					if err != nil {
						t.Fatal(err)
					}
					if got.code != http.StatusOK || got.echo.Length != len(want) || got.echo.SHA256 != hex.EncodeToString(sum[:]) {
						t.Errorf("%d bytes, %s: got %d, %d bytes, want %d", size, framing, got.code, got.echo.Length, len(want))
					}
					if got.echo.Headers.Get(header.DestinationEndpoint) != u.address.String() {
						t.Errorf("sent to %q", got.echo.Headers.Get(header.DestinationEndpoint))
					}
				}
			}
			if got := r.post([]byte(`{"model":"other"}`), nil); got.code != http.StatusOK || got.echo.Length != 17 {
				t.Errorf("a model without rule: %+v", got)
			}
		})
	}
}

// send posts a body, with its length known beforehand or not.
func (r *rig) send(chunked bool, body *bytes.Reader) (answer, error) {
	if chunked {
		return r.do(http.MethodPost, struct{ *bytes.Reader }{body}, nil)
	}
	return r.do(http.MethodPost, body, nil)
}
