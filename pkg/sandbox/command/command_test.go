package command

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
	"github.com/kubectl-infer/kubectl-infer/pkg/modelsim"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session runs one command line against an empty home.
func session(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = Main(t.Context(), args, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return code, out.String(), errOut.String()
}

func TestMistakesGetACodeAndAHint(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	tests := []struct {
		line string
		code int
		want string // in stderr
	}{
		{"brake", ExitUsage, "did you mean break?"},
		{"up --foo", ExitUsage, "hint: see kubectl infer sandbox up --help"},
		{"up extra", ExitUsage, "hint: see kubectl infer sandbox up --help"},
		{"up --low-ports=on", ExitUsage, "hint: use auto or off"},
		{"up --model-rewrite=both", ExitUsage, "hint: use targets or split"},
		{"up --name A_B", ExitError, "hint: use up to 40 lower-case letters"},
		{"run", ExitUsage, "hint: see kubectl infer sandbox run --help"},
		{"run -- no-such-command", ExitError, "hint: give a command that is on PATH"},
		{"down", ExitError, "hint: kubectl infer sandbox up"},
		{"logs", ExitError, "hint: kubectl infer sandbox up"},
		{"status -o yaml", ExitUsage, "hint: use -o json"},
		{"load", ExitUsage, "hint: name what the route serves"},
		{"load --model qwen=x", ExitUsage, `weight "x" is not a number`},
		{"load --model qwen=1 --url http://10.0.0.1", ExitUsage, "--allow-remote"},
		{"break", ExitUsage, "no fault given"},
		{"break --slow 2", ExitUsage, "no target given"},
		{"break service/x --slow 2", ExitUsage, "hint: write deployment/NAME, pod/NAME or inferencepool/NAME"},
		{"break deploy/x --slow 2 --pods 0", ExitUsage, "--pods 0 is no share"},
		{"up --picker-mode half", ExitUsage, "unknown --picker-mode"},
		{"up --defect none", ExitUsage, "one-epp-per-rule"},
		{"up --image acme/x=no-such-program", ExitUsage, "find the program of --image"},
		{"break deploy/x --slow 0.5", ExitUsage, "slowFactor"},
		{"break deploy/x --slow 2 --reset", ExitUsage, "--reset does not go with a fault"},
		{"break deploy/x --slow 2", ExitError, "no sandbox is running"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			code, _, stderr := session(t, strings.Fields(tt.line)...)
			if code != tt.code || !strings.Contains(stderr, tt.want) || !strings.Contains(stderr, "\nhint: ") {
				t.Errorf("exit %d, want %d; stderr wants %q:\n%s", code, tt.code, tt.want, stderr)
			}
		})
	}
}

func TestStatusWithoutASandbox(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if code, stdout, stderr := session(t, "status"); code != ExitOK || stdout != "" || stderr != "no sandbox is running\n" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, _ := session(t, "status", "-o", "json"); code != ExitOK || stdout != "[]\n" {
		t.Errorf("json: exit %d, stdout %q", code, stdout)
	}
}

func TestReportPassesOnTheCommandsCode(t *testing.T) {
	t.Parallel()
	var w bytes.Buffer
	if code := report(&w, &exitError{code: 7}); code != 7 || w.Len() > 0 {
		t.Errorf("exit %d, said %q; want 7 and not a word", code, w.String())
	}
	if code := report(&w, &exitError{code: 137, err: errors.New("killed")}); code != 137 || w.String() != "error: killed\n" {
		t.Errorf("exit %d, said %q", code, w.String())
	}
}

func TestParseMix(t *testing.T) {
	t.Parallel()
	got, err := parseMix([]string{"qwen", "org/m=b=2.5"})
	want := []traffic.ModelShare{{Model: "qwen", Weight: 1}, {Model: "org/m=b", Weight: 2.5}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestChooseLogs(t *testing.T) {
	t.Parallel()
	all := []logFile{
		{name: "envoy"},
		{name: "supervisor"},
		{name: "default/qwen-v1-7c9d-abcde/model-server"},
		{name: "default/qwen-v1-picker-55f-xyz12/picker"},
		{name: "other/sleep/c"},
	}
	for word, want := range map[string][]string{
		"envoy":                  {"envoy"},
		"qwen-v1":                {all[2].name},
		"deployment/qwen-v1":     {all[2].name},
		"pod/qwen-v1-7c9d-abcde": {all[2].name},
		"other/sleep":            {all[4].name},
		"deployment/envoy":       nil,
		"qwen":                   nil,
	} {
		var got []string
		for _, l := range choose(all, word) {
			got = append(got, l.name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("logs %s (-want +got):\n%s", word, diff)
		}
	}
}

func TestLastLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 1, "c"},
		{"a\nb\n", 9, "a\nb\n"},
		{"a\n", 0, ""},
		{"", 3, ""},
	} {
		if got := string(lastLines([]byte(tt.text), tt.n)); got != tt.want {
			t.Errorf("last %d of %q: %q, want %q", tt.n, tt.text, got, tt.want)
		}
	}
}

func TestFaultsReadAsAPredicate(t *testing.T) {
	t.Parallel()
	for want, faults := range map[string]modelsim.Faults{
		"is healthy":                             {},
		"is 4x slower and fails 20% of requests": {SlowFactor: 4, ErrorRate: 0.2},
		"hangs":                                  {Hang: true},
		"is dead":                                {Dead: true},
	} {
		if got := describeFaults(faults); got != want {
			t.Errorf("%+v: %q, want %q", faults, got, want)
		}
	}
}

func TestDeadIsInEffectWhenNothingRuns(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}}}
	if pending(t.Context(), pod, modelsim.Faults{Dead: true}) == "" {
		t.Error("a running container counts as dead")
	}
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "Dead"}}
	if got := pending(t.Context(), pod, modelsim.Faults{Dead: true}); got != "" {
		t.Errorf("still waits: %s", got)
	}
}

func TestTargetsNeedKindAndName(t *testing.T) {
	t.Parallel()
	got, err := parseTargets([]string{"deploy/a", "deployments/b", "deployment.apps/c", "po/d"}, "ns")
	want := []target{
		{kind: "deployment", namespace: "ns", name: "a"},
		{kind: "deployment", namespace: "ns", name: "b"},
		{kind: "deployment", namespace: "ns", name: "c"},
		{kind: "pod", namespace: "ns", name: "d"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"a", "pod/", "/a", "service/a"} {
		if _, err := parseTargets([]string{bad}, "ns"); err == nil || hint.Of(err) == "" {
			t.Errorf("%q: %v, want an error with a hint", bad, err)
		}
	}
}
