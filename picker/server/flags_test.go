package server

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubectl-infer/kubectl-infer/picker/pool"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--pool-name", "qwen"}, &bytes.Buffer{}, env("POD_IP", "127.5.2.9", "NAMESPACE", "llm"))
	if err != nil {
		t.Fatal(err)
	}
	s := o.serving
	if s.BindAddress != "127.5.2.9" || s.GRPCPort != 9002 || s.HealthPort != 9003 || s.MetricsPort != 9090 || !s.SecureServing {
		t.Errorf("serving %+v", s)
	}
	if o.namespace != "llm" || o.pool != "qwen" || o.interval != time.Second || o.staleness != 5*time.Second {
		t.Errorf("got %+v", o)
	}
	want := pool.Source{
		Scheme: "http", Path: "/metrics",
		Running: pool.Series{Name: "vllm:num_requests_running"}, Waiting: pool.Series{Name: "vllm:num_requests_waiting"},
		KVCache: pool.Series{Name: "vllm:kv_cache_usage_perc"}, Adapters: pool.Series{Name: "vllm:lora_requests_info"},
		ModelsPath: "/v1/models",
	}
	if !reflect.DeepEqual(o.source, want) {
		t.Errorf("source %+v", o.source)
	}
	if o.limits.Bytes != 4<<20 || o.limits.Timeout != time.Second {
		t.Errorf("limits %+v", o.limits)
	}
}

func TestNamespaceComesFromFlagThenEnvironmentThenDefault(t *testing.T) {
	t.Parallel()
	for want, tc := range map[string]struct {
		args []string
		env  func(string) string
	}{
		"flag":    {[]string{"--pool-namespace=flag"}, env("NAMESPACE", "a", "POD_NAMESPACE", "b")},
		"a":       {nil, env("NAMESPACE", "a", "POD_NAMESPACE", "b")},
		"b":       {nil, env("POD_NAMESPACE", "b")},
		"default": {nil, env()},
	} {
		o, err := parse(append([]string{"--pool-name=p"}, tc.args...), &bytes.Buffer{}, tc.env)
		if err != nil || o.namespace != want {
			t.Errorf("want %s, got %+v, %v", want, o, err)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		args, names string
	}{
		"neither pool nor endpoints":     {"", "--pool-name"},
		"both pool and endpoints":        {"--pool-name=p --endpoints=127.0.0.1:1", "--endpoints"},
		"an unknown flag":                {"--pool-nmae=p", "pool-nmae"},
		"an argument":                    {"--pool-name=p qwen", "qwen"},
		"a group without pools":          {"--pool-name=p --pool-group=example.com", "example.com"},
		"no endpoint to answer with":     {"--pool-name=p --max-endpoints=0", "--max-endpoints"},
		"a deadline in the past":         {"--pool-name=p --decision-timeout=-1s", "--decision-timeout"},
		"a pool that always sheds":       {"--pool-name=p --shed-queue-threshold=0", "--shed-queue-threshold"},
		"a pool and a selector":          {"--pool-name=p --endpoint-selector=a=b --endpoint-target-ports=1", "2 are"},
		"a selector without ports":       {"--endpoint-selector=a=b", "--endpoint-target-ports"},
		"a selector that is none":        {"--endpoint-selector=a=b=c --endpoint-target-ports=1", "a=b=c"},
		"ports without a selector":       {"--pool-name=p --endpoint-target-ports=1", "--endpoint-selector"},
		"a scorer that is none":          {"--pool-name=p --scorer-weights=latency=1", "latency"},
		"a weight that is none":          {"--pool-name=p --scorer-weights=queue=much", "queue=much"},
		"a weight below zero":            {"--pool-name=p --scorer-weights=queue=-1", "--scorer-weights"},
		"a file that is not there":       {"--pool-name=p --config-file=/nonexistent", "/nonexistent"},
		"a file and a text":              {"--pool-name=p --config-file=x --config-text=y", "--config-text"},
		"a text that is no config":       {"--pool-name=p --config-text=kind:x", "--config-text"},
		"blocks of a byte":               {"--pool-name=p --prefix-block-bytes=1", "--prefix-block-bytes"},
		"more blocks than there can be":  {"--pool-name=p --prefix-max-blocks=1000", "--prefix-max-blocks"},
		"an index without entries":       {"--pool-name=p --prefix-index-entries=0", "--prefix-index-entries"},
		"a window without length":        {"--pool-name=p --prefix-window=0", "--prefix-window"},
		"an endpoint without port":       {"--endpoints=127.0.0.1", "127.0.0.1"},
		"a scheme that is none":          {"--pool-name=p --model-server-metrics-scheme=ftp", "ftp"},
		"a series that cannot be read":   {"--pool-name=p --total-queued-requests-metric=a{b}", "--total-queued-requests-metric"},
		"a port that is none":            {"--pool-name=p --metrics-port=70000", "70000"},
		"a metrics port that is none":    {"--pool-name=p --model-server-metrics-port=-1", "-1"},
		"an interval that burns the CPU": {"--pool-name=p --refresh-metrics-interval=1ms", "1ms"},
		"stale before the next scrape":   {"--pool-name=p --refresh-metrics-interval=9s", "--metrics-staleness-threshold"},
		"no workers":                     {"--pool-name=p --scrape-workers=0", "--scrape-workers"},
		"no time to scrape":              {"--pool-name=p --scrape-timeout=0", "--scrape-timeout"},
		"no model labels":                {"--pool-name=p --max-model-labels=0", "--max-model-labels"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			_, err := parse(strings.Fields(tc.args), &bytes.Buffer{}, env())
			if err == nil || !strings.Contains(err.Error(), tc.names) || hint.Of(err) == "" {
				t.Errorf("error %v, hint %q", err, hint.Of(err))
			}
		})
	}
}

func TestEndpointsAreRead(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--endpoints", "127.0.0.1:8000,[::1]:8001"}, &bytes.Buffer{}, env())
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8000"), netip.MustParseAddrPort("[::1]:8001")}
	if err != nil || !reflect.DeepEqual(o.endpoints, want) || o.pool != "static" {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestHelpIsNoError(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if _, err := parse([]string{"--help"}, &out, env()); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("parse: %v", err)
	}
	if !strings.Contains(out.String(), "--pool-name") || strings.Contains(out.String(), "zap-encoder") {
		t.Errorf("help:\n%s", out.String())
	}
	if err := Main(t.Context(), []string{"--help"}, &out); err != nil {
		t.Errorf("main: %v", err)
	}
}
