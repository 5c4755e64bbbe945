package scaffold_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/provider"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

// TestWhatCannotBeIsRefused: the error says why, the hint what to do.
func TestWhatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	pool := func(name string, change func(*scaffold.PoolOptions)) func() error {
		return func() error {
			o := scaffold.PoolOptions{Provider: named(t, name), Selector: map[string]string{"app": "m"}, Ports: []int{8000}}
			change(&o)
			_, err := scaffold.Pool(o)
			return err
		}
	}
	model := func(o scaffold.ModelOptions) func() error {
		return func() error { _, err := scaffold.ModelObjects(o); return err }
	}
	weighted := func(name string) func() error {
		return func() error { _, err := scaffold.CheckWeighted(named(t, name)); return err }
	}
	tests := map[string]struct {
		do   func() error
		says string
		hint string
	}{
		"a pool API that the gateway does not read": {pool("istio", func(o *scaffold.PoolOptions) { o.API = provider.PoolV1alpha2 }), "Istio reads no InferencePool", "--pool-api"},
		"fail-open where it is not kept":            {pool("envoy-gateway", func(o *scaffold.PoolOptions) { o.FailureMode = scaffold.FailOpen }), "always fails closed", "FailClose"},
		"two ports in v1alpha2":                     {pool("ack", func(o *scaffold.PoolOptions) { o.API, o.Ports = provider.PoolV1alpha2, []int{1, 2} }), "has one port", "--pool-api"},
		"a pool of no Pods":                         {pool("istio", func(o *scaffold.PoolOptions) { o.Selector = nil }), "no Pods are selected", "--selector"},
		"two pools for one model in AI Gateway":     {weighted("envoy-gateway"), "at most one InferencePool", "create model"},
		"targets of which some have a weight":       {model(scaffold.ModelOptions{Pool: "p", Targets: []scaffold.Target{{Name: "a", Weight: 1}, {Name: "b"}}}), "would get nothing", "--target"},
		"no target":                                 {model(scaffold.ModelOptions{Pool: "p"}), "no target", "--target"},
		"a body router that nobody would call":      {func() error { return scaffold.CheckBodyRouter(named(t, "ack")) }, "would never be called", "create routes"},
		"a body router that nobody can call":        {func() error { return scaffold.CheckBodyRouter(named(t, "ngf")) }, "cannot call", "clients send"},
		"a digest that is none":                     {scaffold.ServerOptions{Image: "x@sha256:12", Replicas: 1}.Check, "is no digest", "64"},
		"no replicas":                               {scaffold.ServerOptions{Image: "x"}.Check, "0 replicas", "--replicas"},
		"a range upside down":                       {scaffold.ServerOptions{Image: "x", Replicas: 1, MinReplicas: 3, MaxReplicas: 2}.Check, "no range", "--autoscale"},
		"an adapter under the model's own name": {func() error {
			_, err := scaffold.ModelServer(scaffold.ModelServerOptions{Model: "m", Adapters: []scaffold.Adapter{{Name: "m", Path: "x"}}, Replicas: 1, Port: 1})
			return err
		}, "given twice", "name of its own"},
		"a canary of a model that is not named": {func() error { return scaffold.AddCanary([]scaffold.Model{{Name: "a", Pool: "p"}}, "b=q") }, "no --model is called b", "--model b=POOL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.do()
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(hint.Of(err), tt.hint) {
				t.Errorf("got %v with hint %q, want %q with %q", err, hint.Of(err), tt.says, tt.hint)
			}
		})
	}
}

// TestWeightedPoolsAreWarnedOf where each may not be asked by its own picker.
func TestWeightedPoolsAreWarnedOf(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		warning, err := scaffold.CheckWeighted(p)
		if got := warning != "" || err != nil; got != (p.OwnPicker.Answer != provider.Yes) {
			t.Errorf("%s: warned or refused %t (%q, %v)", p.Name, got, warning, err)
		}
	}
}

// TestEveryProviderHasAProject, or says which class it needs.
func TestEveryProviderHasAProject(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		o := scaffold.ProjectOptions{
			About: scaffold.About{Name: "m", Namespace: "ns", Verb: "init"}, Provider: p, Gateway: "gw", Port: 80, Timeout: 1e9,
			Server: scaffold.ModelServerOptions{Model: "m", Simulated: true, Replicas: 1, Port: 8000}, Images: scaffold.Images{BodyRouter: "b", Picker: "p"},
		}
		if p.Name == "none" {
			if _, err := scaffold.Project(o); err == nil || !strings.Contains(hint.Of(err), "--gateway-class") {
				t.Errorf("none without a class: %v", err)
			}
			o.Class = "some"
		}
		files, err := scaffold.Project(o)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		for _, f := range files {
			onlyListedKinds(t, p, f)
		}
	}
}

// onlyListedKinds: of a gateway's own kinds a project has those that the table
// lists for it.
func onlyListedKinds(t *testing.T, p provider.Provider, f scaffold.File) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^apiVersion: (\S+)/\S+\nkind: (\S+)$`).FindAllStringSubmatch(string(f.Text), -1) {
		kind := schema.GroupKind{Group: m[1], Kind: m[2]}
		if ofAGateway(m[1]) && !slices.Contains(p.Kinds, kind) {
			t.Errorf("%s: %s has a %s, which the table does not list", p.Name, f.Name, kind)
		}
	}
}

// ofAGateway says whether a group belongs to one gateway.
func ofAGateway(group string) bool {
	for _, p := range provider.All() {
		if slices.ContainsFunc(p.Kinds, func(k schema.GroupKind) bool { return k.Group == group }) {
			return true
		}
	}
	return false
}
