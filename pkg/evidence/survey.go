package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// Families of a model server's load that no gate is read from.
const (
	waitingFamily = "vllm:num_requests_waiting"
	runningFamily = "vllm:num_requests_running"
	kvFamily      = "vllm:kv_cache_usage_perc"
	kvOldFamily   = "vllm:gpu_cache_usage_perc" // before vLLM 0.10
	readyFamily   = "infer_picker_ready_endpoints"
)

func loadFamilies() []string {
	return []string{waitingFamily, runningFamily, kvFamily, kvOldFamily, readyFamily}
}

// ReadPool reads an InferencePool of either group, and returns the name of its
// picker's Service beside it; "" for none.
func ReadPool(object *unstructured.Unstructured) (found Pool, picker string, err error) {
	found = Pool{Namespace: object.GetNamespace(), Name: object.GetName()}
	if object.GroupVersionKind().Group == kube.AlphaInferencePools().Group {
		picker, err = readAlphaPool(object.Object, &found)
	} else {
		picker, err = readPool(object.Object, &found)
	}
	return found, picker, err
}

// PickerSays is what the metrics page of one endpoint picker says.
type PickerSays struct {
	Pod     string
	Program string      // whose metrics they are
	Serves  string      // NAMESPACE/NAME of the pool it says it is for; "" when it does not
	Ended   float64     // answers since its process began
	Astray  float64     // those from another endpoint than the one picked
	Models  []ModelLoad // by name
	Problem error       // why it cannot be read
}

// ModelLoad is one target model at one picker: counts since its process began,
// and the requests running now.
type ModelLoad struct {
	Model                          string
	Started, Ended, Failed, Active float64
}

// ServerSays is what one model server says.
type ServerSays struct {
	Pod      string
	Ready    bool
	Restarts int
	Running  float64
	Waiting  float64
	KVUse    float64  // from 0 to 1; negative when it does not say
	Models   []string // GET /v1/models, when asked for
	Problem  error    // why its metrics cannot be read
	Unlisted error    // why its models cannot be
}

// Survey is what the pods of one pool say of themselves.
type Survey struct {
	Pickers []PickerSays
	Servers []ServerSays
}

// Surveyor asks pools' pods, by whatever way reaches most of them. It is used
// from one goroutine.
type Surveyor struct {
	reach   *reacher
	ways    []Via
	settled bool
}

// NewSurveyor asks nothing yet. Close it at the end.
func NewSurveyor(clients *kube.Clients, options Options) *Surveyor {
	ways := []Via{Direct, PodProxy, PortForward}
	switch {
	case options.Prometheus != "":
		ways = []Via{Prometheus}
	case options.Via != "" && options.Via != Auto:
		ways = []Via{options.Via}
	}
	return &Surveyor{reach: newReacher(clients, ways[0], options.Prometheus), ways: ways}
}

// Close drops connections and tunnels.
func (s *Surveyor) Close() { s.reach.close() }

// Look reads the page of every ready picker among pods and of every model server
// that has an address; with models, it asks each ready one what it serves, too.
// A pod that cannot be read has a Problem; only that no way leads anywhere from
// the start is an error.
func (s *Surveyor) Look(ctx context.Context, pool Pool, of []corev1.Pod, models bool) (Survey, error) {
	var out Survey
	var pickers, servers []endpoint
	for i := range of {
		pod := &of[i]
		switch {
		case pod.Status.PodIP == "" || pod.Namespace != pool.Namespace:
		case pool.Pickers != nil && pool.Pickers.Matches(labels.Set(pod.Labels)) && ready(pod):
			pickers = append(pickers, endpoint{pod: pod, port: metricsPort(pod, defaultMetricsPort)})
		case pool.Servers != nil && pool.Servers.Matches(labels.Set(pod.Labels)) && running(pod):
			for _, port := range serverPorts(pod, pool.Ports) {
				servers = append(servers, endpoint{pod: pod, port: port})
			}
		}
	}
	pages, err := s.read(ctx, append(slices.Clone(pickers), servers...))
	if err != nil {
		return out, err
	}
	for _, e := range pickers {
		out.Pickers = append(out.Pickers, pickerSays(e.pod.Name, pages[e.id()]))
	}
	for _, e := range servers {
		out.Servers = append(out.Servers, serverSays(e.pod, pages[e.id()]))
	}
	if models {
		s.list(ctx, pool, servers, out.Servers)
	}
	return out, nil
}

