package evidence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/prometheus"
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
	Prometheus  Via = "prometheus"   // from a server that scrapes them; not among Ways
)

// Ways lists what a flag accepts.
func Ways() []Via { return []Via{Auto, Direct, PodProxy, PortForward} }

// reacher gets metrics pages. It is used by one look at a time; within a look,
// by one goroutine for each pod.
type reacher struct {
	clients *kube.Clients
	via     Via
	address string // of a Prometheus
	direct  *http.Client
	api     *http.Client // nil until the pod proxy is first tried
	tunnels *tunnels
	server  *prometheus.Client // nil unless via is Prometheus
}

func newReacher(clients *kube.Clients, via Via, server string) *reacher {
	return &reacher{clients: clients, via: via, address: server, direct: scrape.NewClient(), tunnels: newTunnels(clients.Config)}
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
	if via == Prometheus && r.server == nil {
		var err error
		r.server, err = prometheus.New(r.address, r.direct)
		return err
	}
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

// fetched is a page, or why there is none.
type fetched struct {
	page *scrape.Page
	err  error
}

// read gets the pages of all endpoints at once, each once, by endpoint id.
func (r *reacher) read(ctx context.Context, endpoints []endpoint) map[string]fetched {
	if r.via == Prometheus {
		return r.ask(ctx, endpoints)
	}
	byID := make(map[string]endpoint, len(endpoints))
	for _, e := range endpoints {
		byID[e.id()] = e
	}
	pages := make(map[string]fetched, len(byID))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id, e := range byID {
		wg.Go(func() {
			page, err := r.fetch(ctx, e)
			mu.Lock()
			defer mu.Unlock()
			pages[id] = fetched{page, err}
		})
	}
	wg.Wait()
	return pages
}

// ask gets the pages of all endpoints from a Prometheus, in one query.
func (r *reacher) ask(ctx context.Context, endpoints []endpoint) map[string]fetched {
	pages, err := r.server.Pages(ctx, families(), podsOf(endpoints))
	got := make(map[string]fetched, len(endpoints))
	for _, e := range endpoints {
		switch page := pages[e.id()]; {
		case err != nil:
			got[e.id()] = fetched{err: err}
		case page == nil:
			got[e.id()] = fetched{err: errors.New("prometheus has no sample of it")}
		default:
			got[e.id()] = fetched{page: page}
		}
	}
	return got
}

func podsOf(endpoints []endpoint) []prometheus.Pod {
	var list []prometheus.Pod
	for _, e := range endpoints {
		if e.pod != nil {
			list = append(list, prometheus.Pod{ID: e.id(), Name: e.pod.Name, IP: e.pod.Status.PodIP, Port: e.port})
		}
	}
	return list
}

// Interval is how far apart a Prometheus scrapes the arms; 0 when the pages are
// read directly, or it cannot be told.
func (a *Arms) Interval(ctx context.Context) (time.Duration, error) {
	if a.reach.server == nil {
		return 0, nil
	}
	var all []endpoint
	for _, side := range a.sides {
		all = append(all, a.endpoints(side)...)
	}
	return a.reach.server.Interval(ctx, podsOf(all))
}

// CheckInterval refuses looks and settling that are faster than a Prometheus
// scrapes: a look would see nothing new and a window could span a move.
func (a *Arms) CheckInterval(ctx context.Context, look, settle time.Duration) error {
	every, err := a.Interval(ctx)
	if err != nil {
		return err
	}
	if look < every || settle < 2*every {
		return hint.Errorf(fmt.Sprintf("--scrape-interval %v --settle %v, or let it scrape more often", every, 2*every),
			"prometheus scrapes the arms every %v: too slow for --scrape-interval %v and --settle %v", every, look, settle)
	}
	return nil
}

// fetch gets one page.
func (r *reacher) fetch(ctx context.Context, e endpoint) (*scrape.Page, error) {
	if e.pod == nil {
		return scrape.Fetch(ctx, r.direct, e.url, families(), scrape.Limits{})
	}
	switch r.via {
	case PodProxy:
		url := r.clients.Core.CoreV1().RESTClient().Get().Namespace(e.pod.Namespace).Resource("pods").
			Name(fmt.Sprintf("%s:%d", e.pod.Name, e.port)).SubResource("proxy").Suffix("metrics").URL()
		return scrape.Fetch(ctx, r.api, url.String(), families(), scrape.Limits{})
	case PortForward:
		address, err := r.tunnels.open(ctx, e.pod, e.port)
		if err != nil {
			return nil, err
		}
		page, err := scrape.Fetch(ctx, r.direct, "http://"+address+"/metrics", families(), scrape.Limits{})
		if err != nil {
			r.tunnels.drop(e.id()) // made anew at the next look
		}
		return page, err
	default:
		return scrape.Fetch(ctx, r.direct, "http://"+e.address()+"/metrics", families(), scrape.Limits{})
	}
}

// settle chooses a way that reaches the pages of both arms, and returns them. A
// way that reaches every page is better than one that reaches some.
func (a *Arms) settle(ctx context.Context) ([]*scrape.Page, error) {
	ways := []Via{a.options.Via}
	if a.options.Prometheus != "" {
		ways = []Via{Prometheus}
	} else if a.preset.at == atGateway {
		ways = []Via{Direct}
	} else if a.options.Via == Auto {
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
		case err != nil && !errors.Is(err, scrape.ErrUnreachable) && hint.Of(err) != "":
			return nil, err // no way helps
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", via, err))
		case all:
			return pages, nil
		case partly == "":
			partly = via
		}
	}
	if partly == "" && a.options.Prometheus != "" {
		return nil, hint.Wrap(fmt.Errorf("metrics of the %s: %w", a.preset.at, errors.Join(errs...)),
			"see on its page /targets that it scrapes these pods, with their name in the label pod or their address in instance")
	}
	if partly == "" {
		return nil, hint.Wrap(fmt.Errorf("metrics of the %s cannot be read from here: %w", a.preset.at, errors.Join(errs...)),
			"run where the pods' addresses are reachable, or with a role that may get pods/proxy or create pods/portforward")
	}
	if err := a.reach.use(partly); err != nil {
		return nil, err
	}
	pages, _, err := a.pages(ctx)
	return pages, err
}

