package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// serveModelServers serves n model servers' metrics pages until ctx ends and
// returns their addresses, with commas between them.
func serveModelServers(ctx context.Context, n int) (string, error) {
	const page = `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="qwen"} 3
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="qwen"} 1
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name="qwen"} 0.25
`
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, page)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addresses[i] = l.Addr().String()
		go func() { _ = server.Serve(l) }()
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return strings.Join(addresses, ","), nil
}
