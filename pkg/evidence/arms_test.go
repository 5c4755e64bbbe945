package evidence

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
)

// picker is a metrics page that a test changes between looks.
type picker struct {
	mu                     sync.Mutex
	down                   bool
	born                   int
	started, ok, bad, none int
	fast, slow             int // streaming answers under 400 ms, and above 1 s
	overdue                int // unanswered beyond every edge
}

func (p *picker) set(change func(*picker)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *picker) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	const l = `{namespace="default",pool="p",model="m",target_model="m"`
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	var b strings.Builder
	fmt.Fprintf(&b, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %d\n", p.born)
	fmt.Fprintf(&b, "# TYPE infer_picker_ready_endpoints gauge\ninfer_picker_ready_endpoints 2\n")
	fmt.Fprintf(&b, "# TYPE infer_picker_requests_started_total counter\ninfer_picker_requests_started_total%s} %d\n", l, p.started)
	fmt.Fprintf(&b, "# TYPE infer_picker_requests_finished_total counter\n")
	for code, n := range map[string]int{"200": p.ok, "503": p.bad, "none": p.none, "404": 1, "drained": 1} {
		fmt.Fprintf(&b, "infer_picker_requests_finished_total%s,code=%q} %d\n", l, code, n)
	}
	fmt.Fprintf(&b, "# TYPE infer_picker_requests_unanswered gauge\ninfer_picker_requests_unanswered%s} %d\n", l, p.overdue)
	fmt.Fprintf(&b, "# TYPE infer_picker_ttft_seconds histogram\n")
	for streaming, share := range map[string]int{"true": 1, "false": 100} {
		h := fmt.Sprintf("infer_picker_ttft_seconds_bucket%s,streaming=%q", l, streaming)
		fmt.Fprintf(&b, "%s,le=\"0.4\"} %d\n%s,le=\"0.8\"} %d\n%s,le=\"1\"} %d\n%s,le=\"+Inf\"} %d\n",
			h, p.fast*share, h, p.fast*share, h, p.fast*share, h, (p.fast+p.slow)*share)
		fmt.Fprintf(&b, "infer_picker_ttft_seconds_sum%s,streaming=%q} 1\ninfer_picker_ttft_seconds_count%s,streaming=%q} %d\n",
			l, streaming, l, streaming, (p.fast+p.slow)*share)
	}
	_, _ = w.Write([]byte(b.String()))
}

// rig is two arms over a fake cluster: canary pickers can be added and taken.
type rig struct {
	t      *testing.T
	core   *fake.Clientset
	arms   *Arms
	canary *picker
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, core: fake.NewClientset(), canary: &picker{born: 1}}
	r.addPicker("stable-picker", "stable", &picker{born: 1})
	r.addPicker("canary-picker", "canary", r.canary)
	r.addServer("stable-0", "stable")
	r.addServer("canary-0", "canary")
	pool := func(name string) Pool {
		return Pool{
			Namespace: "default", Name: name,
			Servers: labels.SelectorFromSet(labels.Set{"serves": name}), Pickers: labels.SelectorFromSet(labels.Set{"picks": name}),
		}
	}
	r.arms = New(&kube.Clients{Core: r.core, Namespace: "default"}, pool("stable"), pool("canary"), Options{Via: Direct})
	t.Cleanup(r.arms.Close)
	return r
}

func (r *rig) bind(gates ...string) {
	r.t.Helper()
	var exprs []gate.Expr
	for _, text := range gates {
		e, err := gate.Parse(text)
		if err != nil {
			r.t.Fatal(err)
		}
		exprs = append(exprs, e)
	}
	if err := r.arms.Bind(r.t.Context(), exprs); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) addPicker(name, picks string, p *picker) {
	r.t.Helper()
	pod := readyPod(name, map[string]string{"picks": picks})
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: serve(r.t, p)}}}}
	r.create(pod)
}

// serve serves a page until the test ends, and says at which port.
func serve(t *testing.T, page http.Handler) int32 {
	t.Helper()
	server := httptest.NewServer(page)
	t.Cleanup(server.Close)
	return portOf(t, server)
}

