package server

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter"
	"github.com/kubectl-infer/kubectl-infer/pkg/bodyrouter/adapters"
	"github.com/kubectl-infer/kubectl-infer/pkg/extproc"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

// The values of --adapter-maps.
const (
	mapsAuto = "auto"
	mapsOn   = "on"
	mapsOff  = "off"
)

// adapterOptions say where adapter ConfigMaps are followed.
type adapterOptions struct {
	use, namespace, kubeconfig string
}

func (o *adapterOptions) addFlags(fs *pflag.FlagSet, getenv func(string) string) {
	fs.StringVar(&o.use, "adapter-maps", mapsAuto, "follow the labelled ConfigMaps that name each adapter's base model: on, off, or auto: where there is an API server")
	fs.StringVar(&o.namespace, "namespace", getenv("NAMESPACE"), "namespace of these ConfigMaps; empty is all of them (default: $NAMESPACE)")
	fs.StringVar(&o.kubeconfig, "kubeconfig", getenv("KUBECONFIG"), "file to reach the API server with (default: $KUBECONFIG, else in-cluster)")
}

func (o *adapterOptions) validate() error {
	switch o.use {
	case mapsAuto, mapsOn, mapsOff:
		return nil
	}
	return fmt.Errorf("--adapter-maps %q: none of %s, %s and %s", o.use, mapsAuto, mapsOn, mapsOff)
}

// watcher returns none when no ConfigMap is to be followed.
func (o *adapterOptions) watcher(log *slog.Logger) (*adapters.Watcher, error) {
	if o.use == mapsOff {
		return nil, nil
	}
	config, err := o.config()
	if errors.Is(err, rest.ErrNotInCluster) && o.use == mapsAuto {
		log.Info("no API server: no base model header is set", "flag", "--adapter-maps=auto")
		return nil, nil
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("load Kubernetes configuration: %w", err), "--adapter-maps=off needs none")
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build Kubernetes client: %w", err)
	}
	return &adapters.Watcher{Client: client, Namespace: o.namespace, Log: log}, nil
}

func (o *adapterOptions) config() (*rest.Config, error) {
	if o.kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", o.kubeconfig)
}

// publisher shows each adapter map in the metrics and in the readiness detail.
func publisher(s *extproc.Server, r prometheus.Registerer) func(*adapters.Map, bool, error) {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: bodyrouter.MetricsNamespace + "_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	names := gauge("adapter_names", "Model names in the adapter ConfigMaps.")
	conflicts := gauge("adapter_conflicts", "Names that ConfigMaps give different base models; the oldest wins.")
	invalid := gauge("adapter_maps_invalid", "Adapter ConfigMaps, or names in them, that were left out.")
	return func(m *adapters.Map, synced bool, err error) {
		names.Set(float64(m.Len()))
		conflicts.Set(float64(len(m.Conflicts)))
		invalid.Set(float64(len(m.Invalid)))
		detail := []string{fmt.Sprintf("adapter map: %d names", m.Len())}
		if !synced {
			detail = []string{"adapter map: waiting for the ConfigMaps"}
		}
		if err != nil {
			detail = append(detail, "adapter map: "+err.Error())
		}
		detail = append(append(detail, m.Conflicts...), m.Invalid...)
		s.SetReady(synced, detail...)
	}
}
