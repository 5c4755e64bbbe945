package podrunner

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
)

func TestReadinessFollowsThresholds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		results string // . is a success, x a failure
		want    string // R after the result: ready, - not
	}{
		"ready after successThreshold in a row":                        {"..", "-R"},
		"a failure between starts the count anew":                      {".x..", "---R"},
		"unready only after failureThreshold in a row, and back again": {"..xx.xxx..", "-RRRRRR--R"},
	}
	for rule, tt := range tests {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			r := readiness{successThreshold: 2, failureThreshold: 3}
			got := ""
			for _, result := range tt.results {
				r.observe(result == '.')
				if r.ready {
					got += "R"
				} else {
					got += "-"
				}
			}
			if got != tt.want {
				t.Errorf("%s gives %s, want %s", tt.results, got, tt.want)
			}
		})
	}
}

func TestBackoffDoublesAndForgets(t *testing.T) {
	t.Parallel()
	var b backoff
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if got := b.next(time.Second); got != want*time.Second {
			t.Errorf("wait %d is %s, want %ds", i, got, want)
		}
	}
	if got := b.next(backoffForget); got != backoffFirst {
		t.Errorf("after a long run the wait is %s, want %s", got, backoffFirst)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Labels: map[string]string{"app": "qwen"}}}
	from := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	c := corev1.Container{Env: []corev1.EnvVar{
		{Name: "PORT", Value: "81"},
		{Name: "URL", Value: "http://$(POD_IP):$(PORT)/$(LATER)$$(PORT)"},
		{Name: "LATER", Value: "x"},
		{Name: "IP", ValueFrom: from("status.podIP")},
		{Name: "APP", ValueFrom: from("metadata.labels['app']")},
		{Name: "SA", ValueFrom: from("spec.serviceAccountName")},
		{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}},
	}}
	got := environment(map[string]string{"POD_IP": "127.9.2.1"}, p, c)
	want := []string{
		"APP=qwen", "IP=127.9.2.1", "LATER=x", "POD_IP=127.9.2.1", "PORT=81", "SA=default",
		"URL=http://127.9.2.1:81/$(LATER)$(PORT)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestAddressesAreNotReusedAtOnce(t *testing.T) {
	t.Parallel()
	a := newAddresses(9)
	first, err := a.allocate()
	if err != nil {
		t.Fatal(err)
	}
	a.release(first)
	second, err := a.allocate()
	if err != nil {
		t.Fatal(err)
	}
	if first.String() != "127.9.2.1" || second.String() != "127.9.2.2" {
		t.Errorf("got %s then %s, want 127.9.2.1 then 127.9.2.2", first, second)
	}
	for range podAddresses - 1 {
		if _, err := a.allocate(); err != nil {
			t.Fatal(err)
		}
	}
	if extra, err := a.allocate(); err == nil {
		t.Errorf("all are taken, and yet %s was given", extra)
	}
}

func TestFaultsOfThePodWin(t *testing.T) {
	t.Parallel()
	d := deployment(1)
	d.Annotations = map[string]string{FaultsAnnotation: `{"slowFactor":4}`}
	p := &corev1.Pod{}
	if got, err := wantedFaults(p, d); err != nil || got.SlowFactor != 4 {
		t.Errorf("the Deployment's word: %+v, %v; want slowFactor 4", got, err)
	}
	p.Annotations = map[string]string{FaultsAnnotation: `{}`}
	if got, err := wantedFaults(p, d); err != nil || got != (modelsim.Faults{}) {
		t.Errorf("the Pod's own word: %+v, %v; want healthy", got, err)
	}
	for _, bad := range []string{`{"slow":4}`, `{"errorRate":2}`, `no`} {
		p.Annotations[FaultsAnnotation] = bad
		if got, err := wantedFaults(p, d); err == nil {
			t.Errorf("%s is taken as %+v, want an error", bad, got)
		}
	}
}

func TestFaultsURLFollowsThePort(t *testing.T) {
	t.Parallel()
	c := corev1.Container{Ports: []corev1.ContainerPort{{ContainerPort: 8001}}}
	for want, args := range map[string][]string{
		"http://127.9.2.1:8001/sandbox/faults": {"m"},
		"http://127.9.2.1:8002/sandbox/faults": {"m", "--port", "8002"},
		"http://127.9.2.1:8003/sandbox/faults": {"--port=8003"},
	} {
		if got := faultsURL("127.9.2.1", c, args); got != want {
			t.Errorf("%v gives %s, want %s", args, got, want)
		}
	}
}

func TestProbeAddressResolvesNamedPorts(t *testing.T) {
	t.Parallel()
	c := corev1.Container{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8000}}}
	for want, port := range map[string]intstr.IntOrString{
		"127.9.2.1:8000": intstr.FromString("http"),
		"127.9.2.1:9003": intstr.FromInt32(9003),
	} {
		if got := address(c, "", "127.9.2.1", port); got != want {
			t.Errorf("port %s is at %s, want %s", port.String(), got, want)
		}
	}
}

func TestPhase(t *testing.T) {
	t.Parallel()
	running := corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	ended := func(code int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	tests := []struct {
		rule       string
		containers []corev1.ContainerStatus
		policy     corev1.RestartPolicy
		want       corev1.PodPhase
	}{
		{"nothing has started", []corev1.ContainerStatus{{}}, corev1.RestartPolicyAlways, corev1.PodPending},
		{"one runs", []corev1.ContainerStatus{{}, running}, corev1.RestartPolicyAlways, corev1.PodRunning},
		{"a restart is due", []corev1.ContainerStatus{{LastTerminationState: ended(1).State}}, corev1.RestartPolicyAlways, corev1.PodRunning},
		{"all ended well and stay so", []corev1.ContainerStatus{ended(0), ended(0)}, corev1.RestartPolicyNever, corev1.PodSucceeded},
		{"one ended badly and stays so", []corev1.ContainerStatus{ended(0), ended(1)}, corev1.RestartPolicyNever, corev1.PodFailed},
		{"OnFailure is over once all ended well", []corev1.ContainerStatus{ended(0)}, corev1.RestartPolicyOnFailure, corev1.PodSucceeded},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			if got := phase(tt.containers, tt.policy); got != tt.want {
				t.Errorf("phase %s, want %s", got, tt.want)
			}
		})
	}
}
