package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/kubectl-infer/kubectl-infer/picker/simulate"
)

// way is one way to choose.
type way struct {
	name string
	url  string   // of the gateway
	pods []string // addresses of the model servers
	// policy chooses a Pod, and the gateway is left out; nil: the gateway chooses.
	policy simulate.Policy
	// mark begins its prompts, so that nobody finds what another way left in caches.
	mark byte

	mu     sync.Mutex
	result simulate.Result
	sent   map[string]int // by Pod
	failed int
	reason error // the first
}

const (
	warmUp  = 30 * time.Second
	longest = 60 * time.Second // of one request
)

// replay sends the trace and waits for the last answer. Requests that fail count as
// refused; when all do, that is an error.
func (w *way) replay(ctx context.Context, trace []simulate.Request) (simulate.Result, int, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	defer client.CloseIdleConnections()
	w.sent = map[string]int{}
	if err := w.ready(ctx, client); err != nil {
		return simulate.Result{}, 0, err
	}
	began := time.Now()
	var group sync.WaitGroup
	for i := range trace {
		timer := time.NewTimer(time.Until(began.Add(trace[i].At)))
		select {
		case <-ctx.Done():
			timer.Stop()
			group.Wait()
			return simulate.Result{}, 0, ctx.Err()
		case <-timer.C:
		}
		group.Go(func() { w.one(ctx, client, &trace[i]) })
	}
	group.Wait()
	for _, n := range w.sent {
		w.result.Sent = append(w.result.Sent, n)
	}
	for len(w.result.Sent) < len(w.pods) {
		w.result.Sent = append(w.result.Sent, 0)
	}
	w.result.Refused = w.failed
	if w.failed == len(trace) {
		return w.result, w.failed, fmt.Errorf("no request was answered: %w", w.reason)
	}
	return w.result, w.failed, nil
}

// ready waits until the way answers.
func (w *way) ready(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, warmUp)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _, err := w.send(ctx, client, w.url, &simulate.Request{Model: simulate.Base, Prompt: []byte("warm up"), Output: 1})
		if err == nil || w.policy != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not answering: %w", err)
		case <-tick.C:
		}
	}
}

// one sends one request and notes what came.
func (w *way) one(ctx context.Context, client *http.Client, r *simulate.Request) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	url, at := w.url, 0
	if w.policy != nil {
		w.mu.Lock()
		at = w.policy.Choose(r, time.Now())
		w.mu.Unlock()
		url = "http://" + w.pods[at]
	}
	first, pod, err := w.send(ctx, client, url, r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.policy != nil {
		w.policy.Ended(at)
	}
	if err != nil {
		w.failed++
		if w.reason == nil {
			w.reason = err
		}
		return
	}
	w.sent[pod]++
	w.result.TTFT = append(w.result.TTFT, first)
}

// send returns the time to the first byte of the answer, and the Pod it came from.
func (w *way) send(ctx context.Context, client *http.Client, url string, r *simulate.Request) (first time.Duration, pod string, err error) {
	prompt := append([]byte{w.mark}, r.Prompt...)
	body, err := json.Marshal(map[string]any{
		"model": r.Model, "prompt": string(prompt), "max_tokens": r.Output, "ignore_eos": true, "stream": true,
	})
	if err != nil {
		return 0, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("x-way", w.name)
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	var byteOne [1]byte
	if _, err := io.ReadFull(response.Body, byteOne[:]); err != nil {
		return 0, "", err
	}
	first = time.Since(began)
	rest, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s%s", response.StatusCode, byteOne[:], bytes.TrimSpace(rest))
	}
	return first, response.Header.Get("x-inference-pod"), err
}