func portOf(t *testing.T, server *httptest.Server) int32 {
	t.Helper()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

func (r *rig) addServer(name, serves string) {
	r.t.Helper()
	r.create(readyPod(name, map[string]string{"serves": serves}))
}

func (r *rig) create(pod *corev1.Pod) {
	r.t.Helper()
	if _, err := r.core.CoreV1().Pods("default").Create(r.t.Context(), pod, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func readyPod(name string, set map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Labels: set},
		Status: corev1.PodStatus{
			PodIP:      "127.0.0.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

func TestWhatALookCounts(t *testing.T) {
	t.Parallel()
	type want struct {
		started, finished uint64
		errors, ttft      []uint64
	}
	tests := map[string]struct {
		between func(r *rig)
		want    want
	}{
		"increments since the previous look, 5xx and unanswered being bad": {
			func(r *rig) {
				r.canary.set(func(p *picker) { p.started, p.ok, p.bad, p.none, p.fast, p.slow = 12, 7, 2, 1, 6, 3 })
			},
			want{12, 10, []uint64{7, 3}, []uint64{6, 0, 0, 3}},
		},
		"a restarted picker counts what it did since its start": {
			func(r *rig) {
				r.canary.set(func(p *picker) { p.ok = 50 })
				r.arms.Look(r.t.Context())
				r.canary.set(func(p *picker) { p.ok, p.born = 3, 2 })
			},
			want{0, 5, []uint64{5, 0}, []uint64{0, 0, 0, 0}}, // 3 and the two fixed codes
		},
		"a missed scrape loses nothing": {
			func(r *rig) {
				r.canary.set(func(p *picker) { p.ok, p.down = 4, true })
				if a := r.arms.Look(r.t.Context()).Canary; a.Blind == "" || a.Finished != 0 {
					r.t.Errorf("a page that cannot be read: %+v", a)
				}
				r.canary.set(func(p *picker) { p.ok, p.down = 9, false })
			},
			want{0, 9, []uint64{9, 0}, []uint64{0, 0, 0, 0}},
		},
		"a picker that came later counts in full": {
			func(r *rig) { r.addPicker("canary-picker-2", "canary", &picker{born: 9, started: 5, ok: 4, bad: 1}) },
			want{5, 7, []uint64{6, 1}, []uint64{0, 0, 0, 0}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.bind("errors < 1%", "ttft p95 < 800ms")
			r.arms.Look(t.Context())
			tt.between(r)
			got := r.arms.Look(t.Context()).Canary
			if got.Blind != "" {
				t.Fatal(got.Blind)
			}
			if got.Started != tt.want.started || got.Finished != tt.want.finished ||
				!slices.Equal(got.Values[0], tt.want.errors) || !slices.Equal(got.Values[1], tt.want.ttft) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRequestsThatNoBucketShowsAreToldOf(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bind("ttft p95 < 800ms")
	r.canary.set(func(p *picker) { p.overdue = 3 })
	if got := r.arms.Look(t.Context()).Warnings; len(got) != 1 || !strings.HasPrefix(got[0], "unanswered: 3 requests of the canary") {
		t.Errorf("three requests wait for ever: %q", got)
	}
	r.canary.set(func(p *picker) { p.overdue = 0 })
	if got := r.arms.Look(t.Context()).Warnings; len(got) > 0 {
		t.Errorf("none waits any more: %q", got)
	}
}

func TestWhatAPickerCountedBeforeTheFirstLookBelongsToNoWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bind("errors < 1%")
	late := &picker{born: 1, down: true, ok: 1000, bad: 1000}
	r.addPicker("canary-late", "canary", late)
	r.arms.Look(t.Context())
	late.set(func(p *picker) { p.down = false })
	if got := r.arms.Look(t.Context()).Canary; got.Values[0][1] != 0 {
		t.Errorf("a picker reached late brought its past with it: %d", got.Values[0])
	}
}

func TestLevelsComeFromPods(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bind("errors < 1%")
	if a := r.arms.Look(t.Context()).Canary; a.Ready != 1 || a.Restarts != 0 {
		t.Fatalf("at first: %+v", a)
	}
	pod := readyPod("canary-0", map[string]string{"serves": "canary"})
	pod.Status.Conditions[0].Status = corev1.ConditionFalse
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 2}}
	if _, err := r.core.CoreV1().Pods("default").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if a := r.arms.Look(t.Context()).Canary; a.Ready != 0 || a.Restarts != 2 {
		t.Errorf("after two restarts: %+v", a)
	}
}

func TestBindRefusesWhatCannotBeFed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		gate string
		set  func(*picker)
		says string
	}{
		"metrics that cannot be reached": {"errors < 1%", func(p *picker) { p.down = true }, "status"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if tt.set != nil {
				r.canary.set(tt.set)
			}
			e, err := gate.Parse(tt.gate)
			if err != nil {
				t.Fatal(err)
			}
			if err = r.arms.Bind(t.Context(), []gate.Expr{e}); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v does not say %q", err, tt.says)
			}
		})
	}
}

// TestTheWayIsTheFirstThatReachesEveryPicker serves the metrics only behind an
// API server's pod proxy: the pods' own addresses lead nowhere.
func TestTheWayIsTheFirstThatReachesEveryPicker(t *testing.T) {
	t.Parallel()
	page := &picker{born: 1, ok: 3}
	asked := make(chan string, 16)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/proxy/metrics"):
			asked <- r.URL.Path + " " + r.Header.Get("Authorization")
			page.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(api.Close)
	clients, err := kube.ForConfig(&rest.Config{Host: api.URL, BearerToken: "token"}, "default")
	if err != nil {
		t.Fatal(err)
	}
	unreachable := func(name string) corev1.Pod {
		pod := readyPod(name, nil)
		pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 1}}}}
		return *pod
	}
	a := New(clients, Pool{Name: "stable"}, Pool{Name: "canary"}, Options{})
	a.preset.at = atPickers
	t.Cleanup(a.Close)
	a.stable().pods.pickers = []corev1.Pod{unreachable("stable-picker")}
	a.canary().pods.pickers = []corev1.Pod{unreachable("canary-picker")}
	pages, err := a.settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Via() != PodProxy || len(pages) != 2 {
		t.Errorf("settled on %s with %d pages", a.Via(), len(pages))
	}
	want := "/api/v1/namespaces/default/pods/stable-picker:1/proxy/metrics Bearer token"
	if got := <-asked; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestNoWayNamesEveryWay(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	clients, err := kube.ForConfig(&rest.Config{Host: api.URL}, "default")
	if err != nil {
		t.Fatal(err)
	}
	pod := readyPod("picker", nil)
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 1}}}}
	a := New(clients, Pool{Name: "stable"}, Pool{Name: "canary"}, Options{})
	a.preset.at = atPickers
	t.Cleanup(a.Close)
	a.stable().pods.pickers, a.canary().pods.pickers = []corev1.Pod{*pod}, []corev1.Pod{*pod}
	_, err = a.settle(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	for _, way := range []string{"direct", "pod-proxy", "port-forward"} {
		if !strings.Contains(err.Error(), way) {
			t.Errorf("error does not name %s: %v", way, err)
		}
	}
}
