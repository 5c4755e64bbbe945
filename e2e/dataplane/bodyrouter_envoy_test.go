package dataplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	pickerserver "github.com/kubectl-infer/kubectl-infer/picker/server"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// The bodyrouter tests have Envoys of their own, with a static configuration
// like those that providers write: unlike the sandbox's it can send the body
// router every body mode, and strips no header before the body router does.

const (
	modeBuffered   = "BUFFERED"
	modeFullDuplex = "FULL_DUPLEX_STREAMED"
)

// chain is the configuration of one such Envoy.
type chain struct {
	Admin, Listener netip.AddrPort
	AccessLog       string
	Routers         []netip.AddrPort // replicas of the body router
	RouterTLS       bool
	TLSContext      string // fields of Envoy's common_tls_context, each after a comma
	RouterMode      string
	RouterResponses bool // shows the body router responses, too, which is of no use
	// OneRequestPerConnection opens one to the body router for each request.
	OneRequestPerConnection bool
	// Endpoints is a file that Envoy follows and that lists the replicas of the
	// body router instead of Routers; empty: none.
	Endpoints  string
	Picker     netip.AddrPort
	PickerMode string // empty: no picker
	// Models maps a model name to its upstream, "" is the rest.
	Models []modelRoute
	// AnyAddress sends what matches no other model wherever the header
	// x-gateway-destination-endpoint says, as some providers do.
	AnyAddress bool
}

type modelRoute struct {
	Model   string
	Address netip.AddrPort
}

// processing is one ext_proc filter's processing mode.
func processing(mode string, responses bool) string {
	trailers, headers, body := "SKIP", "SKIP", "NONE"
	if mode == modeFullDuplex {
		trailers = "SEND"
	}
	if responses {
		headers, body = "SEND", "STREAMED"
	}
	return fmt.Sprintf("{request_header_mode: SEND, request_body_mode: %s, request_trailer_mode: %s, response_header_mode: %s, response_body_mode: %s, response_trailer_mode: %s}",
		mode, trailers, headers, body, headers)
}

const chainYAML = `
admin: {address: {{addr .Admin}}}
static_resources:
  listeners:
  - name: gateway
    address: {{addr .Listener}}
    per_connection_buffer_limit_bytes: 20971520
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          http_protocol_options: {enable_trailers: true}
          upgrade_configs: [{upgrade_type: websocket}]
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {{.AccessLog}}
              log_format: {text_format_source: {inline_string: "%START_TIME% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %FILTER_STATE(envoy.filters.http.ext_proc)%\n"}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{{- range $i, $m := .Models}}
              - match: {prefix: "/"{{if $m.Model}}, headers: [{name: X-Gateway-Model-Name, string_match: {exact: {{$m.Model}}}}]{{end}}}
                request_body_buffer_limit: 20971520
                route: {cluster: model-{{$i}}, timeout: 60s}
{{- end}}
{{- if .AnyAddress}}
              - match: {prefix: "/"}
                request_body_buffer_limit: 20971520
                route: {cluster: any-address, timeout: 60s}
{{- end}}
          http_filters:
          - name: body-router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service:
                envoy_grpc: {cluster_name: body-router}
                retry_policy:
                  retry_on: connect-failure,refused-stream,reset
                  num_retries: 3
                  retry_host_predicate:
                  - {name: previous, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}
                  host_selection_retry_max_attempts: 3
              processing_mode: {{processing .RouterMode .RouterResponses}}
              message_timeout: 10s
              failure_mode_allow: false
{{- if .PickerMode}}
          - name: picker
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: picker}}
              processing_mode: {{processing .PickerMode true}}
              message_timeout: 10s
              failure_mode_allow: false
{{- end}}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: body-router
    type: {{if .Endpoints}}EDS{{else}}STATIC{{end}}
    connect_timeout: 2s
    circuit_breakers: {thresholds: [{max_requests: 40000, max_pending_requests: 40000, max_retries: 1000}]}
    per_connection_buffer_limit_bytes: 20971520
    typed_extension_protocol_options: {{if .OneRequestPerConnection}}{{template "h2once"}}{{else}}{{template "h2"}}{{end}}
{{- if .RouterTLS}}
    transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {alpn_protocols: [h2]{{.TLSContext}}}}}
{{- end}}
{{- if .Endpoints}}
    eds_cluster_config: {eds_config: {resource_api_version: V3, path_config_source: {path: {{.Endpoints}}}}}
{{- else}}
    load_assignment: {cluster_name: body-router, endpoints: [{lb_endpoints: [{{range .Routers}}{endpoint: {address: {{addr .}}}}, {{end}}]}]}
{{- end}}
{{- if .PickerMode}}
  - name: picker
    type: STATIC
    connect_timeout: 2s
    per_connection_buffer_limit_bytes: 20971520
    typed_extension_protocol_options: {{template "h2"}}
    load_assignment: {cluster_name: picker, endpoints: [{lb_endpoints: [{endpoint: {address: {{addr .Picker}}}}]}]}
{{- end}}
{{- range $i, $m := .Models}}
  - name: model-{{$i}}
    type: STATIC
    connect_timeout: 2s
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http_protocol_options: {enable_trailers: true}}}}
    load_assignment: {cluster_name: model-{{$i}}, endpoints: [{lb_endpoints: [{endpoint: {address: {{addr $m.Address}}}}]}]}
{{- end}}
{{- if .AnyAddress}}
  - name: any-address
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 2s
    original_dst_lb_config: {use_http_header: true, http_header_name: x-gateway-destination-endpoint}
{{- end}}
{{define "h2once"}}{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, common_http_protocol_options: {max_requests_per_connection: 1}, explicit_http_config: {http2_protocol_options: {}}}}{{end}}
{{define "h2"}}{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}{{end}}
`