// read gets all pages. The first time, it keeps the way that reaches most.
func (s *Surveyor) read(ctx context.Context, all []endpoint) (map[string]fetched, error) {
	if s.settled || len(all) == 0 {
		return s.reach.read(ctx, all), nil
	}
	var best map[string]fetched
	var errs []error
	most, way := -1, s.ways[0]
	for _, via := range s.ways {
		if err := s.reach.use(via); err != nil {
			errs = append(errs, err)
			continue
		}
		pages := s.reach.read(ctx, all)
		n := 0
		for _, f := range pages {
			if f.err == nil {
				n++
			}
		}
		if n > most {
			best, most, way = pages, n, via
		}
		if n == len(pages) {
			break
		}
	}
	if best == nil {
		return nil, errors.Join(errs...)
	}
	s.settled = most > 0
	return best, s.reach.use(way)
}

func pickerSays(pod string, got fetched) PickerSays {
	says := PickerSays{Pod: pod, Problem: got.err}
	if got.err != nil {
		return says
	}
	known := slices.DeleteFunc(presets(), func(p preset) bool { return p.at != atPickers })
	p, err := detect([]*scrape.Page{got.page}, known)
	if err != nil {
		says.Problem = err
		return says
	}
	says.Program = p.title
	namespaces, pools := got.page.Values(readyFamily, "namespace"), got.page.Values(readyFamily, "pool")
	if len(namespaces) == 1 && len(pools) == 1 && pools[0] != "" {
		says.Serves = namespaces[0] + "/" + pools[0]
	}
	_, says.Ended, _ = p.count(got.page, nil)
	if p.astray != "" {
		says.Astray, _ = got.page.Sum(p.astray, nil)
	}
	for _, model := range p.values([]*scrape.Page{got.page}, p.model) {
		if model == "" {
			continue // a series that has no models
		}
		of := match{p.model: model}
		load := ModelLoad{Model: model}
		load.Started, load.Ended, load.Failed = p.count(got.page, of)
		for _, gauge := range p.running {
			n, _ := got.page.Sum(gauge, of)
			load.Active += n
		}
		says.Models = append(says.Models, load)
	}
	return says
}

func serverSays(pod *corev1.Pod, got fetched) ServerSays {
	says := ServerSays{Pod: pod.Name, Ready: ready(pod), Restarts: restartCount(pod), KVUse: -1, Problem: got.err}
	if got.err != nil {
		return says
	}
	says.Running, _ = got.page.Sum(runningFamily, nil)
	says.Waiting, _ = got.page.Sum(waitingFamily, nil)
	for _, family := range []string{kvOldFamily, kvFamily} {
		if use, ok := got.page.Max(family, nil); ok {
			says.KVUse = use
		}
	}
	return says
}

// list asks every ready model server for its models, all at once.
func (s *Surveyor) list(ctx context.Context, pool Pool, servers []endpoint, into []ServerSays) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	var wg sync.WaitGroup
	for i, e := range servers {
		if !into[i].Ready {
			continue
		}
		if s.reach.via == Prometheus {
			into[i].Unlisted = errors.New("a Prometheus does not know")
			continue
		}
		wg.Go(func() {
			into[i].Models, into[i].Unlisted = s.models(ctx, endpoint{pod: e.pod, port: pool.port()})
		})
	}
	wg.Wait()
}

// models asks one model server for its models.
func (s *Surveyor) models(ctx context.Context, e endpoint) ([]string, error) {
	client, base, err := s.reach.base(ctx, e)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/models", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /v1/models: %s", response.Status)
	}
	var list struct{ Data []struct{ ID string } }
	if err := json.NewDecoder(io.LimitReader(response.Body, probeBytes)).Decode(&list); err != nil {
		return nil, fmt.Errorf("GET /v1/models: %w", err)
	}
	var names []string
	for _, m := range list.Data {
		names = append(names, m.ID)
	}
	return names, nil
}

// running says whether a pod's containers may answer.
func running(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}
