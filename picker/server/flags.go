package server

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	inferencev1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"

	"github.com/kubectl-infer/kubectl-infer/picker"
	"github.com/kubectl-infer/kubectl-infer/picker/pool"
	"github.com/kubectl-infer/kubectl-infer/picker/prefix"
	"github.com/kubectl-infer/kubectl-infer/picker/score"
	"github.com/kubectl-infer/kubectl-infer/pkg/evidence/scrape"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// options are the command line, checked.
type options struct {
	command *extproc.Command
	serving extproc.Options

	namespace, pool string
	endpoints       []netip.AddrPort               // instead of a pool
	fixed           *inferencev1.InferencePoolSpec // instead of an InferencePool object

	source      pool.Source
	insecure    bool // https pages of model servers are not verified
	interval    time.Duration
	staleness   time.Duration
	workers     int
	limits      scrape.Limits
	maxModels   int
	group       string // of the pool
	maxChoice   int    // endpoints in one answer
	deadline    time.Duration
	shedQueue   float64
	shedKVCache float64
	shedBelow   int
	weights     score.Weights
	unused      []string // what the configuration file has and this picker does not
	scorers     []picker.Scorer
	prefixes    prefix.Options
	trust       bool // headers of clients
}

// raw are the flags that need reading before they are options.
type raw struct {
	running, waiting, kvCache, adapters string
	endpoints                           []string
	selector                            string
	ports                               []int
	weights                             map[string]string
	configFile, configText              string
}

