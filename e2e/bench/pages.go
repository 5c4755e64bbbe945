package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

// pages are the answers of one simulated model server, recorded, so that hundreds
// of addresses can give them at next to no cost.
type pages map[string]page

type page struct{ contentType, text string }

// record takes down the list of models and the metrics page: all of it when it is to
// be long, as vLLM's is, else the gauges.
func record(long bool) (pages, error) {
	config := modelsim.DefaultConfig()
	config.Model = model
	server, err := modelsim.NewServer(config, io.Discard)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	p := pages{}
	for _, path := range []string{"/metrics", "/v1/models"} {
		answer := httptest.NewRecorder()
		server.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != http.StatusOK {
			return nil, fmt.Errorf("record %s of the simulator: status %d", path, answer.Code)
		}
		p[path] = page{answer.Header().Get("content-type"), answer.Body.String()}
	}
	if metrics := p["/metrics"]; !long {
		p["/metrics"] = page{metrics.contentType, gauges(metrics.text)}
	}
	return p, nil
}

// gauges keeps of a metrics page what tells the load now.
func gauges(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		for _, family := range []string{"vllm:num_requests_", "vllm:kv_cache_usage_perc", "vllm:lora_requests_info", "vllm:cache_config_info"} {
			if strings.Contains(line, family) {
				kept.WriteString(line)
			}
		}
	}
	return kept.String()
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, ok := p[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("content-type", answer.contentType)
	_, _ = io.WriteString(w, answer.text)
}

// serve gives the pages at every address, whose port may be 0, until ctx ends. It
// returns the addresses with their ports.
func (p pages) serve(ctx context.Context, addresses []string) ([]string, error) {
	server := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	bound := make([]string, len(addresses))
	for i, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		bound[i] = l.Addr().String()
		go func() { _ = server.Serve(l) }()
	}
	return bound, nil
}
