package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	// maxAnswer bounds what is read of one answer, in bytes.
	maxAnswer = 1 << 20
	// concurrency bounds the requests under way at once.
	concurrency = 16
	// hopeless is how many answers in a row, from the first, may be failures
	// before the rest is not asked.
	hopeless = 10
)

// asker sends cheap requests to one gateway.
type asker struct {
	base   string // http://HOST:PORT
	client *http.Client
	rate   float64 // requests a second
}

func newAsker(base string, rate float64, timeout time.Duration) *asker {
	return &asker{base: strings.TrimSuffix(base, "/"), rate: rate, client: &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: concurrency},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (a *asker) close() { a.client.CloseIdleConnections() }

// answer is what came back of one request: its status, or "none" with err.
type answer struct {
	code  string
	model string
	err   error
}

func (a answer) ok() bool { return strings.HasPrefix(a.code, "2") }

// one sends one request of one token.
func (a *asker) one(ctx context.Context, c call, model string) answer {
	body := map[string]any{"model": model, "max_tokens": 1, "temperature": 0}
	if c.kind == chat {
		body["messages"] = []any{map[string]string{"role": "user", "content": "Hi"}}
	} else {
		body["prompt"] = "Hi"
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return answer{code: "none", err: err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+c.path, strings.NewReader(string(raw)))
	if err != nil {
		return answer{code: "none", err: err}
	}
	request.Header = http.Header{}
	maps.Copy(request.Header, c.header)
	request.Header.Set("Content-Type", "application/json")
	request.Host = c.host
	response, err := a.client.Do(request)
	if err != nil {
		return answer{code: "none", err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{code: "none", err: fmt.Errorf("read the answer: %w", err)}
	}
	out := answer{code: strconv.Itoa(response.StatusCode)}
	var said struct{ Model string }
	if json.Unmarshal(text, &said) == nil {
		out.model = said.Model
	}
	return out
}

// many sends n requests at the rate, taking turns in calls and models, and returns
// when all are answered, ctx ends, or nothing but failures came.
func (a *asker) many(ctx context.Context, calls []call, models []string, n int) answers {
	sum := answers{Codes: map[string]int{}, Models: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	tick := time.NewTicker(time.Duration(float64(time.Second) / a.rate))
	defer tick.Stop()
	stop := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ctx.Err() != nil || sum.Sent >= hopeless && sum.OK == 0
	}
	for i := 0; i < n && !stop(); i++ {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			got := a.one(ctx, calls[i%len(calls)], models[i/len(calls)%len(models)])
			mu.Lock()
			defer mu.Unlock()
			sum.add(got)
		})
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	wg.Wait()
	return sum
}

func (s *answers) add(got answer) {
	s.Sent++
	s.Codes[got.code]++
	switch {
	case got.ok():
		s.OK++
		if got.model != "" {
			s.Models[got.model]++
		}
	case s.Problem == "" && got.err != nil:
		s.Problem = got.err.Error()
	case s.Problem == "":
		s.Problem = "HTTP " + got.code
	}
}

// reachable says why a gateway cannot be asked at all; nil when it answered,
// whatever it said.
func reachable(base string, got answer) error {
	if got.err == nil {
		return nil
	}
	err := fmt.Errorf("ask the gateway at %s: %w", base, got.err)
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(got.err, context.Canceled):
		return err
	case errors.Is(got.err, syscall.ECONNREFUSED):
		return hint.Wrap(err, "nothing listens there: kubectl get gateway -A; or give another way in: --gateway http://HOST:PORT (kubectl port-forward works)")
	case errors.As(got.err, &dns):
		return hint.Wrap(err, "that name is not known here: --gateway http://ADDRESS:PORT")
	case errors.As(got.err, &timeout) && timeout.Timeout():
		return hint.Wrap(err, "is the address reachable from here? Give another way in with --gateway, or more time with --timeout")
	}
	return hint.Wrap(err, "give another way in: --gateway http://HOST:PORT")
}
