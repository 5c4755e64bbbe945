// Package prometheus_test takes evidence from a real Prometheus.
package prometheus_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubectl-infer/kubectl-infer/pkg/evidence"
	"github.com/kubectl-infer/kubectl-infer/pkg/gate"
	"github.com/kubectl-infer/kubectl-infer/pkg/kube"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/assets"
)

// patience bounds every wait; a scrape comes every 200 ms.
const patience = 30 * time.Second

// picker is an endpoint picker's page with a classic and a native histogram.
type picker struct {
	started      client.Counter
	finished     *client.CounterVec
	ttft, length client.Observer
	port         int32
}

func newPicker(t *testing.T) *picker {
	t.Helper()
	registry := client.NewRegistry()
	model := client.Labels{"namespace": "default", "pool": "p", "model": "m", "target_model": "m"}
	p := &picker{
		started:  client.NewCounter(client.CounterOpts{Name: "infer_picker_requests_started_total", ConstLabels: model}),
		finished: client.NewCounterVec(client.CounterOpts{Name: "infer_picker_requests_finished_total", ConstLabels: model}, []string{"code"}),
	}
	ttft := client.NewHistogramVec(client.HistogramOpts{Name: "infer_picker_ttft_seconds", ConstLabels: model, Buckets: []float64{0.5, 1, 2}}, []string{"streaming"})
	length := client.NewHistogram(client.HistogramOpts{Name: "infer_picker_request_duration_seconds", ConstLabels: model, NativeHistogramBucketFactor: 1.1})
	p.ttft, p.length = ttft.WithLabelValues("true"), length
	registry.MustRegister(p.started, p.finished, ttft, length)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	p.port = int32(n)
	return p
}

// serve counts n requests, of which bad fail and slow take long.
func (p *picker) serve(n, bad, slow int) {
	for i := range n {
		p.started.Inc()
		code, seconds := "200", 0.3
		if i < bad {
			code = "503"
		}
		if i >= n-slow {
			seconds = 1.5
		}
		p.finished.WithLabelValues(code).Inc()
		p.ttft.Observe(seconds)
		p.length.Observe(seconds)
	}
}

func (p *picker) pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name), Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: p.port}}}}},
		Status: corev1.PodStatus{
			PodIP: "127.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

// start runs a Prometheus that scrapes the targets; labelled adds the pod label
// that the usual relabelling sets.
func start(t *testing.T, labelled bool, targets map[string]*picker) string {
	t.Helper()
	store, err := assets.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	program, err := store.Find(t.Context(), assets.Prometheus)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	dir := t.TempDir()
	config := "global: {scrape_interval: 200ms}\nscrape_configs:\n- job_name: pods\n  scrape_native_histograms: true\n  static_configs:\n"
	for name, p := range targets {
		config += fmt.Sprintf("  - targets: [\"127.0.0.1:%d\"]\n", p.port)
		if labelled {
			config += fmt.Sprintf("    labels: {pod: %s, namespace: default}\n", name)
		}
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program.Path, "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+address, "--log.level=error")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	eventually(t, "Prometheus is ready", func() bool {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "http://" + address
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// TestCountsFromAPrometheusAreThoseOfThePods holds the sums of many looks against
// what was served, for classic and native histograms and both ways to know a
// pod.
func TestCountsFromAPrometheusAreThoseOfThePods(t *testing.T) {
	t.Parallel()
	for name, labelled := range map[string]bool{"by the pod label": true, "by the instance": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stable, canary := newPicker(t), newPicker(t)
			stable.serve(500, 50, 5) // of before, and so of no window
			canary.serve(300, 30, 3)
			address := start(t, labelled, map[string]*picker{"stable": stable, "canary": canary})
			core := fake.NewClientset(stable.pod("stable"), canary.pod("canary"))
			pool := func(name string) evidence.Pool {
				return evidence.Pool{Namespace: "default", Name: name, Pickers: labels.SelectorFromSet(labels.Set{"app": name})}
			}
			arms := evidence.New(&kube.Clients{Core: core, Namespace: "default"}, pool("stable"), pool("canary"), evidence.Options{Prometheus: address})
			t.Cleanup(arms.Close)
			var exprs []gate.Expr
			for _, text := range []string{"errors < 1%", "ttft p95 < 1s", "e2e p95 < 1s", `promql "sum(infer_picker_requests_started_total)" < 1000`} {
				e, err := gate.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				exprs = append(exprs, e)
			}
			var err error
			eventually(t, "both pods were scraped", func() bool { err = arms.Bind(t.Context(), exprs); return err == nil })
			if every, err := arms.Interval(t.Context()); err != nil || every > 5*time.Second {
				t.Errorf("interval %v, %v", every, err)
			}
			arms.Look(t.Context())
			stable.serve(40, 4, 2)
			canary.serve(60, 6, 3)
			var started, errors, slow, long uint64
			look := func() bool {
				got := arms.Look(t.Context()).Canary
				if got.Blind != "" {
					t.Fatal(got.Blind)
				}
				started += got.Started
				errors += got.Values[0][1]
				slow += beyond(got.Values[1], arms.Edges()[1], 1)
				long += beyond(got.Values[2], arms.Edges()[2], 1)
				return started == 60
			}
			eventually(t, "the requests are counted", look)
			canary.serve(7, 7, 7)
			eventually(t, "the next ones too", func() bool { look(); return started == 67 })
			var last []gate.Answer // both pods' counters, by a query of the user's
			eventually(t, "the query sees them", func() bool {
				last = arms.Look(t.Context()).Answers
				return len(last) == 1 && last[0].Value == 500+300+40+60+7
			})
			if errors != 13 || slow != 10 || long != 10 {
				t.Errorf("errors %d, slow %d, long %d of 67; served were 13, 10, 10", errors, slow, long)
			}
		})
	}
}

// beyond counts what lies above an edge.
func beyond(row []uint64, edges []float64, limit float64) uint64 {
	var n uint64
	for i, count := range row {
		if i == len(edges) || edges[i] > limit*(1+1e-9) {
			n += count
		}
	}
	return n
}

func TestAPrometheusThatIsAwayIsBlindness(t *testing.T) {
	t.Parallel()
	p := newPicker(t)
	core := fake.NewClientset(p.pod("stable"), p.pod("canary"))
	pool := evidence.Pool{Namespace: "default", Name: "stable", Pickers: labels.SelectorFromSet(labels.Set{"app": "stable"})}
	arms := evidence.New(&kube.Clients{Core: core, Namespace: "default"}, pool, pool, evidence.Options{Prometheus: "http://127.0.0.1:1"})
	t.Cleanup(arms.Close)
	if err := arms.Bind(t.Context(), nil); err == nil {
		t.Error("a Prometheus that nobody can reach was accepted")
	}
}