// proxied is a running Envoy of a chain.
type proxied struct {
	t       *testing.T
	chain   chain
	process *process.Process
	client  *http.Client
}

func startChain(t *testing.T, c chain) *proxied {
	t.Helper()
	dir := t.TempDir()
	c.Admin, c.Listener = freeAddress(t), freeAddress(t)
	c.AccessLog = filepath.Join(dir, "access.log")
	functions := template.FuncMap{"processing": processing, "addr": func(a netip.AddrPort) string {
		return fmt.Sprintf("{socket_address: {address: %s, port_value: %d}}", a.Addr(), a.Port())
	}}
	var config bytes.Buffer
	if err := template.Must(template.New("").Funcs(functions).Parse(chainYAML)).Execute(&config, c); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(path, config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	starter := process.NewStarter()
	t.Cleanup(starter.Close)
	p, err := starter.Start(process.Spec{
		Name: "envoy", Path: envoyPath(t), LogPath: filepath.Join(dir, "envoy.log"),
		Args: []string{"--config-path", path, "--concurrency", "2", "--disable-hot-restart", "--service-node", "gateway", "--service-cluster", "test", "--file-flush-interval-msec", "100", "--log-level", "warning"},
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(true)
	g := &proxied{t: t, chain: c, process: p, client: &http.Client{Transport: transport, Timeout: time.Minute}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := p.Stop(5 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Envoy said:\n%s", p.LogTail(20))
		}
	})
	eventually(t, "Envoy serves", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("Envoy ended: %s", p.LogTail(20))
		default:
		}
		response, err := http.Get("http://" + c.Admin.String() + "/ready")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK && g.listens()
	})
	return g
}

func (g *proxied) listens() bool {
	conn, err := net.Dial("tcp", g.chain.Listener.String())
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func (g *proxied) url(path string) string { return "http://" + g.chain.Listener.String() + path }

// page is one of Envoy's administration pages.
func (g *proxied) page(path string) string {
	g.t.Helper()
	response, err := http.Get("http://" + g.chain.Admin.String() + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// send makes a request and reads its echo.
func (g *proxied) send(request *http.Request) (answer, error) {
	response, err := g.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{code: response.StatusCode}
	content, err := io.ReadAll(response.Body)
	if err == nil && a.code == http.StatusOK && len(content) > 0 {
		err = json.Unmarshal(content, &a.echo)
	}
	return a, err
}

func (g *proxied) request(method, contentType string, body io.Reader) *http.Request {
	g.t.Helper()
	request, err := http.NewRequestWithContext(g.t.Context(), method, g.url("/v1/chat/completions"), body)
	if err != nil {
		g.t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return request
}

func addresses(a ...netip.AddrPort) []netip.AddrPort { return a }

// startProgramPicker is cmd/endpoint-picker in plain text.
func startProgramPicker(t *testing.T, endpoints ...*upstream) netip.AddrPort {
	t.Helper()
	list := make([]string, len(endpoints))
	for i, u := range endpoints {
		list[i] = u.address.String()
	}
	return startProgram(t, pickerserver.Main, "--secure-serving=false", "--endpoints", strings.Join(list, ",")).address
}
