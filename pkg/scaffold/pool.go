package scaffold

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
)

// The failure modes of a pool: what becomes of requests while its picker is away.
const (
	FailOpen  = "FailOpen"  // the gateway chooses an endpoint
	FailClose = "FailClose" // they get 503
)

// maxTargetPorts is InferencePool v1's limit.
const maxTargetPorts = 8

// PoolOptions are what create pool was asked for.
type PoolOptions struct {
	About
	Provider    provider.Provider
	API         string // provider.PoolV1 or PoolV1alpha2; empty is the provider's newest
	Selector    map[string]string
	Ports       []int
	Picker      string // its Service; empty is PickerName
	PickerPort  int    // 0 is PickerPort
	FailureMode string // empty is FailOpen where the provider honours it
}

// Defaults fills in what is empty.
func (o PoolOptions) Defaults() PoolOptions {
	if o.API == "" {
		o.API = o.Provider.PoolAPIs[0]
	}
	if o.Picker == "" {
		o.Picker = PickerName(o.Name)
	}
	if o.PickerPort == 0 {
		o.PickerPort = PickerPort
	}
	if o.FailureMode == "" {
		o.FailureMode = FailOpen
		if o.Provider.FailOpen.Answer == provider.No {
			o.FailureMode = FailClose
		}
	}
	return o
}

// check refuses what the API or the provider does not have.
func (o PoolOptions) check() error {
	switch {
	case !slices.Contains(o.Provider.PoolAPIs, o.API):
		return hint.Errorf("--pool-api "+o.Provider.PoolAPIs[0], "%s reads no InferencePool of %s", o.Provider.Title, o.API)
	case len(o.Selector) == 0:
		return hint.Errorf("--selector app="+o.Name, "no Pods are selected")
	case len(o.Ports) == 0 || len(o.Ports) > maxTargetPorts:
		return hint.Errorf("--port 8000", "%d ports: a pool has 1 to %d", len(o.Ports), maxTargetPorts)
	case len(o.Ports) > 1 && o.API == provider.PoolV1alpha2:
		return hint.Errorf("--pool-api "+provider.PoolV1, "a pool of %s has one port, not %d", o.API, len(o.Ports))
	case o.FailureMode != FailOpen && o.FailureMode != FailClose:
		return hint.Errorf("--failure-mode "+FailOpen, "failure mode %q is neither %s nor %s", o.FailureMode, FailOpen, FailClose)
	case o.FailureMode == FailOpen && o.Provider.FailOpen.Answer == provider.No:
		return hint.Errorf("--failure-mode "+FailClose+" and two picker replicas (kubectl infer install endpoint-picker --replicas 2)",
			"%s %s, so a pool that says %s would promise what is not kept", o.Provider.Title, o.Provider.FailOpen.Note, FailOpen)
	}
	return nil
}

// Pool is an InferencePool, and on GKE the HealthCheckPolicy without which no
// request reaches it.
// Source: inference-extension v1.6.0 InferencePool v1, v0.5.1 InferencePool
// v1alpha2.
func Pool(o PoolOptions) ([]runtime.Object, error) {
	o = o.Defaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	selector := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(o.Selector)) {
		selector[k] = o.Selector[k]
	}
	var spec map[string]any
	if o.API == provider.PoolV1alpha2 {
		spec = map[string]any{
			"selector": selector, "targetPortNumber": int64(o.Ports[0]),
			"extensionRef": map[string]any{"name": o.Picker, "portNumber": int64(o.PickerPort), "failureMode": o.FailureMode},
		}
	} else {
		ports := make([]any, len(o.Ports))
		for i, p := range o.Ports {
			ports[i] = map[string]any{"number": int64(p)}
		}
		spec = map[string]any{
			"selector": map[string]any{"matchLabels": selector}, "targetPorts": ports,
			"endpointPickerRef": map[string]any{"name": o.Picker, "port": map[string]any{"number": int64(o.PickerPort)}, "failureMode": o.FailureMode},
		}
	}
	list := []runtime.Object{o.custom(o.API, "InferencePool", spec)}
	if o.Provider.Name == "gke" {
		list = append(list, o.custom("networking.gke.io/v1", "HealthCheckPolicy", map[string]any{
			"targetRef": map[string]any{"group": PoolGroupVersion(o.API).Group, "kind": "InferencePool", "name": o.Name},
			"default": map[string]any{
				"checkIntervalSec": int64(2), "timeoutSec": int64(2),
				"config": map[string]any{"type": "HTTP", "httpHealthCheck": map[string]any{"requestPath": "/health", "port": int64(o.Ports[0])}},
			},
		}))
	}
	return list, nil
}

// CheckWeighted refuses several weighted pools in a rule where the provider
// cannot, and returns what it does them wrong.
func CheckWeighted(p provider.Provider) (warning string, err error) {
	switch {
	case p.Weighted.Answer == provider.No:
		return "", hint.Errorf("let each pool have a route or rule of its own; or roll a LoRA adapter out inside one pool: kubectl infer create model; or take --provider istio, agentgateway or ngf",
			"%s: %s, so two pools cannot share a model", p.Title, p.Weighted.Note)
	case p.OwnPicker.Answer != provider.Yes:
		note := p.OwnPicker.Note
		if note == "" {
			note = "it is not known whether each pool's own picker is asked"
		}
		return fmt.Sprintf("%s, weighted pools: %s; prove it with kubectl infer verify split", p.Title, note), nil
	}
	return "", nil
}
