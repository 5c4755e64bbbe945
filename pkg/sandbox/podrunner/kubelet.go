package podrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// kubeletPort is where the Node answers for logs, exec and port-forward.
const kubeletPort = 10250

const (
	streamIdle    = 4 * time.Hour // as a kubelet's
	streamCreated = 30 * time.Second
	headersWithin = 10 * time.Second
	closeWithin   = 2 * time.Second
)

// serveKubelet answers the API server's calls to the Node until ctx ends, then
// ends the streams that are left.
func (r *Runner) serveKubelet(ctx context.Context) error {
	address := net.JoinHostPort(r.hostIP(), strconv.Itoa(kubeletPort))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for the API server's calls to node %s: %w", NodeName, err)
	}
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	server := &http.Server{
		Handler: r.kubelet(), TLSConfig: r.KubeletTLS, ReadHeaderTimeout: headersWithin,
		BaseContext: func(net.Listener) context.Context { return streams },
	}
	stop := context.AfterFunc(ctx, func() {
		endStreams()
		server.Close()
	})
	defer stop()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API server's calls to node %s: %w", NodeName, err)
	}
	return nil
}

// kubelet has the part of a kubelet's API that kubectl needs.
func (r *Runner) kubelet() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", r.serveLog)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		mux.HandleFunc(method+" /exec/{namespace}/{pod}/{container}", r.serveExec)
		mux.HandleFunc(method+" /portForward/{namespace}/{pod}", r.servePortForward)
		mux.HandleFunc(method+" /attach/{namespace}/{pod}/{container}", r.serveAttach)
	}
	return mux
}

// pod finds the Pod a path names, or answers that there is none.
func (r *Runner) pod(w http.ResponseWriter, request *http.Request) *instance {
	key := types.NamespacedName{Namespace: request.PathValue("namespace"), Name: request.PathValue("pod")}
	i := r.instance(key)
	if i == nil {
		http.Error(w, fmt.Sprintf("pod %s does not run", key), http.StatusNotFound)
	}
	return i
}

// container finds the container a path names, or answers that there is none.
func (r *Runner) container(w http.ResponseWriter, request *http.Request) (*instance, *container) {
	i := r.pod(w, request)
	if i == nil {
		return nil, nil
	}
	name := request.PathValue("container")
	if c := i.container(name); c != nil {
		return i, c
	}
	http.Error(w, fmt.Sprintf("container %s has no process", name), http.StatusNotFound)
	return nil, nil
}

func (r *Runner) serveExec(w http.ResponseWriter, request *http.Request) {
	i, c := r.container(w, request)
	if c == nil {
		return
	}
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, request, executor{i: i, c: c}, i.ip, string(i.uid), c.status.Name,
		request.Form["command"], options, streamIdle, streamCreated, remotecommand.SupportedStreamingProtocols)
}

func (r *Runner) serveAttach(w http.ResponseWriter, request *http.Request) {
	i, c := r.container(w, request)
	if c == nil {
		return
	}
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, request, executor{i: i, c: c}, i.ip, string(i.uid), c.status.Name,
		options, streamIdle, streamCreated, remotecommand.SupportedStreamingProtocols)
}

func (r *Runner) servePortForward(w http.ResponseWriter, request *http.Request) {
	i := r.pod(w, request)
	if i == nil {
		return
	}
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, request, forwarder{i}, i.ip, string(i.uid), options,
		streamIdle, streamCreated, portforward.SupportedProtocols)
}

// forwarder connects streams to a Pod's ports, for as long as the Pod lives.
type forwarder struct{ i *instance }

func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.i.ctx, cancel)()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(f.i.ip, strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("forward port %d: %w", port, err)
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	go func() { // ends with the stream, which we close
		_, _ = io.Copy(connection, stream)
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.CloseWrite() // the client has said all; the answer may still come
		}
	}()
	_, err = io.Copy(stream, connection)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
