package envoy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
)

// Starter starts a child; *process.Starter is one.
type Starter interface {
	Start(process.Spec) (*process.Process, error)
}

// Options says which Envoy to run and where it keeps its files.
type Options struct {
	// Path is the Envoy executable.
	Path string
	// Dir receives envoy.json; LogPath the process's own log.
	Dir     string
	LogPath string
	// Socket is the unix socket of the ADS server.
	Socket string
	// Admin is the address of Envoy's administration pages.
	Admin netip.AddrPort
}

// Start writes the bootstrap file and starts Envoy. It is ready when the ADS
// server has its first acknowledgement.
func Start(starter Starter, o Options) (*process.Process, error) {
	bootstrap, err := Bootstrap(o)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(o.Dir, "envoy.json")
	if err := os.WriteFile(config, bootstrap, 0o600); err != nil {
		return nil, fmt.Errorf("write Envoy bootstrap: %w", err)
	}
	return starter.Start(process.Spec{
		Name: "envoy",
		Path: o.Path,
		Args: []string{
			"--config-path", config,
			"--concurrency", "2",
			"--disable-hot-restart",
			"--drain-strategy", "immediate",
			"--drain-time-s", "86400",
			"--log-level", "warning",
			"--file-flush-interval-msec", "500", // of the access log; 10s otherwise
		},
		LogPath: o.LogPath,
	})
}

// Bootstrap is Envoy's static configuration: an administration address and
// where everything else comes from.
func Bootstrap(o Options) ([]byte, error) {
	type object = map[string]any
	list := func(items ...any) []any { return items }
	ads := object{"ads": object{}, "resource_api_version": "V3"}
	xds := object{
		"name": "xds",
		"type": "STATIC",
		"load_assignment": object{"cluster_name": "xds", "endpoints": list(object{
			"lb_endpoints": list(object{"endpoint": object{"address": object{"pipe": object{"path": o.Socket}}}}),
		})},
		"typed_extension_protocol_options": object{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{
					"connection_keepalive": object{"interval": "30s", "timeout": "5s"},
				}},
			},
		},
	}
	bootstrap, err := json.MarshalIndent(object{
		"node": object{"id": "gateway", "cluster": "kubectl-infer-sandbox"},
		"admin": object{"address": object{"socket_address": object{
			"address": o.Admin.Addr().String(), "port_value": o.Admin.Port(),
		}}},
		"dynamic_resources": object{
			"ads_config": object{
				"api_type":              "DELTA_GRPC",
				"transport_api_version": "V3",
				"grpc_services":         list(object{"envoy_grpc": object{"cluster_name": "xds"}}),

				"set_node_on_first_message_only": true,
			},
			"cds_config": ads,
			"lds_config": ads,
		},
		"static_resources": object{"clusters": list(xds)},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("build Envoy bootstrap: %w", err)
	}
	return bootstrap, nil
}