// pages reads every page of both arms once; all says that none was missed. An
// arm of which no page can be read is an error.
func (a *Arms) pages(ctx context.Context) (pages []*scrape.Page, all bool, err error) {
	all = true
	for _, side := range a.sides {
		side.pages = nil
		endpoints := a.endpoints(side)
		if len(endpoints) == 0 {
			return nil, false, a.nowhere(side.pool)
		}
		var errs []error
		for _, f := range a.reach.read(ctx, endpoints) {
			if f.err != nil {
				errs, all = append(errs, f.err), false
				continue
			}
			side.pages = append(side.pages, f.page)
		}
		if len(side.pages) == 0 {
			return nil, false, fmt.Errorf("%s: %w", side.pool, first(errs))
		}
		pages = append(pages, side.pages...)
	}
	return pages, all, nil
}

// first is one of several errors of the same kind, the same one each time, with
// how many more there are.
func first(errs []error) error {
	least := slices.MinFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if len(errs) == 1 {
		return least
	}
	return fmt.Errorf("%w (and %d more)", least, len(errs)-1)
}

// nowhere says what an arm lacks to be read at all.
func (a *Arms) nowhere(pool Pool) error {
	switch {
	case a.preset.at == atGateway:
		return hint.Errorf("--metrics-url http://ADDRESS/stats/prometheus, once for each instance", "the gateway's pages are nowhere named")
	case a.preset.at == atPickers && pool.Pickers == nil:
		return hint.Errorf("set spec.endpointPickerRef to the Service of an endpoint picker, or read the model servers: --metrics vllm",
			"%s has no endpoint picker", pool)
	case a.preset.at == atPickers:
		return hint.Errorf(fmt.Sprintf("kubectl get pods -n %s -l %s", pool.Namespace, pool.Pickers), "%s has no ready endpoint picker", pool)
	default:
		return hint.Errorf(fmt.Sprintf("kubectl get pods -n %s -l %s", pool.Namespace, pool.Servers), "%s has no model server to read", pool)
	}
}

// Via is the way that was settled on.
func (a *Arms) Via() Via { return a.reach.via }
