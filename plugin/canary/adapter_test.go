package canary

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/journal"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/rollout"
	"github.com/kubectl-infer/kubectl-infer/plugin/exit"
)

// fleet are model servers, one on each address of 127.0.0.0/8, at one port.
type fleet struct {
	t       *testing.T
	clients *kube.Clients
	store   *journal.Store
	port    int32

	mu     sync.Mutex
	loaded map[string][]string // by pod
	broken string              // a pod that refuses to load
	calls  []string
	early  bool // a pod was asked before it was in the journal
}

func newFleet(t *testing.T, pods map[string][]string, objects ...runtime.Object) *fleet {
	t.Helper()
	core := fake.NewClientset()
	kinds := map[schema.GroupVersionResource]string{
		kube.InferenceModels(): "InferenceModelList", kube.ModelRewrites(): "InferenceModelRewriteList", kube.LLMDModelRewrites(): "InferenceModelRewriteList",
	}
	f := &fleet{t: t, loaded: pods, clients: &kube.Clients{
		Core: core, Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...), Namespace: "default",
	}}
	f.store = journal.New(core, "default", "inferencemodel", "lora")
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { server.Close() })
	for i, name := range slices.Sorted(maps.Keys(pods)) {
		address := fmt.Sprintf("127.0.77.%d", i+1)
		listener, err := net.Listen("tcp", address+":"+strconv.Itoa(int(f.port)))
		if err != nil {
			t.Fatal(err)
		}
		f.port = int32(listener.Addr().(*net.TCPAddr).Port)
		go func() { _ = server.Serve(listener) }()
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Labels: map[string]string{"app": "m"}},
			Status:     corev1.PodStatus{PodIP: address, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
		if _, err := core.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// ServeHTTP is vLLM's API for adapters, of the pod whose address was asked.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	host, _, _ := net.SplitHostPort(r.Host)
	var pod string
	for i, name := range slices.Sorted(maps.Keys(f.loaded)) {
		if host == fmt.Sprintf("127.0.77.%d", i+1) {
			pod = name
		}
	}
	var body struct {
		Name string `json:"lora_name"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch r.URL.Path {
	case "/v1/models":
		var data []map[string]string
		for _, name := range f.loaded[pod] {
			data = append(data, map[string]string{"id": name})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
		return
	case "/v1/load_lora_adapter":
		f.calls = append(f.calls, "load "+body.Name+" "+pod)
		written, err := journal.New(f.clients.Core, "default", "inferencemodel", "lora").Load(r.Context())
		f.early = f.early || err != nil || !slices.Contains(written.Loaded.Pods, rollout.LoadedPod{Name: pod, UID: "uid-" + pod})
		if pod == f.broken {
			http.Error(w, "no such path", http.StatusBadRequest)
			return
		}
		f.loaded[pod] = append(f.loaded[pod], body.Name)
	case "/v1/unload_lora_adapter":
		f.calls = append(f.calls, "unload "+body.Name+" "+pod)
		if !slices.Contains(f.loaded[pod], body.Name) {
			http.Error(w, "cannot be found", http.StatusNotFound)
			return
		}
		f.loaded[pod] = slices.DeleteFunc(slices.Clone(f.loaded[pod]), func(name string) bool { return name == body.Name })
	}
}

// has is what every pod lists.
func (f *fleet) has() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(f.loaded)) {
		all = append(all, name+"="+strings.Join(f.loaded[name], "+"))
	}
	return strings.Join(all, " ")
}

// begun is a run that is prepared, as far as loading needs it.
func (f *fleet) begun() *prepared {
	pool := evidence.Pool{Namespace: "default", Name: "p", Servers: labels.SelectorFromSet(labels.Set{"app": "m"}), Ports: []int32{f.port}}
	arms := evidence.New(f.clients, pool, pool, evidence.Options{Via: evidence.Direct})
	f.t.Cleanup(arms.Close)
	plan := rollout.Plan{Target: "inferencemodel/lora", Namespace: "default", Stable: "v1", Canary: "v2", LoadAdapter: "v2=/models/v2"}
	record := rollout.Record{Format: rollout.RecordFormat, Run: "r", Epoch: 1, Write: 1, Plan: plan, Phase: rollout.Ready, Goal: rollout.Baseline}
	return &prepared{family: family{}, store: f.store, record: record, evidence: arms}
}

func (f *fleet) load(p *prepared) error {
	o := &runOptions{probe: probing{mode: probeNone}}
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	return o.load(f.t.Context(), f.clients, p, newReporter(streams, time.Now))
}

func (f *fleet) settle(record *rollout.Record) {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	unwanted(f.t.Context(), f.clients, evidence.Direct, f.store, record, newReporter(streams, time.Now))
}

func TestAnAdapterIsLoadedWhereItIsMissingAndUnloadedThere(t *testing.T) {
	t.Parallel()
	f := newFleet(t, map[string][]string{"a": {"base"}, "b": {"base", "v2"}, "c": {"base"}})
	p := f.begun()
	if err := f.load(p); err != nil {
		t.Fatal(err)
	}
	if got := f.has(); got != "a=base+v2 b=base+v2 c=base+v2" || f.early {
		t.Errorf("loaded %s; asked before it was written down: %t", got, f.early)
	}
	// The process dies here; another one takes the rollout back by the journal alone.
	record, err := f.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	record.Phase = rollout.RolledBack
	f.settle(&record)
	if got := f.has(); got != "a=base b=base+v2 c=base" {
		t.Errorf("undone: %s", got)
	}
	if left, err := f.store.Load(t.Context()); err != nil || left.Loaded != nil {
		t.Errorf("the journal still has %+v, %v", left.Loaded, err)
	}
}

func TestAPromotedAdapterStays(t *testing.T) {
	t.Parallel()
	f := newFleet(t, map[string][]string{"a": {"base"}})
	p := f.begun()
	if err := f.load(p); err != nil {
		t.Fatal(err)
	}
	p.record.Phase = rollout.Promoted
	f.settle(&p.record)
	if got := f.has(); got != "a=base+v2" {
		t.Errorf("promoted: %s", got)
	}
}

func TestAnAdapterThatOnePodRefusesIsLoadedOnNone(t *testing.T) {
	t.Parallel()
	f := newFleet(t, map[string][]string{"a": {"base"}, "b": {"base"}})
	f.broken = "b"
	err := f.load(f.begun())
	if exit.CodeOf(err) != exit.PreflightRefused || !strings.Contains(err.Error(), "no such path") || !strings.Contains(hint.Of(err), "kubectl logs b") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	if got := f.has(); got != "a=base b=base" {
		t.Errorf("left %s", got)
	}
	if record, err := f.store.Load(t.Context()); err != nil || record.Phase != rollout.RolledBack || record.Unwanted() {
		t.Errorf("journal %s, %+v, %v", record.Phase, record.Loaded, err)
	}
}

func TestAPodOfThatNameThatIsAnotherKeepsItsAdapter(t *testing.T) {
	t.Parallel()
	f := newFleet(t, map[string][]string{"a": {"base", "v2"}})
	p := f.begun()
	p.record.Phase = rollout.RolledBack
	p.record.Loaded = &rollout.Loaded{Name: "v2", Port: f.port, Pods: []rollout.LoadedPod{{Name: "a", UID: "the one before"}}}
	f.settle(&p.record)
	if got := f.has(); got != "a=base+v2" {
		t.Errorf("left %s", got)
	}
}

func TestAnAdapterThatSomebodyElseUsesByNowStays(t *testing.T) {
	t.Parallel()
	other := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceModelRewrite", "metadata": map[string]any{"name": "other", "namespace": "default"},
		"spec": map[string]any{"rules": []any{map[string]any{"targets": []any{map[string]any{"modelRewrite": "v2"}}}}},
	}}
	f := newFleet(t, map[string][]string{"a": {"base"}}, other)
	p := f.begun()
	if err := f.load(p); err != nil {
		t.Fatal(err)
	}
	p.record.Phase = rollout.RolledBack
	f.settle(&p.record)
	if got := f.has(); got != "a=base+v2" {
		t.Errorf("left %s", got)
	}
}

func TestOnlyAdaptersOfTheCanaryAreLoaded(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct{ load, want string }{
		"the canary":      {"v2=/models/v2", ""},
		"a path with =":   {"v2=s3://a?b=c", ""},
		"another name":    {"v3=/models/v3", "is not NAME=PATH of the canary v2"},
		"no path":         {"v2", "is not NAME=PATH"},
		"an empty path":   {"v2=", "is not NAME=PATH"},
		"nothing to load": {"", ""},
	} {
		plan := rollout.Plan{
			Target: "inferencemodel/lora", Stable: "v1", Canary: "v2", Steps: []int{5}, Gates: rollout.DefaultGates(), Bake: time.Minute,
			ScrapeInterval: time.Second, Alpha: 0.01, LoadAdapter: tc.load,
		}.Complete()
		if err := plan.Validate(); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	if err := (&prepared{record: rollout.Record{Plan: rollout.Plan{Target: "httproute/chat", LoadAdapter: "v2=/x"}}}).planLoad(t.Context()); exit.CodeOf(err) != exit.Usage {
		t.Errorf("a route's pools: %v", err)
	}
	pool := evidence.Pool{Ports: []int32{8000, 8001}}
	arms := evidence.New(&kube.Clients{}, pool, pool, evidence.Options{})
	t.Cleanup(arms.Close)
	several := &prepared{family: families()[1], evidence: arms, record: rollout.Record{Plan: rollout.Plan{LoadAdapter: "v2=/x"}}}
	if err := several.planLoad(t.Context()); err == nil || !strings.Contains(err.Error(), "2 engines") {
		t.Errorf("several engines in a pod: %v", err)
	}
}