// parse reads the command line. getenv gives the defaults of the bind address
// ($POD_IP) and the pool's namespace ($NAMESPACE, $POD_NAMESPACE). With --help
// it returns pflag.ErrHelp, the help being written.
func parse(args []string, stderr io.Writer, getenv func(string) string) (*options, error) {
	o := &options{serving: extproc.DefaultOptions(getenv("POD_IP"), 9002, 9003), limits: scrape.DefaultLimits()}
	c := extproc.NewCommand("endpoint-picker", "--pool-name qwen --pool-namespace default --cert-path /certs", "every pick", stderr)
	o.command = c
	r := o.declare(c.FlagSet, firstOf(getenv("NAMESPACE"), getenv("POD_NAMESPACE"), "default"))
	c.Accept(meaningless())
	return o, c.Read(args, func() error { return o.complete(r) })
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func (o *options) declare(fs *pflag.FlagSet, namespace string) *raw {
	r := &raw{}
	fs.StringVar(&o.pool, "pool-name", "", "name of the InferencePool to pick from (required, unless --endpoints or --endpoint-selector is given)")
	fs.StringVar(&o.namespace, "pool-namespace", namespace, "its namespace; from $NAMESPACE or $POD_NAMESPACE where they are set")
	fs.StringVar(&o.group, "pool-group", pool.GroupV1, "its API group: "+pool.GroupV1+" (v1) or "+pool.GroupAlpha+" (v1alpha2)")
	fs.StringSliceVar(&r.endpoints, "endpoints", nil, "pick from these ip:port,… and not from a pool; for tests and set-ups without an API server")
	fs.StringVar(&r.selector, "endpoint-selector", "", "pick from the Pods with these labels, name=value,…, and not from an InferencePool")
	fs.IntSliceVar(&r.ports, "endpoint-target-ports", nil, "their ports, with --endpoint-selector")
	o.serving.AddFlags(fs)
	o.declareLoad(fs, r)
	o.declareChoice(fs, r)
	return r
}

// declareLoad declares where loads come from.
func (o *options) declareLoad(fs *pflag.FlagSet, r *raw) {
	fs.DurationVar(&o.interval, "refresh-metrics-interval", time.Second, "how often each model server is asked for its load")
	fs.DurationVar(&o.staleness, "metrics-staleness-threshold", 5*time.Second, "age at which a load counts for nothing")
	fs.DurationVar(&o.limits.Timeout, "scrape-timeout", o.limits.Timeout, "time that one scrape may take")
	fs.Int64Var(&o.limits.Bytes, "scrape-max-bytes", o.limits.Bytes, "largest metrics page that is read")
	fs.IntVar(&o.limits.Lines, "scrape-max-lines", o.limits.Lines, "most lines of a metrics page")
	fs.IntVar(&o.workers, "scrape-workers", 16, "scrapes at once")
	fs.StringVar(&o.source.Scheme, "model-server-metrics-scheme", "http", "http or https")
	fs.StringVar(&o.source.Path, "model-server-metrics-path", "/metrics", "path of the metrics page")
	fs.IntVar(&o.source.Port, "model-server-metrics-port", 0, "port of the metrics page (default: the endpoint's own)")
	fs.BoolVar(&o.insecure, "model-server-metrics-https-insecure-skip-verify", true, "do not verify certificates of https metrics pages")
	fs.StringVar(&r.running, "total-running-requests-metric", "vllm:num_requests_running", "requests being computed, name or name{label=value}")
	fs.StringVar(&r.waiting, "total-queued-requests-metric", "vllm:num_requests_waiting", "requests queued")
	fs.StringVar(&r.kvCache, "kv-cache-usage-percentage-metric", "vllm:kv_cache_usage_perc", "share of the KV cache in use, 0 to 1")
	fs.StringVar(&r.adapters, "lora-info-metric", "vllm:lora_requests_info", "series whose labels list the LoRA adapters in use")
	fs.StringVar(&o.source.ModelsPath, "model-server-models-path", "/v1/models", "path that lists the models a server answers to; empty: not asked")
}

// declareChoice declares what is made of them.
func (o *options) declareChoice(fs *pflag.FlagSet, r *raw) {
	fs.StringVar(&r.configFile, "config-file", "", "the reference picker's EndpointPickerConfig, read for what this picker has; flags that are set count more")
	fs.StringVar(&r.configText, "config-text", "", "the same as text, in place of a file")
	fs.StringToStringVar(&r.weights, "scorer-weights", nil, "exponents of the scorers "+strings.Join(score.Names(), ", ")+", as name=weight,…; 0 leaves one out (default: 1 each)")
	fs.IntVar(&o.prefixes.Block, "prefix-block-bytes", 512, "bytes of a prompt that are remembered as one block, about a quarter as many tokens")
	fs.IntVar(&o.prefixes.Blocks, "prefix-max-blocks", prefix.MaxBlocks, "blocks at the beginning of a prompt that are looked at")
	fs.IntVar(&o.prefixes.Entries, "prefix-index-entries", 65_536, "blocks remembered, at 152 bytes each")
	fs.DurationVar(&o.prefixes.Window, "prefix-window", 5*time.Minute, "how long a model server is believed to hold a block it was sent: this long, at most twice")
	fs.IntVar(&o.maxChoice, "max-endpoints", 1, "endpoints in one answer: more than one adds ordered fallbacks, which not every gateway understands")
	fs.DurationVar(&o.deadline, "decision-timeout", time.Second, "time that one decision may take in the picker, waiting for the body left out; 503 after. 0: none")
	fs.Float64Var(&o.shedQueue, "shed-queue-threshold", 5, "requests in an endpoint's queue at which it is saturated; when all are, requests get 429")
	fs.Float64Var(&o.shedKVCache, "shed-kv-cache-threshold", 0.8, "share of its KV cache in use at which it is, too")
	fs.IntVar(&o.shedBelow, "shed-below", 0, "priority below which requests get 429 then: that of their InferenceObjective, else of their InferenceModel (Critical 1, Sheddable -1), else 0")
	fs.BoolVar(&o.trust, "trust-client-headers", false, "believe the headers that name a request's InferenceObjective and the model to serve it, which nobody authenticates; where routes set them")
	fs.IntVar(&o.maxModels, "max-model-labels", picker.DefaultMaxModels, "pairs of model and target model that get metric labels of their own; the rest is counted as other")
}

// meaningless are the flags that the reference has and this picker does not need,
// or not yet.
func meaningless() (switches, values []string) {
	return []string{
		"ha-enable-leader-election", "tracing", "health-checking", "enable-pprof", "enable-cert-reload",
		"disable-endpoint-subset-filter", "metrics-endpoint-auth", "enable-multi-engine", "enable-grpc-stream-metrics", "zap-devel",
	}, []string{
		"cache-info-metric", "refresh-prometheus-metrics-interval",
		"engine-label-key", "log-level", "zap-encoder", "zap-log-level", "zap-stacktrace-level", "zap-time-encoding",
	}
}

// complete checks the flags and reads the raw ones.
func (o *options) complete(r *raw) error {
	if o.group != pool.GroupV1 && o.group != pool.GroupAlpha {
		return hint.Errorf("move the pool to "+pool.GroupV1+"/v1", "--pool-group %s: neither %s nor %s", o.group, pool.GroupV1, pool.GroupAlpha)
	}
	if err := o.target(r); err != nil {
		return err
	}
	if bare, err := strconv.Unquote(o.source.Path); err == nil {
		o.source.Path = bare // the reference's charts leave quotes in
	}
	for _, s := range []struct {
		flag, text string
		into       *pool.Series
	}{
		{"total-running-requests-metric", r.running, &o.source.Running},
		{"total-queued-requests-metric", r.waiting, &o.source.Waiting},
		{"kv-cache-usage-percentage-metric", r.kvCache, &o.source.KVCache},
		{"lora-info-metric", r.adapters, &o.source.Adapters},
	} {
		series, err := pool.ParseSeries(s.text)
		if err != nil {
			return fmt.Errorf("--%s: %w", s.flag, err)
		}
		*s.into = series
	}
	if err := o.configure(r); err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	return o.serving.Validate()
}

// target reads which endpoints there are: a pool's, those of a selector, or a list.
func (o *options) target(r *raw) error {
	ways := 0
	for _, set := range []bool{o.pool != "", r.selector != "", len(r.endpoints) > 0} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return hint.Errorf("endpoint-picker --pool-name NAME --pool-namespace NAMESPACE", "exactly one of --pool-name, --endpoint-selector and --endpoints must be set: %d are", ways)
	}
	for _, text := range r.endpoints {
		address, err := netip.ParseAddrPort(text)
		if err != nil {
			return fmt.Errorf("--endpoints %s: %w", text, err)
		}
		o.endpoints = append(o.endpoints, address)
	}
	if r.selector != "" {
		set, err := labels.ConvertSelectorToLabelsMap(r.selector)
		if err != nil {
			return fmt.Errorf("--endpoint-selector %s: %w", r.selector, err)
		}
		if len(r.ports) == 0 {
			return hint.Errorf("--endpoint-target-ports 8000", "--endpoint-selector %s: --endpoint-target-ports must be set too", r.selector)
		}
		o.fixed = &inferencev1.InferencePoolSpec{}
		o.fixed.Selector.MatchLabels = map[inferencev1.LabelKey]inferencev1.LabelValue{}
		for key, value := range set {
			o.fixed.Selector.MatchLabels[inferencev1.LabelKey(key)] = inferencev1.LabelValue(value)
		}
	}
	for _, port := range r.ports {
		if port < 1 || port > 65535 || o.fixed == nil {
			return hint.Errorf("--endpoint-selector app=NAME --endpoint-target-ports 8000", "--endpoint-target-ports %d: not a port, or no --endpoint-selector", port)
		}
		o.fixed.TargetPorts = append(o.fixed.TargetPorts, inferencev1.Port{Number: inferencev1.PortNumber(port)})
	}
	o.pool = firstOf(o.pool, "static")
	return nil
}

