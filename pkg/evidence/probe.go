package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	// probeLimit bounds the wait for one token; a model that loads its weights
	// at the first request is not ready to serve.
	probeLimit = 30 * time.Second
	// probeBytes bounds an answer that is read.
	probeBytes = 1 << 20
)

// Probe asks every ready canary pod for a first token under every name that
// stable answers to: listed is not servable (design §8). Of two target models in
// one pool, the canary's name is asked for. It goes the way that the pages are
// reached by, and reports the tokens that came.
func (a *Arms) Probe(ctx context.Context) (tokens int, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	names := []string{a.canary().pool.Model}
	if names[0] == "" {
		if names, err = a.names(ctx); err != nil {
			return 0, err
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(a.canary().pods.servers))
	for i := range a.canary().pods.servers {
		pod := &a.canary().pods.servers[i]
		if !ready(pod) {
			continue
		}
		tokens += len(names)
		wg.Go(func() {
			for _, name := range names {
				if err := a.token(ctx, pod, name); err != nil {
					errs[i] = fmt.Errorf("pod %s of %s does not answer for model %q: %w", pod.Name, a.canary().pool, name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, hint.Wrap(err, "wait until the model is loaded; kubectl logs shows why it is not; --probe=none skips the question")
	}
	return tokens, nil
}

// names are what any ready pod of stable lists.
func (a *Arms) names(ctx context.Context) ([]string, error) {
	var names []string
	for i := range a.stable().pods.servers {
		pod := &a.stable().pods.servers[i]
		if !ready(pod) {
			continue
		}
		var list struct{ Data []struct{ ID string } }
		if err := a.ask(ctx, a.stable(), pod, http.MethodGet, "v1/models", nil, &list); err != nil {
			return nil, hint.Wrap(fmt.Errorf("ask pod %s of %s for its models: %w", pod.Name, a.stable().pool, err), "--probe=none skips the question")
		}
		for _, model := range list.Data {
			names = append(names, model.ID)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// token asks pod for one token of model name.
func (a *Arms) token(ctx context.Context, pod *corev1.Pod, name string) error {
	return firstToken(name, func(body []byte, into any) error {
		return a.ask(ctx, a.canary(), pod, http.MethodPost, "v1/completions", body, into)
	})
}

// firstToken has one token of model name asked for, whoever answers.
func firstToken(name string, ask func(body []byte, into any) error) error {
	body, err := json.Marshal(map[string]any{"model": name, "prompt": "1", "max_tokens": 1})
	if err != nil {
		return err
	}
	var answer struct{ Choices []json.RawMessage }
	if err := ask(body, &answer); err != nil {
		return err
	}
	if len(answer.Choices) == 0 {
		return errors.New("the answer has no choices")
	}
	return nil
}

// ask sends one request to a model server of one arm.
func (a *Arms) ask(ctx context.Context, side *arm, pod *corev1.Pod, method, path string, body []byte, into any) error {
	status, text, err := a.reach.call(ctx, endpoint{pod: pod, port: side.pool.port()}, method, path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return refused(status, text)
	}
	return json.Unmarshal(text, into)
}

// newQuestion is a request whose body is JSON.
func newQuestion(ctx context.Context, method, url string, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

// exchange sends a question and reads what comes back.
func exchange(client *http.Client, request *http.Request) (status int, text []byte, err error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, probeBytes))
	return response.StatusCode, text, err
}

// answer sends a question whose answer must be 200 and JSON.
func answer(client *http.Client, request *http.Request, into any) error {
	status, text, err := exchange(client, request)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return refused(status, text)
	}
	return json.Unmarshal(text, into)
}

// port is the first that the pool's model servers serve on.
func (p Pool) port() int32 {
	if len(p.Ports) == 0 {
		return 8000
	}
	return p.Ports[0]
}

// base is where a pod's HTTP server is found by the way in use.
func (r *reacher) base(ctx context.Context, e endpoint) (*http.Client, string, error) {
	switch r.via {
	case PodProxy:
		url := r.clients.Core.CoreV1().RESTClient().Get().Namespace(e.pod.Namespace).Resource("pods").
			Name(fmt.Sprintf("%s:%d", e.pod.Name, e.port)).SubResource("proxy").URL()
		return r.api, url.String(), nil
	case PortForward:
		address, err := r.tunnels.open(ctx, e.pod, e.port)
		return r.direct, "http://" + address, err
	default:
		return r.direct, "http://" + e.address(), nil
	}
}

// Reached says whether pods are reached from here, so that Probe can work.
func (a *Arms) Reached() bool {
	return a.options.Prometheus == "" && len(a.options.Pages) == 0
}
