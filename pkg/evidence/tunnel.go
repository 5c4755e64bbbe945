package evidence

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
)

// tunnels are port-forwards to pods, one each, kept between looks. A tunnel
// that fails is dropped and made anew when it is next asked for.
type tunnels struct {
	config *rest.Config
	mu     sync.Mutex
	byPod  map[string]*tunnel // by endpoint
	wg     sync.WaitGroup
}

type tunnel struct {
	address string // 127.0.0.1:PORT
	stop    context.CancelFunc
}

func newTunnels(config *rest.Config) *tunnels {
	return &tunnels{config: config, byPod: map[string]*tunnel{}}
}

// open returns the local address of the tunnel to port of pod.
func (t *tunnels) open(ctx context.Context, pod *corev1.Pod, port int32) (string, error) {
	id := endpoint{pod: pod, port: port}.id()
	t.mu.Lock()
	known := t.byPod[id]
	t.mu.Unlock()
	if known != nil {
		return known.address, nil
	}
	made, err := t.dial(ctx, pod, port)
	if err != nil {
		return "", fmt.Errorf("forward a port to pod %s/%s: %w: %w", pod.Namespace, pod.Name, scrape.ErrUnreachable, err)
	}
	t.mu.Lock()
	t.byPod[id] = made
	t.mu.Unlock()
	return made.address, nil
}

// dial forwards a free local port. The forwarding outlives ctx, which bounds
// only how long it may take to begin.
func (t *tunnels) dial(ctx context.Context, pod *corev1.Pod, port int32) (*tunnel, error) {
	dialer, err := t.dialer(pod)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(life, dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ready, io.Discard, io.Discard)
	if err != nil {
		stop()
		return nil, err
	}
	ended := make(chan error, 1)
	t.wg.Go(func() { ended <- forwarder.ForwardPorts() })
	select {
	case <-ready:
	case err := <-ended:
		stop()
		return nil, err
	case <-ctx.Done():
		stop()
		return nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		stop()
		return nil, err
	}
	return &tunnel{address: fmt.Sprintf("127.0.0.1:%d", ports[0].Local), stop: stop}, nil
}

// dialer speaks as kubectl does: a WebSocket first, SPDY where the API server
// or a proxy before it does not know that.
func (t *tunnels) dialer(pod *corev1.Pod) (httpstream.Dialer, error) {
	if t.config == nil {
		return nil, fmt.Errorf("no API server is configured")
	}
	host, path, err := rest.DefaultServerUrlFor(t.config)
	if err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: host.Scheme, Host: host.Host, Path: host.Path}
	target = target.JoinPath(path, "api/v1/namespaces", pod.Namespace, "pods", pod.Name, "portforward")
	transport, upgrader, err := spdy.RoundTripperFor(t.config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, t.config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(websocket, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

func (t *tunnels) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.byPod[id]; known != nil {
		known.stop()
		delete(t.byPod, id)
	}
}

func (t *tunnels) close() {
	t.mu.Lock()
	for uid, known := range t.byPod {
		known.stop()
		delete(t.byPod, uid)
	}
	t.mu.Unlock()
	t.wg.Wait()
}