func (o *options) validate() error {
	switch {
	case o.source.Scheme != "http" && o.source.Scheme != "https":
		return fmt.Errorf("--model-server-metrics-scheme %s: want http or https", o.source.Scheme)
	case o.source.Port < 0 || o.source.Port > 65535:
		return fmt.Errorf("--model-server-metrics-port %d: not a port", o.source.Port)
	case o.interval < 10*time.Millisecond:
		return fmt.Errorf("--refresh-metrics-interval %v: less than 10ms", o.interval)
	case o.staleness < o.interval:
		return hint.Errorf("set --metrics-staleness-threshold to several intervals",
			"--metrics-staleness-threshold %v: less than --refresh-metrics-interval %v", o.staleness, o.interval)
	case o.limits.Timeout <= 0 || o.limits.Bytes <= 0 || o.limits.Lines <= 0:
		return fmt.Errorf("--scrape-timeout, --scrape-max-bytes and --scrape-max-lines: must be positive")
	case o.workers < 1 || o.workers > 1024:
		return fmt.Errorf("--scrape-workers %d: not between 1 and 1024", o.workers)
	case o.maxChoice < 1 || o.maxChoice > 16:
		return fmt.Errorf("--max-endpoints %d: not between 1 and 16", o.maxChoice)
	case o.deadline < 0:
		return fmt.Errorf("--decision-timeout %v: negative", o.deadline)
	case o.prefixes.Block < 16 || o.prefixes.Block > 1<<20:
		return fmt.Errorf("--prefix-block-bytes %d: not between 16 and 1 MiB", o.prefixes.Block)
	case o.prefixes.Blocks < 1 || o.prefixes.Blocks > prefix.MaxBlocks:
		return fmt.Errorf("--prefix-max-blocks %d: not between 1 and %d", o.prefixes.Blocks, prefix.MaxBlocks)
	case o.prefixes.Entries < 256 || o.prefixes.Entries > 1<<24:
		return fmt.Errorf("--prefix-index-entries %d: not between 256 and 16,777,216", o.prefixes.Entries)
	case o.prefixes.Window < time.Second:
		return fmt.Errorf("--prefix-window %v: less than 1s", o.prefixes.Window)
	case o.shedQueue <= 0 || o.shedKVCache <= 0:
		return fmt.Errorf("--shed-queue-threshold %v, --shed-kv-cache-threshold %v: must be positive", o.shedQueue, o.shedKVCache)
	case o.maxModels < 1:
		return fmt.Errorf("--max-model-labels %d: less than 1", o.maxModels)
	}
	return nil
}
