package evidence

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// Via is how the metrics pages of pods are reached.
type Via string

// The ways. Auto tries the others in this order and keeps the first that
// reaches every picker.
const (
	Auto        Via = "auto"
	Direct      Via = "direct"       // the pod's own address; needs no permission
	PodProxy    Via = "pod-proxy"    // through the API server; needs get on pods/proxy
	PortForward Via = "port-forward" // through the API server and the kubelet; needs create on pods/portforward
)

// Ways lists what a flag accepts.
func Ways() []Via { return []Via{Auto, Direct, PodProxy, PortForward} }

// reacher gets metrics pages. It is used by one look at a time; within a look,
// by one goroutine for each pod.
type reacher struct {
	clients *kube.Clients
	via     Via
	direct  *http.Client
	api     *http.Client // nil until the pod proxy is first tried
	tunnels *tunnels
}

func newReacher(clients *kube.Clients, via Via) *reacher {
	return &reacher{clients: clients, via: via, direct: scrape.NewClient(), tunnels: newTunnels(clients.Config)}
}

func (r *reacher) close() {
	r.direct.CloseIdleConnections()
	if r.api != nil {
		r.api.CloseIdleConnections()
	}
	r.tunnels.close()
}

// use switches to via, and makes what it needs.
func (r *reacher) use(via Via) error {
	r.via = via
	if via != PodProxy || r.api != nil {
		return nil
	}
	if r.clients.Config == nil {
		return fmt.Errorf("%s: no API server is configured", via)
	}
	client, err := rest.HTTPClientFor(r.clients.Config)
	if err != nil {
		return fmt.Errorf("%s: %w", via, err)
	}
	r.api = client
	return nil
}

// fetch gets the page of one pod.
func (r *reacher) fetch(ctx context.Context, pod *corev1.Pod) (*scrape.Page, error) {
	port := metricsPort(pod)
	switch r.via {
	case PodProxy:
		url := r.clients.Core.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
			Name(fmt.Sprintf("%s:%d", pod.Name, port)).SubResource("proxy").Suffix("metrics").URL()
		return scrape.Fetch(ctx, r.api, url.String(), families(), scrape.Limits{})
	case PortForward:
		address, err := r.tunnels.open(ctx, pod, port)
		if err != nil {
			return nil, err
		}
		page, err := scrape.Fetch(ctx, r.direct, "http://"+address+"/metrics", families(), scrape.Limits{})
		if err != nil {
			r.tunnels.drop(string(pod.UID)) // made anew at the next look
		}
		return page, err
	default:
		address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port)))
		return scrape.Fetch(ctx, r.direct, "http://"+address+"/metrics", families(), scrape.Limits{})
	}
}

// settle chooses a way that reaches the pickers of both arms, and returns their
// pages. A way that reaches every picker is better than one that reaches some.
func (a *Arms) settle(ctx context.Context) ([]*scrape.Page, error) {
	ways := []Via{a.reach.via}
	if a.reach.via == Auto {
		ways = []Via{Direct, PodProxy, PortForward}
	}
	var partly Via
	var errs []error
	for _, via := range ways {
		if err := a.reach.use(via); err != nil {
			errs = append(errs, err)
			continue
		}
		pages, all, err := a.pages(ctx)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", via, err))
		case all:
			return pages, nil
		case partly == "":
			partly = via
		}
	}
	if partly == "" {
		return nil, hint.Wrap(fmt.Errorf("metrics cannot be read from here: %w", errors.Join(errs...)),
			"run where the pods' addresses are reachable, or with a role that may get pods/proxy or create pods/portforward")
	}
	if err := a.reach.use(partly); err != nil {
		return nil, err
	}
	pages, _, err := a.pages(ctx)
	return pages, err
}

// pages scrapes every picker of both arms once; all says that none was missed,
// and an arm of which no picker answers is an error.
func (a *Arms) pages(ctx context.Context) (pages []*scrape.Page, all bool, err error) {
	all = true
	for _, side := range []*arm{&a.stable, &a.canary} {
		got := 0
		var errs []error
		for _, f := range a.fetch(ctx, side.targets()) {
			if f.err != nil {
				errs, all = append(errs, f.err), false
				continue
			}
			got++
			pages = append(pages, f.page)
		}
		if got == 0 {
			return nil, false, fmt.Errorf("metrics of %s: %w", side.pool, errors.Join(errs...))
		}
	}
	return pages, all, nil
}

// Via is the way that was settled on.
func (a *Arms) Via() Via { return a.reach.via }
