package evidence

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// server is a model server's page with vLLM's names.
type server struct {
	picker         // for its lock
	tokens         int
	served, failed int // POSTs by status; a first token came for the served ones
}

func (s *server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name=\"m\"} %d\n", s.started)
	fmt.Fprintf(w, "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{model_name=\"m\"} %d\n", s.tokens)
	fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total{handler=\"/v1/chat/completions\",method=\"POST\",status=\"2xx\"} %d\n", s.served)
	fmt.Fprintf(w, "http_requests_total{handler=\"/v1/chat/completions\",method=\"POST\",status=\"5xx\"} %d\n", s.failed)
	fmt.Fprintf(w, "# TYPE vllm:time_to_first_token_seconds histogram\n")
	for _, edge := range []string{"0.5", "1", "+Inf"} {
		fmt.Fprintf(w, "vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=%q} %d\n", edge, s.served)
	}
	fmt.Fprintf(w, "vllm:time_to_first_token_seconds_sum{model_name=\"m\"} 1\nvllm:time_to_first_token_seconds_count{model_name=\"m\"} %d\n", s.served)
}

func (s *server) tell(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// witnessed is a rig whose pools have model servers with pages: one of stable's,
// and two of the canary's.
func witnessed(t *testing.T) (r *rig, stablePicker *picker, stable, first, second *server) {
	t.Helper()
	r, stablePicker = newRig(t), &picker{born: 1}
	for _, name := range []string{"stable-picker", "stable-0", "canary-0"} {
		if err := r.core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "default", name); err != nil {
			t.Fatal(err)
		}
	}
	r.addPicker("stable-picker", "stable", stablePicker)
	stable, first, second = &server{}, &server{}, &server{}
	for name, s := range map[string]*server{"stable-0": stable, "canary-0": first, "canary-1": second} {
		served := serve(t, s)
		pod := readyPod(name, map[string]string{"serves": strings.Split(name, "-")[0]})
		pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: served}}}}
		r.create(pod)
	}
	r.bind("errors < 5%")
	if r.arms.witness == nil {
		t.Fatal(r.arms.notes)
	}
	r.arms.Look(t.Context())
	return r, stablePicker, stable, first, second
}

func TestWhatThePodsTellBesideThePickers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stablePicker, canaryPicker func(*picker)
		stable, first, second      func(*server)
		says                       string
	}{
		"pods and pickers that agree have nothing to tell": {
			func(p *picker) { p.ok = 100 }, func(p *picker) { p.ok = 100 },
			func(s *server) { s.served = 100 }, func(s *server) { s.served = 50 }, func(s *server) { s.served = 50 }, "",
		},
		"a gateway that asks stable's picker for both pools": {
			func(p *picker) { p.ok = 200 }, func(*picker) {},
			func(s *server) { s.served = 100 }, func(s *server) { s.served = 50 }, func(s *server) { s.served = 50 },
			"wrong picker: by the pickers the canary answered 0.0% of 200 requests, by its pods 50.0% of 200",
		},
		"too few requests to tell": {
			func(p *picker) { p.ok = 60 }, func(*picker) {},
			func(s *server) { s.served = 30 }, func(s *server) { s.served = 15 }, func(s *server) { s.served = 15 }, "",
		},
		"requests that failed before a server are no wrong picker": {
			func(p *picker) { p.ok = 150 }, func(p *picker) { p.ok, p.bad = 50, 100 },
			func(s *server) { s.served = 150 }, func(s *server) { s.served = 25 }, func(s *server) { s.served = 25 }, "",
		},
		"one pod that all the harm is of": {
			func(p *picker) { p.ok = 200 }, func(p *picker) { p.ok, p.bad = 140, 60 },
			func(s *server) { s.served = 200 }, func(s *server) { s.served = 100 }, func(s *server) { s.served, s.failed = 40, 60 },
			`gate "errors < 5%" is all of pod canary-1; nothing does against its 1 others`,
		},
		"harm of all pods is nobody's": {
			func(p *picker) { p.ok = 200 }, func(p *picker) { p.ok, p.bad = 140, 60 },
			func(s *server) { s.served = 200 }, func(s *server) { s.served, s.failed = 70, 30 }, func(s *server) { s.served, s.failed = 70, 30 }, "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, stablePicker, stable, first, second := witnessed(t)
			stablePicker.set(tt.stablePicker)
			r.canary.set(tt.canaryPicker)
			stable.tell(tt.stable)
			first.tell(tt.first)
			second.tell(tt.second)
			got := strings.Join(r.arms.Look(t.Context()).Warnings, "; ")
			if (tt.says == "") != (got == "") || !strings.Contains(got, tt.says) {
				t.Errorf("got %q, want %q", got, tt.says)
			}
			r.arms.Moved()
			if got := r.arms.Look(t.Context()).Warnings; len(got) > 0 {
				t.Errorf("after a move it still says %q", got)
			}
		})
	}
}

func TestTheServersTellWhetherACanaryOutOfSightAnswers(t *testing.T) {
	t.Parallel()
	r, _, _, first, second := witnessed(t)
	r.canary.set(func(p *picker) { p.down = true })
	first.tell(func(s *server) { s.started = 3 })
	got := r.arms.Look(t.Context()).Canary
	if got.Blind == "" || got.Servers == nil || got.Servers.Running != 3 || got.Servers.Progress != 0 {
		t.Errorf("three requests run and none is answered: %+v, servers %+v", got, got.Servers)
	}
	second.tell(func(s *server) { s.tokens = 7 })
	if got := r.arms.Look(t.Context()).Canary; got.Servers == nil || got.Servers.Progress != 7 {
		t.Errorf("seven tokens came: servers %+v", got.Servers)
	}
	for _, s := range []*server{first, second} {
		s.tell(func(s *server) { s.down = true })
	}
	if got := r.arms.Look(t.Context()).Canary; got.Servers != nil {
		t.Errorf("no server was heard: %+v", got.Servers)
	}
}
