package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

const (
	// listLimit bounds the question for a server's models, loadLimit the loading
	// of one adapter: weights may come over a network.
	listLimit = 5 * time.Second
	loadLimit = 2 * time.Minute
)

// Servers are model servers that are asked one by one for their models, and to
// load and unload LoRA adapters. Sources: vLLM's OpenAI server and its dynamic
// LoRA serving, POST /v1/load_lora_adapter and /v1/unload_lora_adapter.
type Servers struct {
	clients   *kube.Clients
	namespace string
	port      int32
	reach     *reacher
	settled   bool
	via       Via
}

// NewServers are the model servers of namespace that answer at port. Close must
// be called at the end.
func NewServers(clients *kube.Clients, namespace string, port int32, via Via) *Servers {
	if via == "" {
		via = Auto
	}
	return &Servers{clients: clients, namespace: namespace, port: port, via: via, reach: newReacher(clients, via, "")}
}

// Servers are the model servers of the canary.
func (a *Arms) Servers() *Servers {
	pool := a.canary().pool
	return NewServers(a.clients, pool.Namespace, pool.port(), a.options.Via)
}

// Port is where the servers answer.
func (s *Servers) Port() int32 { return s.port }

// Close drops connections and tunnels.
func (s *Servers) Close() { s.reach.close() }

// Ready lists the pods of the namespace that are ready; those that selector
// allows, or all if it is nil.
func (s *Servers) Ready(ctx context.Context, selector labels.Selector) ([]corev1.Pod, error) {
	if selector == nil {
		selector = labels.Everything()
	}
	all, err := list(ctx, s.clients, s.namespace, selector)
	var found []corev1.Pod
	for i := range all {
		if ready(&all[i]) {
			found = append(found, all[i])
		}
	}
	return found, err
}

// Engines is how many engines each of the canary's pods runs, a port each.
func (a *Arms) Engines() int { return max(1, len(a.canary().pool.Ports)) }

// ReadyServers are the canary's ready model servers.
func (a *Arms) ReadyServers(ctx context.Context, s *Servers) ([]corev1.Pod, error) {
	return s.Ready(ctx, a.canary().pool.Servers)
}

// Models are the names that pod lists. The first question also settles by which
// way pods are reached.
func (s *Servers) Models(ctx context.Context, pod *corev1.Pod) ([]string, error) {
	ways := []Via{s.reach.via}
	if !s.settled {
		ways = []Via{s.via}
		if s.via == Auto {
			ways = []Via{Direct, PodProxy, PortForward}
		}
	}
	var errs []error
	for _, via := range ways {
		err := s.reach.use(via)
		var names []string
		if err == nil {
			names, err = s.models(ctx, pod)
		}
		if err == nil {
			s.settled = true
			return names, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", via, err))
	}
	return nil, hint.Wrap(fmt.Errorf("ask pod %s for its models: %w", pod.Name, errors.Join(errs...)),
		"run where the pods' addresses are reachable, or with a role that may create pods/portforward")
}

func (s *Servers) models(ctx context.Context, pod *corev1.Pod) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	status, text, err := s.reach.call(ctx, endpoint{pod: pod, port: s.port}, http.MethodGet, "v1/models", nil)
	if err == nil && status != http.StatusOK {
		err = refused(status, text)
	}
	if err != nil {
		return nil, err
	}
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, model := range list.Data {
		names = append(names, model.ID)
	}
	return names, nil
}

// Load has pod load the adapter called name from path, which is the server's.
func (s *Servers) Load(ctx context.Context, pod *corev1.Pod, name, path string) error {
	status, text, err := s.post(ctx, pod, "v1/load_lora_adapter", map[string]any{"lora_name": name, "lora_path": path})
	switch {
	case err != nil:
		return fmt.Errorf("load adapter %s on pod %s: %w", name, pod.Name, err)
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return hint.Errorf("start the model server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or with the adapter in --lora-modules",
			"pod %s loads no adapters while it runs: %w", pod.Name, refused(status, text))
	case status != http.StatusOK:
		return hint.Errorf("is the path one that the model server sees, and is there room (--max-loras, --max-cpu-loras)? kubectl logs "+pod.Name+" -n "+pod.Namespace,
			"load adapter %s on pod %s: %w", name, pod.Name, refused(status, text))
	}
	return nil
}

// Unload has pod forget the adapter called name. One that it does not have is
// no error.
func (s *Servers) Unload(ctx context.Context, pod *corev1.Pod, name string) error {
	status, text, err := s.post(ctx, pod, "v1/unload_lora_adapter", map[string]any{"lora_name": name})
	if err == nil && status != http.StatusOK && status != http.StatusNotFound {
		err = refused(status, text)
	}
	if err != nil {
		return fmt.Errorf("unload adapter %s on pod %s: %w", name, pod.Name, err)
	}
	return nil
}

func (s *Servers) post(ctx context.Context, pod *corev1.Pod, path string, body any) (status int, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	return s.reach.call(ctx, endpoint{pod: pod, port: s.port}, http.MethodPost, path, raw)
}

// refused is an answer that is not the one wanted.
func refused(status int, text []byte) error {
	return fmt.Errorf("%d %s: %s", status, http.StatusText(status), strings.TrimSpace(string(text[:min(len(text), 200)])))
}

// call sends one request to a model server and reads the answer.
func (r *reacher) call(ctx context.Context, e endpoint, method, path string, body []byte) (status int, text []byte, err error) {
	client, base, err := r.base(ctx, e)
	if err != nil {
		return 0, nil, err
	}
	request, err := newQuestion(ctx, method, base+"/"+path, body)
	if err != nil {
		return 0, nil, err
	}
	return exchange(client, request)
}
